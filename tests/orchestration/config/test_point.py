"""Composition of every file, identity of points, and what is refused before anything heavy is imported."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import yaml
from hydra.errors import ConfigCompositionException

from orchestration.config.point import Point, without
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from tests.conftest import GIVEN, ROOT

GROUPS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in (ROOT / "conf").iterdir()
    # Launchers are of the sweep, not of a point: test_launchers; what rows of a paper share is none: test_experiments.
    if folder.is_dir() and folder.name not in ("launcher", "paper")
}


@pytest.mark.parametrize(("group", "option"), [(g, o) for g, options in GROUPS.items() for o in options])
def test_every_file_composes_and_passes_the_check(make_point, group, option):
    needs = "method=svd" if group in ("decomposition", "rank", "metric") else "seed=0"
    if group == "decay":  # one of each phase
        node = make_point(f"decay@schedule.l_step.decay={option}", tiny=False).config["schedule"]["l_step"]["decay"]
    else:
        node = make_point(needs, f"{group}={option}", *GIVEN.get(option, []), tiny=False).config[group]
    if option == "identity":
        assert node is None
    elif group != "logger":
        assert "_target_" in node


# Files of networks and methods both say what the schedule is; those of data sets know of nothing else.
PAIRS = {
    *itertools.product(GROUPS["network"], ["lc_svd", "musco", "ntt"]),
    *itertools.product(["lenet5", "resnet20", "lstm"], GROUPS["method"]),
}


@pytest.mark.parametrize(("network", "method"), sorted(PAIRS))
def test_every_pair_composes(make_point, network, method):
    point = make_point(f"network={network}", f"method={method}", *GIVEN.get(network, []), tiny=False)
    assert (point.choices["network"], point.choices["method"]) == (network, method)


def test_a_rank_rule_that_no_one_reads_is_refused(make_point):
    with pytest.raises(ConfigError, match="rank: method reference has no use for one"):
        make_point("method=reference", "rank=cost")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method.rank=abc"], "method.rank: expected RankRule, got 'abc'; choose one of the files"),
        (
            ["rank=fixed", "rank.ranks=abc"],
            "rank.ranks: expected int >= 0 or list[int >= 0] or dict[str, ",
        ),
        (["rank.weight=inf"], "rank.weight: expected float >= 0, got inf"),
        (["seed=99999999999999"], "seed: expected int >= 0, <= "),
        (["logger=wandb_offline", "+logger.ofline=true"], "logger.ofline: unknown key; did you mean 'offline'?"),
        (["rank.weight=-1"], "rank.weight: expected float >= 0, got -1"),
        (["rank=budget", "rank.share=1.5"], "rank.share: expected float > 0, <= 1, got 1.5"),
        (["+method.min_rnk=2"], "method.min_rnk: unknown key; did you mean 'min_rank'?"),
        (["+sede=2"], "sede: unknown key; did you mean 'seed'?"),
        (["seed=null"], "seed: expected int >= 0, <= 2 ** 31 - 1, got None"),
        (["seed=-1"], "seed: expected int >= 0, <= 2 ** 31 - 1, got -1"),
        (["schedule.l_step.epochs=many"], "schedule.l_step.epochs: expected int >= 0, <= 1000000, got 'many'"),
        (["schedule.scale=a"], "schedule.scale"),
        (["trainer.precision=17"], "trainer.precision: expected '32-true' or '16-mixed' or 'bf16-mixed', got 17"),
        (["+trainer.max_steps=3"], "trainer.max_steps: unknown key; known: accelerator, "),
        (["+trainer.acelerator=cpu"], "trainer.acelerator: unknown key; did you mean 'accelerator'?"),
        (["network.hidden=[3,x]"], "network.hidden: expected"),
        (["dataset=mnist", "dataset.root=${oc.env:NO_SUCH_VARIABLE}"], "NO_SUCH_VARIABLE"),
        (["decomposition.kind=x"], None),
        (["methd=tt"], None),
        (["method=foo"], None),
        (["method.normalise=true"], None),
    ],
)
def test_wrong_values_and_typos_are_refused(make_point, overrides, said):
    with pytest.raises((ConfigError, ConfigCompositionException)) as caught:
        make_point(*overrides, tiny=False)
    if said:
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_typo_inside_a_yaml_file_is_refused(make_point, tmp_path):
    """The file is one that a newcomer would write; Hydra alone accepts it."""
    from hydra import compose, initialize_config_dir

    (tmp_path / "conf" / "rank").mkdir(parents=True)
    text = (ROOT / "conf" / "rank" / "cost.yaml").read_text().replace("relative:", "relativ:")
    (tmp_path / "conf" / "rank" / "mine.yaml").write_text(text)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = [f"hydra.searchpath=[{tmp_path / 'conf'}]", "rank=mine"]
        config = compose("config", overrides=overrides, return_hydra_config=True)
    with pytest.raises(ConfigError, match=r"rank\.relativ: unknown key; did you mean 'relative'"):
        Point.from_hydra(config, config.hydra)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["network=lenet5"], "network lenet5 on 1×8×8 images: it needs images of at least 16×16"),
        (["method.layers=[conv*]"], r"method lc_svd: layers: 'conv*' matches no"),
        (["rank=budget", "rank.share=0.001"], "method lc_svd: rank.share=0.001: the budget is"),
        (["logger=wandb_offline", "+logger.name=x"], "logger.name: the point decides this"),
        (["trainer=gpu"], "trainer: "),
        (["dataset=mnist", "dataset.root=/nowhere"], "MNIST: /nowhere/MNIST/raw lacks train-images"),
        (["method.min_rank=1000"], "no layer has a rank of at least min_rank=1000 that is smaller"),
        (["rank=fixed", "rank.ranks=[999]"], "layer fc1 takes a rank from 1 to 64, got [999]"),
        (["rank=fixed", "rank.ranks={conv1: 3}"], "method lc_svd: rank.ranks: 'conv1' matches none"),
        (["method=tt", "decomposition.modes={64: [8, 8], out_46: [2, 23]}"], "method tt: modes: expected keys of the"),
        (["method=ntt", "decomposition.modes={out_46: [2, 23]}"], "(outputs x inputs), got 'out_46': no side uses it"),
        (["method=tt", "decomposition.modes={out_064: [8, 8]}"], "method tt: modes: expected as keys a size (32), "),
    ],
)
def test_combinations_that_make_no_sense_are_refused_before_training(make_point, without_gpu, overrides, said):
    with pytest.raises(ConfigError) as caught:
        build_components(make_point(*overrides))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def net(input_shape, num_classes): return {}['x']", "KeyError: 'x'"),
        ("def net(input_shape, num_classes): return 3", "expected an nn.Module, got int"),
        ("import no_such_module\ndef net(input_shape, num_classes): ...", "no_such_module"),
        (
            "from torch import nn\nclass N(nn.Module):\n  def forward(self, x): return x, x\n"
            "def net(input_shape, num_classes): return N()",
            "expected an output of (1, 10), got tuple",
        ),
        ("def net(input_shape, num_classes) return 3", "net_module.py:1: "),
    ],
)
def test_mistakes_in_a_network_are_one_line_with_their_place(make_point, tmp_path, monkeypatch, code, said):
    import sys

    from orchestration.config import signatures

    (tmp_path / "net_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "net_module", raising=False)
    signatures.read_signature.cache_clear()
    signatures._parse.cache_clear()
    with pytest.raises(ConfigError) as caught:
        build_components(
            make_point("method=svd", "network._target_=net_module.net", "~network.hidden", "~network.activation")
        )
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_format_that_cannot_load_what_it_made_is_refused_before_training(make_point, monkeypatch):
    from decompositions.svd import SVD

    monkeypatch.setattr(SVD, "zeros", lambda self, weight, rank: self.analyse(weight).decompose(rank + 1))
    with pytest.raises(ConfigError, match=r"method lc_svd: RuntimeError: Error.* in loading state_dict"):
        build_components(make_point("method=lc_svd"))


def test_nested_targets_inside_a_network_are_refused(make_point):
    with pytest.raises(ConfigError, match=r"network\.activation: a network takes plain values"):
        point = make_point("method=svd")
        point.config["network"]["activation"] = {"_target_": "torch.nn.ReLU"}
        build_components(point)


@pytest.mark.parametrize(
    "overrides", [["method.min_rank=5", "rank=energy"], ["method.min_rank=12"], ["decomposition=tucker2", "method=svd"]]
)
def test_a_min_rank_above_a_layers_size_leaves_that_layer_dense(make_point, overrides):
    """The last layer has ten outputs, an energy rule and twelve ranks: not refused."""
    build_components(make_point(*overrides))


def test_ranks_that_do_not_go_together_are_refused_before_training(make_point, tmp_path):
    (tmp_path / "lenet").mkdir()
    point = make_point("method=svd", "rank=fixed", "rank.ranks={fc1: 30, fc2: 3}")
    build_components(point)
    with pytest.raises(ConfigError, match=r"layer fc1 takes a rank from"):
        build_components(make_point("method=svd", "decomposition=tt", "rank=fixed", "rank.ranks={fc1: [1, 999]}"))


def test_identity(make_point, tmp_path):
    base = make_point()
    assert len(base.id) == 12
    for same in (
        ["rank.weight=1"],
        ["rank.weight=1.0"],
        ["force=true"],
        ["results_dir=x"],
        ["num_threads=1"],
        ["tags=[a]"],
        ["method=lc_svd"],
        ["seed=0"],
    ):
        assert make_point(*same).id == base.id, same
    different = [
        ["seed=1"],
        ["rank.weight=0.9"],
        ["method=lc_cur"],
        ["network.activation=tanh"],
        ["schedule=published"],
    ]
    ids = {base.id, *(make_point(*overrides).id for overrides in different)}
    assert len(ids) == 1 + len(different)
    assert make_point("seed=1").variant == base.variant
    assert make_point("rank.weight=0.9").variant != base.variant
    mnist = make_point("dataset=mnist", "dataset.root=a")
    assert mnist.id == make_point("dataset=mnist", "dataset.root=b", "dataset.download=true").id
    assert mnist.directory == tmp_path / "results" / "mnist" / "mlp" / "lc_svd" / mnist.id


def test_a_row_keeps_nothing_of_the_machine(make_point):
    point = make_point("dataset=mnist", "dataset.root=/some/where", "tags=[a]", "++trainer.devices=1", "seed=2")
    assert "/some/where" not in str(point.identity)
    assert not {"results_dir", "logger", "num_threads"} & set(point.identity)
    kept = point.identifying_overrides
    assert "seed=2" in kept
    assert "++trainer.devices=1" in kept
    assert not [o for o in kept if o.startswith(("dataset.root", "results_dir", "tags", "logger"))]


def test_without_ignores_what_is_absent():
    assert without({"a": {"b": 1, "c": 2}, "d": None}, ("a.b", "d.e", "x.y", "z")) == {"a": {"c": 2}, "d": None}


def test_schedules_scale_and_single_numbers_stay_overridable(make_point):
    published = make_point("dataset=mnist", "network=lenet300", "schedule=published", tiny=False).config["schedule"]
    short = make_point("dataset=mnist", "network=lenet300", tiny=False).config["schedule"]
    assert [published[p]["epochs"] for p in ("reference", "l_step", "fine_tune")] == [300, 30, 200]
    assert [short[p]["epochs"] for p in ("reference", "l_step", "fine_tune")] == [30, 3, 20]
    assert (published["penalty"]["num_steps"], short["penalty"]["num_steps"]) == (29, 30)
    one = make_point("schedule.scale=0.001", "schedule.reference.epochs=7", tiny=False).config["schedule"]
    assert (one["reference"]["epochs"], one["l_step"]["epochs"]) == (7, 1)


def test_a_decay_is_chosen_whole(make_point):
    """Nothing of the decay that a file names remains beside another, and the command line has the last word."""

    def decays(*overrides: str) -> list[dict[str, object]]:
        schedule = make_point("dataset=mnist", *overrides, tiny=False).config["schedule"]
        nodes = [dict(schedule[phase]["decay"]) for phase in ("reference", "l_step", "fine_tune")]
        return [node | {"_target_": node["_target_"].rpartition(".")[2]} for node in nodes]

    def exponential(final: float) -> dict[str, object]:
        return {"_target_": "Exponential", "final": final}

    steps = {"_target_": "Steps", "at": [0.5, 0.75], "factor": 0.1}
    assert decays("network=lenet300") == [exponential(0.05), exponential(1.0), exponential(0.134)]
    assert decays("network=lenet5", "schedule=published") == [exponential(0.05), exponential(1.0), exponential(0.05)]
    assert decays("decay@schedule.reference.decay=steps")[0] == steps
    chosen = ["network=lenet5", "decay@schedule.fine_tune.decay=cosine", "schedule.fine_tune.decay.final=0.1"]
    assert decays(*chosen)[2] == {"_target_": "Cosine", "final": 0.1}


def test_every_yaml_says_what_it_is():
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert path.read_text().lstrip().startswith("#"), f"{path} has no first line of comment"
        yaml.safe_load(path.read_text())


@pytest.mark.parametrize("override", ["logger.project=mine", "~logger", "results_dir=x", "+dataset.root=y"])
def test_where_a_point_runs_is_no_part_of_its_overrides(make_point, override):
    point = dataclasses.replace(make_point("dataset=mnist"), overrides=(override, "seed=3"))
    assert point.identifying_overrides == ["seed=3"]
