"""Every method of conf/method, from its configuration to its row, in miniature on the real digits."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from decompositions import load_network
from evaluation.result import read_result
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from orchestration.run.run_point import run_point
from tests.conftest import ROOT

METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
FAST = "network.hidden=[20]"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("share_references")
def test_method_runs_and_leaves_a_whole_directory(make_point, method, request):
    if method == "quantise_static":
        request.getfixturevalue("needs_int8")
    point = make_point(f"method={method}", FAST, "schedule.fine_tune.epochs=3")  # one a stage of musco
    result = run_point(point)
    assert result.status == "ok", result.status
    files = {path.name for path in point.directory.iterdir()}
    assert {"config.yaml", "run.log", "network.pt", "result.json"} <= files
    assert read_result(point.directory / "result.json") == result
    reference, compressed = result.reference, result.compressed
    assert reference.num_params == 64 * 20 + 20 + 20 * 10 + 10
    assert reference.epochs == 2
    assert set(compressed.latency_ms) == {"1", "256"}
    assert min(compressed.latency_ms.values()) > 0
    assert result.signature["split"].startswith("scikit-learn digits")
    assert result.environment["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    # The stored network is the one that was measured.
    network = load_network(point.directory / "network.pt")
    assert sum(p.numel() for p in network.parameters()) == compressed.num_params
    if method == "reference":
        assert compressed.test_top1_percent == reference.test_top1_percent
        assert compressed.epochs == 0
    else:
        assert set(result.layers) == {"fc1", "fc2"}
        starts_at_random = point.config["method"]["_target_"].endswith("Scratch")
        assert result.violation is None if starts_at_random else math.isfinite(result.violation)
        assert result.rank_reason


@pytest.mark.usefixtures("share_references")
@pytest.mark.parametrize("method", ["lc_svd", "lc_cur"])
def test_joint_methods_close_the_gap_between_weights_and_factors(make_point, method):
    """As μ grows the violation goes to zero, also for the quadratic penalty; one record an L step."""
    for multipliers in (True, False):
        point = make_point(
            f"method={method}", FAST, f"method.multipliers={multipliers}", "rank=fixed", "rank.ranks=4",
            "schedule.penalty.num_steps=14", "schedule.penalty.growth=2", "schedule.penalty.initial=1e-2",
            "schedule.l_step.learning_rate=0.005",
        )  # fmt: skip
        history = run_point(point).history
        assert [h["step"] for h in history] == list(range(15))
        assert [h["penalty"] for h in history] == pytest.approx([1e-2 * 2**j for j in range(15)])
        assert history[-1]["violation"] < 1e-2 * history[0]["violation"]
        assert all(h["ranks"] == {"fc1": 4, "fc2": 4} for h in history)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("method=reference",), "there is no epoch in which"),
        (("method=quantise_dynamic",), "there is no epoch in which"),
        (("method=tt", "schedule.from_scratch.epochs=0"), "there is no epoch in which"),
        (("method=lc_svd", "schedule.fine_tune.epochs=0"), "there is no epoch in which"),
        (("method=musco", "schedule.distillation.weight=0"), "num_stages: expected at most 1"),
    ],
)
def test_an_idle_teacher_and_idle_stages_are_refused(make_point, overrides, said):
    with pytest.raises(ConfigError, match=said):
        build_components(make_point(FAST, "schedule.distillation.weight=0.5", *overrides))


def run(make_point, *overrides):
    return run_point(make_point(FAST, *overrides))


@pytest.mark.usefixtures("share_references")
def test_options_are_read(make_point):
    """Each option changes what it says it changes."""
    base = run(make_point, "method=svd", "rank=budget", "rank.share=0.5")
    only = run(make_point, "method=svd", "rank=budget", "rank.share=0.95", "method.layers=[fc2]")
    assert only.layers["fc1"]["reason"] == "not selected by layers"
    assert base.layers["fc1"]["rank"] is not None
    least = run(make_point, "method=svd", "rank=cost", "rank.weight=1e9", "method.min_rank=2")
    assert {layer["rank"] for layer in least.layers.values()} == {2}
    gone = run(make_point, "method=svd", "rank=cost", "rank.weight=1e9", "method.min_rank=0")
    assert {layer["rank"] for layer in gone.layers.values()} == {0}
    assert gone.compressed.num_params == 30
    raw = run(make_point, "method=svd", "rank=cost", "rank.weight=1e-9", "rank.relative=false")
    assert raw.compressed.num_params == raw.reference.num_params
    assert run(make_point, "latency_batch_size=7", "method=reference").compressed.latency_ms.keys() == {"1", "7"}


def test_equal_seeds_repeat_and_others_do_not(make_point, tmp_path):
    def row(seed, folder):
        result = run(make_point, f"seed={seed}", f"results_dir={tmp_path / folder}")
        return [h["violation"] for h in result.history], result.compressed.test_loss, result.reference.test_loss

    assert row(0, "a") == row(0, "b")
    assert row(0, "a") != row(1, "a")


def test_divergence_is_a_row_with_a_status_and_is_tried_again(make_point, capsys):
    point = make_point(FAST, "schedule.reference.learning_rate=1e30")
    for _ in range(2):
        result = run_point(point)
        assert result.status.startswith("diverged: ")
        assert result.compressed is None
        assert json.loads((point.directory / "result.json").read_text())["status"] == result.status
    assert "taken from" not in capsys.readouterr().out


@pytest.mark.parametrize(("decay", "said"), [(100, "a weight is NaN or infinite after"), (0, "the network's loss is")])
def test_weights_that_the_last_step_destroyed_are_no_success(make_point, tmp_path, decay, said):
    """One batch an epoch: the loss is computed before the step."""
    rate = ("schedule.reference.learning_rate=1e38", f"schedule.reference.weight_decay={decay}")
    last = ("schedule.batch_size=5000", "schedule.reference.epochs=1", *rate)
    assert said in run_point(make_point(FAST, "method=reference", *last)).status
    assert not list((tmp_path / "results" / "references").rglob("*.pt")), "it is not cached either"


def test_a_row_does_not_depend_on_whether_the_reference_was_cached(make_point, tmp_path):
    """A network with dropout, whose random numbers would tell."""
    (tmp_path / "conf").mkdir()
    rows = []
    for folder in ("miss", "hit"):
        options = (FAST, "method=svd", "rank=fixed", "rank.ranks=3", "network._target_=tests.conftest.dropout_mlp")
        if folder == "hit":
            run_point(make_point("method=reference", FAST, options[-1], f"results_dir={tmp_path / folder}"))
        rows.append(run_point(make_point(*options, f"results_dir={tmp_path / folder}")).compressed)
    assert rows[0].test_loss == rows[1].test_loss


@pytest.mark.usefixtures("share_references")
def test_a_finished_point_is_taken_from_disk_and_force_runs_it_anew(make_point):
    first = run(make_point)
    assert run(make_point) == first
    again = run(make_point, "force=true")
    assert again.seconds != first.seconds
    assert (again.id, again.violation) == (first.id, first.violation)


@pytest.mark.usefixtures("share_references")
@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError, ValueError])
def test_a_forced_run_that_ends_badly_leaves_the_good_row(make_point, monkeypatch, reason):
    from lightning_modules.joint import Joint

    def broken_off(*_):
        raise reason("why")

    point = make_point(FAST)
    good = run_point(point)
    network = (point.directory / "network.pt").read_bytes()
    monkeypatch.setattr(Joint, "compress", broken_off)
    if reason is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            run_point(make_point(FAST, "force=true"))
    else:
        assert run_point(make_point(FAST, "force=true")).status.startswith("failed")
    assert run_point(make_point(FAST)) == good, "taken from disk"
    assert (point.directory / "network.pt").read_bytes() == network


@pytest.mark.usefixtures("share_references")
def test_a_forced_run_that_cannot_write_leaves_the_good_row(make_point, monkeypatch):
    import orchestration.run.run_point

    good = run_point(make_point(FAST))

    def full(path, *_):
        raise OSError(f"{path}: cannot be written (disk full)")

    monkeypatch.setattr(orchestration.run.run_point, "save_network", full)
    assert "disk full" in run_point(make_point(FAST, "force=true")).status
    assert run_point(make_point(FAST)) == good


@pytest.mark.usefixtures("share_references")
def test_threads_of_one_point_are_not_those_of_the_next(make_point, capsys):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first = run_point(make_point(FAST, "num_threads=1", "method=reference"))
        second = run_point(make_point(FAST, "num_threads=null", "method=reference", "seed=1"))
    finally:
        torch.set_num_threads(before)
    assert [r.environment["num_threads"] for r in (first, second)] == [1, 2]
    run_point(make_point(FAST, "num_threads=2", "method=reference"))
    assert "its latencies were measured with num_threads=1" in capsys.readouterr().out


@pytest.mark.usefixtures("share_references")
@pytest.mark.parametrize("damage", [None, b"garbage"])
def test_a_row_without_its_network_is_not_finished(make_point, damage):
    point = make_point(FAST)
    run_point(point)
    (point.directory / "network.pt").unlink()
    if damage:
        (point.directory / "network.pt").write_bytes(damage)
    assert run_point(point).status == "ok"
    assert (point.directory / "network.pt").exists()


def test_a_batch_that_does_not_fit_fails_before_training(make_point, monkeypatch):
    from lightning_modules.training.runner import Runner

    def full(*_, **__):
        raise RuntimeError("not enough memory: you tried to allocate 99 GB\nmore")

    point = make_point("latency_batch_size=60000")
    monkeypatch.setattr("torch.zeros", lambda *a, **k: full() if a[0] == 60000 else torch.empty(a, **k).zero_())
    monkeypatch.setattr(Runner, "train", lambda *_, **__: pytest.fail("it trained"))
    status = run_point(point).status
    assert status.startswith("failed: no pass of a batch of latency_batch_size=60000 is possible; lower it (not enough")


class Normed(nn.Sequential):
    """Cannot be trained on a single image."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (
            1166,
            "the last training batch has 1 of 1167 images, and the network cannot be trained on one (",
        ),
        (1165, "RuntimeError: it trained"),
    ],
)
def test_a_last_batch_of_one_image_is_refused_before_training(make_point, monkeypatch, size, said):
    from lightning_modules.training.runner import Runner

    def train(*_, **__):
        raise RuntimeError("it trained")

    point = make_point(
        "network=custom", f"network.target={__name__}.Normed", "method=reference", f"schedule.batch_size={size}"
    )
    monkeypatch.setattr(Runner, "train", train)
    status = run_point(point).status
    assert status.startswith(f"failed: {said}"), status


@pytest.mark.usefixtures("share_references")
def test_l_steps_stay_stable_when_the_penalty_outgrows_the_learning_rate(make_point):
    """μ · learning rate = 50 at the end: without a bound on the rate the weights explode."""
    penalty = ("schedule.penalty.initial=10", "schedule.penalty.growth=10", "schedule.l_step.epochs=2")
    result = run(make_point, *penalty, "rank=fixed", "rank.ranks=3")
    assert result.status == "ok"
    assert result.history[-1]["violation"] < result.history[0]["violation"] < 1e3


@pytest.mark.usefixtures("share_references")
def test_selection_never_sees_the_test_part(make_point, monkeypatch):
    """Until the network is finished, the test part is not touched."""
    from datamodules.memory.in_memory import InMemoryData
    from lightning_modules.joint import Joint

    finished = []
    compress = Joint.compress
    monkeypatch.setattr(Joint, "compress", lambda *a: (compress(*a), finished.append(True))[0])
    batches = InMemoryData.test_batches

    def guarded(self, *arguments):
        assert finished, "the test part was read before the method had ended"
        return batches(self, *arguments)

    monkeypatch.setattr(InMemoryData, "test_batches", guarded)
    assert run(make_point).status == "ok"
