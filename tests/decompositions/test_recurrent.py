"""Opened recurrent layers compute what torch's do, fused or step by step, and their weights are linear layers."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from decompositions.open_recurrent import open_recurrent, why_closed
from decompositions.recurrent import OpenGRU, OpenLSTM

TIME, BATCH, IN, HIDDEN = 6, 4, 3, 5
OPTIONS = [
    {},
    {"num_layers": 3},
    {"bidirectional": True},
    {"batch_first": True},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True, "bias": False, "batch_first": True},
    {"num_layers": 2, "dropout": 0.4},
    {"num_layers": 3, "bidirectional": True, "dropout": 0.4, "batch_first": True},
]
CASES = [(kind, options) for kind in (nn.LSTM, nn.GRU) for options in OPTIONS] + [
    (nn.LSTM, {"proj_size": 2}),
    (nn.LSTM, {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    (nn.LSTM, {"proj_size": 2, "num_layers": 2, "bias": False, "dropout": 0.4}),
]
KINDS = pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
cases = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=lambda v: v.__name__ if isinstance(v, type) else "-".join(v) or "plain"
)
paths = pytest.mark.parametrize("stepwise", [False, True], ids=["fused", "stepwise"])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pair(kind, stepwise=False, dtype=torch.float64, **options) -> tuple[nn.Module, nn.Module]:
    """A layer and an opened one of equal weights; a hook forces the latter's step-by-step pass."""
    layer = kind(IN, HIDDEN, dtype=dtype, **options)
    holder = nn.ModuleList([copy.deepcopy(layer)])
    assert open_recurrent(holder) == ["0"]
    if stepwise:
        holder[0].hh_l0.register_forward_hook(lambda *_: None)
    return layer, holder[0]


def compressed(opened: nn.Module) -> nn.Module:
    """The opened layer with two linear layers in the place of each, of the same product."""
    opened = copy.deepcopy(opened)
    for name, child in list(opened.named_children()):
        first = nn.Linear(child.in_features, child.in_features, bias=False, dtype=child.weight.dtype)
        second = nn.Linear(child.in_features, child.out_features, child.bias is not None, dtype=child.weight.dtype)
        second.weight.data = child.weight.data @ first.weight.data.inverse()
        if child.bias is not None:
            second.bias.data = child.bias.data
        opened.set_submodule(name, nn.Sequential(first, second))
    return opened


def states(layer, batch: int | None = BATCH, dtype=torch.float64):
    num = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or HIDDEN, HIDDEN] if layer.mode == "LSTM" else [HIDDEN]
    made = tuple(torch.randn(num, *([] if batch is None else [batch]), size, dtype=dtype) for size in sizes)
    return made if layer.mode == "LSTM" else made[0]


