"""A reference is trained once: by one process, by two at the same time, and again only if its recipe changes."""

from __future__ import annotations

import json
from subprocess import getoutput  # noqa: F401

import pytest
import torch

from lightning_modules.training.classifier import Classifier
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from orchestration.run.reference import reference_key, untrained_digest
from orchestration.run.run_point import run_point
from runtime.zip_records import records_digest
from tests.commands import Started, run_script
from tests.conftest import TINY
from tests.lightning_modules.training.test_checkpoint import with_zeros
from tests.lightning_modules.training.test_resume import Killed, killer

FAST = "network.hidden=[20]"


def test_methods_share_a_reference(make_point, tmp_path):
    first = run_point(make_point(FAST, "method=reference"))
    second = run_point(make_point(FAST, "method=svd", "rank=fixed", "rank.ranks=3"))
    assert len(list((tmp_path / "results" / "references").rglob("*.pt"))) == 1
    assert first.reference.test_loss == second.reference.test_loss
    assert first.reference.seconds == second.reference.seconds, "the time of the one training"
    assert first.reference.epochs == second.reference.epochs == 2
    assert second.environment["reference_device_type"] == "cpu"


def test_what_a_reference_depends_on(make_point):
    def of(*overrides):
        return reference_key(make_point(*overrides))

    base = of()
    for same in (
        "method=svd",
        "rank.weight=3",
        "schedule.l_step.epochs=9",
        "schedule.penalty.growth=2",
        "num_threads=1",
    ):
        assert of(same) == base, same
    for other in (
        "seed=1",
        "schedule.reference.epochs=9",
        "network.hidden=[9]",
        "schedule.batch_size=9",
        "dataset=mnist",
    ):
        assert of(other) != base, other


def test_another_network_of_the_same_name_gets_a_reference_of_its_own(make_point, tmp_path, monkeypatch):
    """The code of a network may change while its configuration stays."""
    import networks.mlp

    first = run_point(make_point(FAST, "method=reference"))
    original = networks.mlp.mlp
    monkeypatch.setattr(networks.mlp, "mlp", lambda *a, hidden, **k: original(*a, hidden=[*hidden, 5], **k))
    second = run_point(make_point(FAST, "method=reference", "force=true"))
    assert second.status == "ok"
    assert second.reference.num_params != first.reference.num_params
    assert len(list((tmp_path / "results" / "references").rglob("*.pt"))) == 2


