"""Slurm's commands on one machine, for the tests: `python fake_slurm.py sbatch|srun|scontrol|sacct …`.

Jobs of an array run one after another; every node is this machine. A job that asks to be requeued runs again.
`FAKE_SLURM` names a folder: what was submitted is kept there, and where a file `preempt` holds a pattern, the first job
whose files match it is sent the signal that it asked for.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["FAKE_SLURM"])


def sbatch(script: str) -> None:
    """Keep the script, print the number of the job, leave a process that runs it."""
    shutil.copy(script, FOLDER / "7.sh")
    with (FOLDER / "7.log").open("w") as log:
        subprocess.Popen(
            [sys.executable, __file__, "run"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    print("Submitted batch job 7")


def asked(option: str, otherwise: str) -> str:
    """An option of the job's script."""
    found = re.search(rf"^#SBATCH --{option}=(.*)$", (FOLDER / "7.sh").read_text(), re.MULTILINE)
    return found[1] if found else otherwise


def run() -> None:
    """The jobs of the array."""
    first, last = re.match(r"(\d+)-(\d+)", asked("array", "0-0")).groups()
    for index in range(int(first), int(last) + 1):
        environment = {
            **os.environ,
            "SLURM_JOB_ID": str(8 + index) if asked("array", "") else "7",
            "SLURM_JOB_NUM_NODES": asked("nodes", "1"),
            "SLURM_NNODES": asked("nodes", "1"),
            "SLURM_NTASKS": asked("nodes", "1"),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_CPUS_PER_TASK": asked("cpus-per-task", "1"),
        }
        if asked("array", ""):
            environment |= {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index)}
        while True:
            subprocess.run(["bash", str(FOLDER / "7.sh")], env=environment, check=False)
            if not (FOLDER / "requeued").exists():
                break
            (FOLDER / "requeued").rename(FOLDER / f"was_requeued_{index}")
    (FOLDER / "ended").touch()


def srun(arguments: list[str]) -> None:
    """One task a node; their output goes where it is asked to."""
    options = {"--output": "", "--error": ""}
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in options:
            options[option] = arguments.pop(0)
    tasks = []
    for node in range(int(os.environ["SLURM_NNODES"])):
        place = {"SLURM_PROCID": str(node), "SLURM_NODEID": str(node), "SLURM_LOCALID": "0"}
        out, err = (
            path.replace("%A", "7").replace("%a", os.environ.get("SLURM_ARRAY_TASK_ID", "0")).replace("%t", str(node))
            for path in options.values()
        )
        with open(out.replace("%j", "7"), "a") as stdout, open(err.replace("%j", "7"), "a") as stderr:
            tasks.append(subprocess.Popen(arguments, env={**os.environ, **place}, stdout=stdout, stderr=stderr))
    while any(task.poll() is None for task in tasks):
        time.sleep(0.05)
        pattern = FOLDER / "preempt"
        if pattern.exists() and glob.glob(pattern.read_text(), recursive=True):
            pattern.unlink()
            for task in tasks:
                task.send_signal(getattr(signal, f"SIG{asked('signal', '').partition('@')[0]}"))
    sys.exit(max(task.returncode != 0 for task in tasks))


def scontrol(what: str, job: str) -> None:
    """Note that the job is to run again."""
    assert what == "requeue"
    (FOLDER / "requeued").write_text(job)


def sacct() -> None:
    """All jobs run, until the last has ended."""
    state = "COMPLETED" if (FOLDER / "ended").exists() else "RUNNING"
    print("JobID|State|NodeList")
    print("\n".join(f"7_{index}|{state}|localhost" for index in range(4)))
    print(f"7|{state}|localhost")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    {
        "sbatch": lambda: sbatch(rest[-1]),
        "srun": lambda: srun(rest),
        "scontrol": lambda: scontrol(*rest),
        "sacct": sacct,
        "run": run,
    }[command]()