def tensors(result) -> list[torch.Tensor]:
    """All tensors of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for part in result if part is not None for tensor in tensors(part)]


def assert_same(result, expected, tolerance=1e-12):
    assert type(result) is type(expected)
    assert [type(part) for part in result] == [type(part) for part in expected]
    for ours, theirs in zip(tensors(result), tensors(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@paths
@cases
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
def test_equals_the_original(kind, options, stepwise, given):
    """Outputs, states and all gradients; in training mode, with the same random numbers for the dropout."""
    layer, opened = pair(kind, stepwise, **options)
    x = torch.randn(*((BATCH, TIME) if layer.batch_first else (TIME, BATCH)), IN, dtype=torch.float64)
    hx = states(layer) if given else None
    results, gradients = [], []
    for module in (layer, opened):
        own_x = x.clone().requires_grad_()
        torch.manual_seed(1)
        results.append(module(own_x, hx))
        sum((t * torch.arange(t.numel()).reshape(t.shape).cos()).sum() for t in tensors(results[-1])).backward()
        gradients.append({"input": own_x.grad} | {name: p.grad for name, p in module.named_parameters()})
    assert_same(results[1], results[0])
    assert len(gradients[0]) == len(gradients[1])
    for name, gradient in gradients[0].items():
        kind_of, _, place = name.partition("_")
        ours = gradients[1][name if name == "input" else f"{place}.{kind_of}"]
        torch.testing.assert_close(ours, gradient, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(opened.eval()(x, hx)[0], layer.eval()(x, hx)[0], rtol=1e-12, atol=1e-12)


@paths
@cases
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
def test_unbatched(kind, options, stepwise, given):
    layer, opened = (module.eval() for module in pair(kind, stepwise, **options))
    x = torch.randn(TIME, IN, dtype=torch.float64)
    hx = states(layer, None) if given else None
    assert_same(opened(x, hx), layer(x, hx))


@paths
@cases
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
@pytest.mark.parametrize("ordered", [True, False], ids=["sorted", "unsorted"])
def test_packed(kind, options, stepwise, given, ordered):
    """Samples of different lengths, one of a single step; the gradients, too."""
    layer, opened = (module.eval() for module in pair(kind, stepwise, **options))
    lengths = [6, 4, 3, 1] if ordered else [3, 6, 1, 4]
    sequences = [torch.randn(length, IN, dtype=torch.float64, requires_grad=True) for length in lengths]
    hx = states(layer) if given else None
    results = [module(pack_sequence(sequences, enforce_sorted=ordered), hx) for module in (opened, layer)]
    assert_same(results[0], results[1])
    losses = [sum(t.cos().sum() for t in tensors(result) if t.is_floating_point()) for result in results]
    assert_same(torch.autograd.grad(losses[0], sequences), torch.autograd.grad(losses[1], sequences))


@paths
@KINDS
def test_float32(kind, stepwise):
    layer, opened = pair(kind, stepwise, torch.float32, num_layers=2, bidirectional=True)
    x = torch.randn(TIME, BATCH, IN)
    assert_same(opened(x), layer(x), 1e-6)


@KINDS
def test_dropout_is_between_the_layers_only(kind):
    """Everything dropped, the second layer sees zeros and its output is not dropped."""
    _, opened = pair(kind, stepwise=True, num_layers=2, dropout=1.0)
    seen = []
    opened.ih_l1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    output, _ = opened(x)
    assert seen[0].abs().max() == 0
    assert output.abs().min() > 0
    opened.eval()(x)
    assert seen[1].abs().min() > 0


@cases
@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
def test_hooks_see_every_call(kind, options, packed):
    """Input to hidden once per layer on the whole sequence, hidden to hidden once per step."""
    layer, opened = pair(kind, **options)
    calls: dict[str, list] = {}
    for name, child in opened.named_children():
        child.register_forward_hook(
            lambda _, inputs, output, name=name: calls.setdefault(name, []).append((inputs[0].shape, output.shape))
        )
    x = torch.randn(*((BATCH, TIME) if layer.batch_first else (TIME, BATCH)), IN, dtype=torch.float64)
    opened(pack_padded_sequence(x, [6, 4, 3, 1], layer.batch_first) if packed else x)
    size = layer.proj_size or HIDDEN
    gates = HIDDEN * (4 if kind is nn.LSTM else 3)
    expected = {}
    for number in range(layer.num_layers):
        for direction in ("", "_reverse")[: 1 + layer.bidirectional]:
            before = size * (1 + layer.bidirectional) if number else IN
            expected[f"ih_l{number}{direction}"] = [((TIME, BATCH, before), (TIME, BATCH, gates))]
            expected[f"hh_l{number}{direction}"] = [((BATCH, size), (BATCH, gates))] * TIME
            if layer.proj_size:
                expected[f"hr_l{number}{direction}"] = [((BATCH, HIDDEN), (BATCH, size))] * TIME
    assert calls == expected


@cases
def test_only_dense_children_without_hooks_are_fused(kind, options, monkeypatch):
    _, opened = pair(kind, **options)
    x = torch.randn(TIME, TIME, IN, dtype=torch.float64)

    def fails(*_):
        raise AssertionError("step by step")

    with monkeypatch.context() as patch:
        patch.setattr(type(opened), "_cell", fails)
        opened(x)
        handles = [
            lambda child: child.register_forward_hook(lambda *_: None),
            lambda child: child.register_forward_pre_hook(lambda *_: None),
            lambda child: child.register_full_backward_hook(lambda *_: None),
        ]
        for child in opened.children():
            for hook in handles:
                handle = hook(child)
                with pytest.raises(AssertionError, match="step by step"):
                    opened(x)
                handle.remove()
        opened(x)
        for name, child in list(opened.named_children()):
            opened.set_submodule(name, nn.Sequential(child))
            with pytest.raises(AssertionError, match="step by step"):
                opened(x)
            opened.set_submodule(name, child)
    opened(x)


@cases
def test_compressed_children(kind, options):
    """Factors of the same product in every place, and a bias where the kernels know none."""
    layer, opened = (module.eval() for module in pair(kind, **options))
    x = torch.randn(TIME, TIME, IN, dtype=torch.float64)
    assert_same(compressed(opened)(x), layer(x), 1e-9)


@KINDS
def test_a_bias_more_or_less_is_not_forgotten(kind):
    """The kernels take all biases or none; a linear child that differs goes step by step."""
    layer, opened = pair(kind)
    layer.bias_hh_l0.data.zero_()
    opened.hh_l0.bias = None
    x = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    assert_same(opened(x), layer(x))
    layer, opened = pair(kind, bias=False)
    opened.ih_l0 = nn.Linear(IN, len(opened.ih_l0.weight), dtype=torch.float64)
    with_bias = kind(IN, HIDDEN, dtype=torch.float64)
    with_bias.load_state_dict(
        {
            "weight_ih_l0": opened.ih_l0.weight,
            "weight_hh_l0": opened.hh_l0.weight,
            "bias_ih_l0": opened.ih_l0.bias,
            "bias_hh_l0": torch.zeros_like(opened.ih_l0.bias),
        }
    )
    assert_same(opened(x), with_bias(x))


class Classifier(nn.Module):
    """A network as they are written: it reads the options of its recurrent layer and flattens the weights."""

    def __init__(self, kind=nn.LSTM, **options) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"rnn": kind(IN, HIDDEN, batch_first=True, **options)})
        self.head = nn.Linear(HIDDEN * (1 + self.body["rnn"].bidirectional), 2)

    def forward(self, x):
        rnn = self.body["rnn"]
        rnn.flatten_parameters()
        h = x.new_zeros(rnn.num_layers * (1 + rnn.bidirectional), x.shape[0], rnn.hidden_size)
        output, _ = rnn(x, (h, h) if rnn.mode == "LSTM" else h)
        return self.head(output[:, -1])


@KINDS
def test_the_parameters_are_the_same_objects(kind):
    network = Classifier(kind, num_layers=2, bidirectional=True).double().eval()
    rnn = network.body["rnn"]
    rnn.weight_hh_l1_reverse.requires_grad_(False)
    x = torch.randn(BATCH, TIME, IN, dtype=torch.float64)
    expected = network(x)
    ids = {id(p) for p in network.parameters()}
    random = torch.get_rng_state()
    assert open_recurrent(network) == ["body.rnn"]
    assert torch.equal(torch.get_rng_state(), random)
    opened = network.body["rnn"]
    assert "3, 5, num_layers=2, batch_first=True, bidirectional=True" in repr(opened)
    assert type(opened) is (OpenLSTM if kind is nn.LSTM else OpenGRU)
    assert {id(p) for p in network.parameters()} == ids
    assert opened.hh_l1_reverse.weight is rnn.weight_hh_l1_reverse
    assert opened.ih_l1.bias is rnn.bias_ih_l1
    assert not opened.hh_l1_reverse.weight.requires_grad
    assert not any(module.training for module in network.modules())
    assert_same([network(x)], [expected])
    children = dict(opened.named_modules())
    assert open_recurrent(network) == []
    assert network.body["rnn"] is opened and dict(opened.named_modules()) == children


@KINDS
def test_training_mode_is_kept(kind):
    network = Classifier(kind).train()
    network.body["rnn"].eval()
    open_recurrent(network)
    assert network.training and not network.body["rnn"].training and not network.body["rnn"].ih_l0.training


@KINDS
def test_copies_and_states(kind):
    network = Classifier(kind, num_layers=2).eval()
    open_recurrent(network)
    x = torch.randn(BATCH, TIME, IN)
    expected = network(x)
    twin = copy.deepcopy(network)
    assert_same([twin(x)], [expected])
    with torch.no_grad():
        twin.body["rnn"].hh_l1.weight.zero_()
    assert (twin(x) - expected).abs().max() > 1e-3, "the copy must use its own weights"
    assert_same([network(x)], [expected])
    twin.load_state_dict(network.state_dict())
    assert_same([twin(x)], [expected])
    other = Classifier(kind, num_layers=2).eval()
    open_recurrent(other)
    other.load_state_dict(network.state_dict())
    assert_same([other(x)], [expected])


@KINDS
def test_a_shared_layer_stays_shared(kind):
    shared = kind(IN, IN)
    network = nn.ModuleDict({"one": shared, "inner": nn.ModuleDict({"two": shared, "other": kind(IN, IN)})})
    assert open_recurrent(network) == ["one", "inner.other"]
    assert network["one"] is network["inner"]["two"]
    assert network["one"] is not network["inner"]["other"]
    assert type(network["one"]) in (OpenLSTM, OpenGRU)


class OwnPass(nn.LSTM):
    def forward(self, input, hx=None):
        return super().forward(-input, hx)


class OwnStart(nn.GRU):
    """A subclass that only starts its weights otherwise can be opened."""

    def __init__(self, *sizes) -> None:
        super().__init__(*sizes)
        nn.init.zeros_(self.bias_hh_l0)


class OwnWeight(nn.GRU):
    def __init__(self, *sizes) -> None:
        super().__init__(*sizes)
        self.start = nn.Parameter(torch.zeros(1, 1, HIDDEN))


def patched() -> nn.Module:
    layer = nn.LSTM(IN, HIDDEN)
    layer.forward = lambda x, hx=None: x
    return layer


def hooked() -> nn.Module:
    layer = nn.LSTM(IN, HIDDEN)
    layer.register_forward_hook(lambda *_: None)
    return layer


CLOSED = {
    "rnn": (lambda: nn.RNN(IN, HIDDEN), "other than"),
    "rnn_cell": (lambda: nn.RNNCell(IN, HIDDEN), "other than"),
    "lstm_cell": (lambda: nn.LSTMCell(IN, HIDDEN), "other than"),
    "gru_cell": (lambda: nn.GRUCell(IN, HIDDEN), "other than"),
    "own_pass": (lambda: OwnPass(IN, HIDDEN), "OwnPass"),
    "patched": (patched, "forward pass of its own"),
    "own_weight": (lambda: OwnWeight(IN, HIDDEN), "OwnWeight"),
    "hooked": (hooked, "hooks"),
    "parametrized": (lambda: parametrizations.weight_norm(nn.LSTM(IN, HIDDEN), "weight_hh_l0"), "computed"),
    "spectral": (lambda: parametrizations.spectral_norm(nn.GRU(IN, HIDDEN), "weight_ih_l0"), "computed"),
    "old_weight_norm": (lambda: nn.utils.weight_norm(nn.GRU(IN, HIDDEN), "weight_hh_l0"), "computed"),
    "old_spectral": (lambda: nn.utils.spectral_norm(nn.LSTM(IN, HIDDEN), "weight_hh_l0"), "computed"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLOSED)
def test_what_stays_closed_and_why(name):
    make, reason = CLOSED[name]
    layer = make()
    network = nn.Sequential(layer, nn.LSTM(IN, HIDDEN))
    assert reason in why_closed(layer) and "\n" not in why_closed(layer)
    assert open_recurrent(network) == ["1"]
    assert network[0] is layer


def test_what_can_be_opened():
    layers = [nn.LSTM(IN, HIDDEN), nn.GRU(IN, HIDDEN), OwnStart(IN, HIDDEN), nn.Linear(2, 2), pair(nn.LSTM)[1]]
    assert [why_closed(layer) for layer in layers] == [None] * len(layers)
    assert open_recurrent(nn.Sequential(*layers)) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="itself an LSTM"):
        open_recurrent(nn.LSTM(IN, HIDDEN))


@paths
@KINDS
def test_wrong_sizes_are_refused(kind, stepwise):
    layer, opened = pair(kind, stepwise)
    x = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    one = states(layer, batch=1)
    for arguments in [(x[..., :2],), (x[0, 0],), (x, one), (x[:, 0], states(layer)), (x.float(),), (x[:0],)]:
        with pytest.raises((RuntimeError, ValueError)):
            layer(*arguments)
        with pytest.raises((RuntimeError, ValueError)):
            opened(*arguments)
    with pytest.raises(RuntimeError, match="3 features, got 2"):
        opened(x[..., :2])


@paths
@KINDS
def test_meta_device(kind, stepwise):
    layer, opened = pair(kind, stepwise, num_layers=2, bidirectional=True)
    opened = copy.deepcopy(opened).to("meta")
    result = opened(torch.empty(TIME, BATCH, IN, device="meta", dtype=torch.float64))
    expected = layer(torch.randn(TIME, BATCH, IN, dtype=torch.float64))
    assert [t.shape for t in tensors(result)] == [t.shape for t in tensors(expected)]
    assert all(t.is_meta for t in tensors(result))


@KINDS
@pytest.mark.parametrize("factored", [False, True], ids=["dense", "compressed"])
def test_export(kind, factored):
    network = Classifier(kind, num_layers=2, bidirectional=True).eval()
    open_recurrent(network)
    if factored:
        network.body["rnn"] = compressed(network.body["rnn"])
    x = torch.randn(BATCH, TIME, IN)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
    more = torch.cat([x, -x])
    assert_same([program.module()(more)], [network(more)], 1e-5)


@KINDS
@pytest.mark.parametrize("factored", [False, True], ids=["dense", "compressed"])
def test_compile(kind, factored):
    """In one graph, with the gradients, in single precision, where oneDNN has an LSTM of its own."""
    # Loaded anew: the checks that the tests put around every function would be traced, too, and cut the graph.
    spec = importlib.util.spec_from_file_location("recurrent_unchecked", inspect.getsourcefile(OpenLSTM))
    unchecked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unchecked)
    opened = {nn.LSTM: unchecked.OpenLSTM, nn.GRU: unchecked.OpenGRU}[kind](
        kind(IN, HIDDEN, num_layers=2, bidirectional=True)
    )
    opened = compressed(opened) if factored else opened
    x = torch.randn(TIME, BATCH, IN)
    torch._dynamo.reset()
    results = [torch.compile(opened, backend="aot_eager", fullgraph=True)(x), opened(x)]
    assert_same(*results, 1e-6)
    gradients = [torch.autograd.grad(result[0].sum(), list(opened.parameters())) for result in results]
    assert_same(*gradients, 1e-5)


@paths
@KINDS
def test_autocast(kind, stepwise):
    layer, opened = pair(kind, stepwise, torch.float32, num_layers=2, bidirectional=True)
    x = torch.randn(TIME, BATCH, IN)
    with torch.autocast("cpu", torch.bfloat16):
        for inputs in (x, pack_padded_sequence(x, [6, 4, 3, 1])):
            for ours, theirs in zip(tensors(opened(inputs)), tensors(layer(inputs)), strict=True):
                torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.05, atol=0.02)
    sum(t.float().sum() for t in tensors(opened(x))).backward()
    assert all(p.grad.isfinite().all() for p in opened.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@KINDS
def test_weights_lie_together_on_a_gpu(kind):
    """Or torch warns, and copies them at every pass."""
    layer, opened = pair(kind, dtype=torch.float32, num_layers=2, bidirectional=True)
    opened, layer = opened.cuda(), layer.cuda()
    x = torch.randn(TIME, BATCH, IN, device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(opened(x), layer(x), 1e-5)
