"""Unfused recurrent layers compute what torch's do, fused or step by step, and their weights are linear layers."""

from __future__ import annotations

import copy
import importlib.util
import inspect

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from decompositions.layers.recurrent import UnfusedLSTM
from decompositions.layers.unfuse import unfuse_recurrent
from tests.decompositions.layers.recurrent_layers import (
    BATCH,
    HIDDEN,
    IN,
    KINDS,
    TIME,
    Classifier,
    assert_same,
    compressed,
    pair,
    states,
    tensors,
)

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
cases = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=lambda v: v.__name__ if isinstance(v, type) else "-".join(v) or "plain"
)
paths = pytest.mark.parametrize("stepwise", [False, True], ids=["fused", "stepwise"])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@paths
@cases
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
def test_equals_the_original(kind, options, stepwise, given):
    """Outputs, states and all gradients; in training mode, with the same random numbers for the dropout."""
    layer, unfused = pair(kind, stepwise, **options)
    x = torch.randn(*((BATCH, TIME) if layer.batch_first else (TIME, BATCH)), IN, dtype=torch.float64)
    hx = states(layer) if given else None
    results, gradients = [], []
    for module in (layer, unfused):
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
    torch.testing.assert_close(unfused.eval()(x, hx)[0], layer.eval()(x, hx)[0], rtol=1e-12, atol=1e-12)


@paths
@cases
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
def test_unbatched(kind, options, stepwise, given):
    layer, unfused = (module.eval() for module in pair(kind, stepwise, **options))
    x = torch.randn(TIME, IN, dtype=torch.float64)
    hx = states(layer, None) if given else None
    assert_same(unfused(x, hx), layer(x, hx))


@paths
@cases
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
@pytest.mark.parametrize("ordered", [True, False], ids=["sorted", "unsorted"])
def test_packed(kind, options, stepwise, given, ordered):
    """Samples of different lengths, one of a single step; the gradients, too."""
    layer, unfused = (module.eval() for module in pair(kind, stepwise, **options))
    lengths = [6, 4, 3, 1] if ordered else [3, 6, 1, 4]
    sequences = [torch.randn(length, IN, dtype=torch.float64, requires_grad=True) for length in lengths]
    hx = states(layer) if given else None
    results = [module(pack_sequence(sequences, enforce_sorted=ordered), hx) for module in (unfused, layer)]
    assert_same(results[0], results[1])
    losses = [sum(t.cos().sum() for t in tensors(result) if t.is_floating_point()) for result in results]
    assert_same(torch.autograd.grad(losses[0], sequences), torch.autograd.grad(losses[1], sequences))


@paths
@KINDS
def test_float32(kind, stepwise):
    layer, unfused = pair(kind, stepwise, torch.float32, num_layers=2, bidirectional=True)
    x = torch.randn(TIME, BATCH, IN)
    assert_same(unfused(x), layer(x), 1e-6)


@KINDS
def test_dropout_is_between_the_layers_only(kind):
    """Everything dropped, the second layer sees zeros and its output is not dropped."""
    _, unfused = pair(kind, stepwise=True, num_layers=2, dropout=1.0)
    seen = []
    unfused.ih_l1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    output, _ = unfused(x)
    assert seen[0].abs().max() == 0
    assert output.abs().min() > 0
    unfused.eval()(x)
    assert seen[1].abs().min() > 0


@cases
@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
def test_hooks_see_every_call(kind, options, packed):
    """Input to hidden once per layer on the whole sequence, hidden to hidden once per step."""
    layer, unfused = pair(kind, **options)
    calls: dict[str, list] = {}
    for name, child in unfused.named_children():
        child.register_forward_hook(
            lambda _, inputs, output, name=name: calls.setdefault(name, []).append((inputs[0].shape, output.shape))
        )
    x = torch.randn(*((BATCH, TIME) if layer.batch_first else (TIME, BATCH)), IN, dtype=torch.float64)
    unfused(pack_padded_sequence(x, [6, 4, 3, 1], layer.batch_first) if packed else x)
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
    _, unfused = pair(kind, **options)
    x = torch.randn(TIME, TIME, IN, dtype=torch.float64)

    def fails(*_):
        raise AssertionError("step by step")

    with monkeypatch.context() as patch:
        patch.setattr(type(unfused), "_cell", fails)
        unfused(x)
        handles = [
            lambda child: child.register_forward_hook(lambda *_: None),
            lambda child: child.register_forward_pre_hook(lambda *_: None),
            lambda child: child.register_full_backward_hook(lambda *_: None),
        ]
        for child in unfused.children():
            for hook in handles:
                handle = hook(child)
                with pytest.raises(AssertionError, match="step by step"):
                    unfused(x)
                handle.remove()
        unfused(x)
        for name, child in list(unfused.named_children()):
            unfused.set_submodule(name, nn.Sequential(child))
            with pytest.raises(AssertionError, match="step by step"):
                unfused(x)
            unfused.set_submodule(name, child)
    unfused(x)