def test_a_network_that_only_computes_otherwise_is_another_network():
    """The same modules and initial values, another forward pass."""

    class Flipped(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x.flip(-1))

    digests = set()
    for kind in (torch.nn.Sequential, Flipped):
        torch.manual_seed(0)
        network = kind(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        network.__class__.__name__ = "Sequential"
        digests.add(untrained_digest(network, [1, 8, 8]))
        assert network.training
    assert len(digests) == 2


@pytest.mark.slow
def test_two_processes_train_it_once_and_agree(tmp_path):
    """Started together on an empty cache: one trains, the other waits and reads."""

    def start(method):
        own = (*TINY, FAST, f"results_dir={tmp_path}", "schedule.reference.epochs=40")
        return Started(run_script, "run.py", [*own, *method])

    with start(["method=svd", "rank=fixed"]) as one, start(["method=reference"]) as other:
        runs = [one.wait(), other.wait()]
    assert [r.returncode for r in runs] == [0, 0], [r.stderr for r in runs]
    outputs = [r.stdout for r in runs]
    assert sum("reference trained" in out for out in outputs) == 1
    assert sum("reference taken from" in out for out in outputs) == 1
    assert len(list((tmp_path / "references").rglob("*.pt"))) == 1
    assert not list((tmp_path / "references").rglob(".*.pt.*")), "no half-written file is left"


def flipped(data: bytes) -> bytes:
    """The last weights changed: torch itself would load them."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - b for b in data[middle : middle + 8]) + data[middle + 8 :]


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [("*.pt", lambda d: d[:100]), ("*.json", lambda d: d[:100]), ("*.pt", lambda d: b"bad\n"), ("*.pt", flipped)],
    ids=["cut", "cut about", "other", "flipped"],
)
def test_a_damaged_reference_is_trained_anew_and_said_so(make_point, tmp_path, pattern, damage, capsys):
    first = run_point(make_point(FAST, "method=reference"))
    (path,) = (tmp_path / "results" / "references").rglob(pattern)
    path.write_bytes(damage(path.read_bytes()))
    again = run_point(make_point(FAST, "method=reference", "force=true"))
    assert again.status == "ok"
    assert again.reference.test_loss == first.reference.test_loss
    assert capsys.readouterr().out.count("the cached reference is trained anew") == 1
    assert path.with_name(f"{path.name}.unusable").exists()


def test_another_reference_in_its_place_is_not_taken(make_point, tmp_path, capsys):
    """A network that is whole, of another seed; and both files of it."""
    first = run_point(make_point(FAST, "method=reference"))
    folder = tmp_path / "results" / "references"
    (own,) = folder.rglob("*.pt")
    run_point(make_point(FAST, "method=reference", "seed=1"))
    (other,) = set(folder.rglob("*.pt")) - {own}
    for suffixes in ((".pt",), (".pt", ".json")):
        for suffix in suffixes:
            own.with_suffix(suffix).write_bytes(other.with_suffix(suffix).read_bytes())
        again = run_point(make_point(FAST, "method=reference", "force=true"))
        assert again.reference.test_loss == first.reference.test_loss
        assert capsys.readouterr().out.count("the cached reference is trained anew") == 1


def test_a_reference_of_an_earlier_release_has_no_digest_and_is_taken(make_point, tmp_path, capsys):
    first = run_point(make_point(FAST, "method=reference"))
    (about,) = (tmp_path / "results" / "references").rglob("*.json")
    content = json.loads(about.read_text())
    del content["network"]
    about.write_text(json.dumps(content))
    again = run_point(make_point(FAST, "method=reference", "force=true"))
    assert again.reference.test_loss == first.reference.test_loss
    assert "reference taken from" in capsys.readouterr().out


def test_zeros_in_the_checkpoint_of_a_reference_change_no_number(make_point, tmp_path, monkeypatch, capsys):
    whole = run_point(make_point(FAST, "method=reference", f"results_dir={tmp_path / 'whole'}"))
    point = make_point(FAST, "method=reference", "checkpoint_seconds=0")
    with monkeypatch.context() as patched:
        killer(patched, Classifier, "training_step", 30, after=False)
        with pytest.raises(Killed):
            run_point(point)
    (path,) = point.results_dir.rglob("*.ckpt")
    path.write_bytes(with_zeros(path.read_bytes()))
    result = run_point(point)
    assert capsys.readouterr().out.count("starting over: ") == 1
    assert result.reference.test_loss == whole.reference.test_loss


@pytest.mark.parametrize("builder", ["posix.system", "subprocess.getoutput"])
def test_a_reference_that_others_wrote_runs_nothing(make_point, tmp_path, builder):
    """In a folder that several people share: with a digest that fits, as whoever writes one file can write both."""
    first = run_point(make_point(FAST, "method=reference"))
    (path,) = (tmp_path / "results" / "references").rglob("*.pt")
    content = torch.load(path, weights_only=True)
    name = {"posix.system": "command", "subprocess.getoutput": "cmd"}[builder]
    content["builder"] = {"target": builder, "arguments": {name: f"touch {tmp_path}/harmed"}}
    torch.save(content, path)
    about = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(about | {"network": records_digest(path)}))
    again = run_point(make_point(FAST, "method=reference", "force=true"))
    assert again.is_ok
    assert again.reference.test_loss == first.reference.test_loss
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ("network=custom", "network.target=posix.system", "+network.arguments.command=touch harmed"),
        ("network=custom", "network.target=subprocess.getoutput", "+network.arguments.cmd=touch harmed"),
        ("network=custom", "network.target=tests.orchestration.run.test_reference.getoutput"),
        ("network._target_=posix.system", "~network.hidden", "~network.activation", "+network.command=touch harmed"),
        ("dataset._target_=subprocess.getoutput", "+dataset.cmd=touch harmed"),
        ("schedule.reference.decay._target_=os.system",),
    ],
)
def test_a_target_of_pythons_own_library_is_refused_before_it_is_called(make_point, tmp_path, monkeypatch, overrides):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is of Python's own library, and is not called"):
        build_components(make_point(*overrides))
    assert not (tmp_path / "harmed").exists()
