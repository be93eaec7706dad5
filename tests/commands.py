"""Start `python run.py …` and `python report.py …` without their imports: as forks of one process that has made them.

Importing torch, Lightning and wandb takes longer than most commands of the tests. A test of the imports themselves, of
threads, or of a process that others see by its name starts Python instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
OUTPUT = ("stdout", "stderr")

_context = multiprocessing.get_context("forkserver")


def run_command(
    script: str, *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `python <script> <arguments>` to its end; like `subprocess.run` with captured text."""
    with Started(run_script, script, [str(a) for a in arguments], cwd=cwd, env=env) as started:
        return started.wait(timeout)


class Started:
    """A function that runs in a process of its own, whose output goes to files; leaving the block kills it."""

    def __init__(
        self, work: Callable[..., object], *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None
    ):
        _start_server()
        self._folder = tempfile.TemporaryDirectory()
        place = (self._folder.name, str(cwd), dict(os.environ if env is None else env))
        self._process = _context.Process(target=_work, args=(*place, work, arguments))
        self._process.start()

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait_until(self, is_so: Callable[[], object], timeout: float = 600) -> None:
        """Wait until something is so, as long as the process lives: how long it takes is the machine's affair."""
        deadline = time.monotonic() + timeout
        while not is_so():
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise AssertionError(f"it has not come; the process said: {self.wait(0.1).stdout}")
            time.sleep(0.05)

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Return how it ended and what it said."""
        self._process.join(timeout)
        said = [(Path(self._folder.name) / name).read_text(encoding="utf-8") for name in OUTPUT]
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout, *said)
        return subprocess.CompletedProcess(str(self._process), self._process.exitcode, *said)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._process.is_alive():
            self.send_signal(signal.SIGKILL)
        self._process.join()
        self._folder.cleanup()


def run_script(script: str, arguments: list[str]) -> None:
    sys.argv = [str(ROOT / script), *arguments]
    sys.path.insert(0, str(ROOT))
    runpy.run_path(sys.argv[0], run_name="__main__")


def _start_server() -> None:
    """Start the process to fork from, if it does not run: it finds what it imports from the folder it starts in."""
    _context.set_forkserver_preload(["tests.preloaded"])
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(before)


def _forget_exits() -> None:
    """Leave the end of the server to the server: it removes temporary folders that all its forks use."""
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]


def _work(output: str, cwd: str, environment: dict[str, str], work: Callable[..., object], arguments: tuple) -> None:
    assert "tests.preloaded" in sys.modules, "it could not be imported: `python -c 'import tests.preloaded'` says why"
    _forget_exits()
    for number in (signal.SIGINT, signal.SIGHUP):  # whoever runs the tests in the background ignores them
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(OUTPUT, 1):
        os.dup2(os.open(Path(output) / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    multiprocessing.set_start_method(None, force=True)  # what the command starts is started as ever
    try:
        work(*arguments)
    finally:
        atexit._run_exitfuncs()  # a fork of multiprocessing leaves them out