@cases
def test_compressed_children(kind, options):
    """Factors of the same product in every place, and a bias where the kernels know none."""
    layer, unfused = (module.eval() for module in pair(kind, **options))
    x = torch.randn(TIME, TIME, IN, dtype=torch.float64)
    assert_same(compressed(unfused)(x), layer(x), 1e-9)


@KINDS
def test_a_bias_more_or_less_is_not_forgotten(kind):
    """The kernels take all biases or none; a linear child that differs goes step by step."""
    layer, unfused = pair(kind)
    layer.bias_hh_l0.data.zero_()
    unfused.hh_l0.bias = None
    x = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    assert_same(unfused(x), layer(x))
    layer, unfused = pair(kind, bias=False)
    unfused.ih_l0 = nn.Linear(IN, len(unfused.ih_l0.weight), dtype=torch.float64)
    with_bias = kind(IN, HIDDEN, dtype=torch.float64)
    with_bias.load_state_dict(
        {
            "weight_ih_l0": unfused.ih_l0.weight,
            "weight_hh_l0": unfused.hh_l0.weight,
            "bias_ih_l0": unfused.ih_l0.bias,
            "bias_hh_l0": torch.zeros_like(unfused.ih_l0.bias),
        }
    )
    assert_same(unfused(x), with_bias(x))


@paths
@KINDS
def test_wrong_sizes_are_refused(kind, stepwise):
    layer, unfused = pair(kind, stepwise)
    x = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    one = states(layer, batch=1)
    for arguments in [(x[..., :2],), (x[0, 0],), (x, one), (x[:, 0], states(layer)), (x.float(),), (x[:0],)]:
        with pytest.raises((RuntimeError, ValueError)):
            layer(*arguments)
        with pytest.raises((RuntimeError, ValueError)):
            unfused(*arguments)
    with pytest.raises(RuntimeError, match="3 features, got 2"):
        unfused(x[..., :2])


@paths
@KINDS
def test_meta_device(kind, stepwise):
    layer, unfused = pair(kind, stepwise, num_layers=2, bidirectional=True)
    unfused = copy.deepcopy(unfused).to("meta")
    result = unfused(torch.empty(TIME, BATCH, IN, device="meta", dtype=torch.float64))
    expected = layer(torch.randn(TIME, BATCH, IN, dtype=torch.float64))
    assert [t.shape for t in tensors(result)] == [t.shape for t in tensors(expected)]
    assert all(t.is_meta for t in tensors(result))


@KINDS
@pytest.mark.parametrize("factored", [False, True], ids=["dense", "compressed"])
def test_export(kind, factored):
    network = Classifier(kind, num_layers=2, bidirectional=True).eval()
    unfuse_recurrent(network)
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
    spec = importlib.util.spec_from_file_location("recurrent_unchecked", inspect.getsourcefile(UnfusedLSTM))
    unchecked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unchecked)
    unfused = {nn.LSTM: unchecked.UnfusedLSTM, nn.GRU: unchecked.UnfusedGRU}[kind](
        kind(IN, HIDDEN, num_layers=2, bidirectional=True)
    )
    unfused = compressed(unfused) if factored else unfused
    x = torch.randn(TIME, BATCH, IN)
    torch._dynamo.reset()
    results = [torch.compile(unfused, backend="aot_eager", fullgraph=True)(x), unfused(x)]
    assert_same(*results, 1e-6)
    gradients = [torch.autograd.grad(result[0].sum(), list(unfused.parameters())) for result in results]
    assert_same(*gradients, 1e-5)
