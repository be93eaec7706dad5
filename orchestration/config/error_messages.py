"""One line for each mistake that a user can mend, instead of a traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException, ConfigCompositionException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from orchestration.config.sweepers import not_served
from orchestration.config.validation import unknown
from orchestration.errors import ConfigError, RunsElsewhere

# The launchers of others that our options stand for.
LAUNCHERS = {"hydra/launcher/ray": "ray", "hydra/launcher/submitit_slurm": "slurm"}


def error_lines(error: BaseException) -> list[str] | None:
    """Return the lines for an error that the user can mend; None for a fault of the program itself."""
    cause = error.__cause__
    match error:
        case ConfigError() | RunsElsewhere():
            return str(error).splitlines()
        case MissingConfigException() if engine := LAUNCHERS.get(error.missing_cfg_file or ""):
            return [f"launcher={engine}: it is not installed; pip install 'compression-bench[{engine}]'"]
        case MissingConfigException() if (error.missing_cfg_file or "").startswith("hydra/sweeper/"):
            return [not_served((error.missing_cfg_file or "").rpartition("/")[2])]
        case MissingConfigException() if error.missing_cfg_file and error.options:
            group, _, option = error.missing_cfg_file.rpartition("/")
            return [f"{group}: there is no '{option}'; {unknown(option, error.options)}"]
        case MissingConfigException() if (error.missing_cfg_file or "").startswith("experiment/"):
            from orchestration.config.published import names

            wanted = (error.missing_cfg_file or "").removeprefix("experiment/")
            papers = sorted({name.partition("/")[0] for name in names()})
            known = [name for name in names() if name.startswith(f"{wanted.partition('/')[0]}/")] or papers
            return [f"experiment: there is no '{wanted}'; {unknown(wanted, known)}"]
        case ConfigCompositionException() if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            known = list(cause.parent_node or ()) if hasattr(cause.parent_node, "keys") else []
            return [f"{cause.full_key}: unknown key; {unknown(str(cause.key), (k for k in known if k != 'hydra'))}"]
        case MarkedYAMLError() if error.problem_mark is not None:
            mark = error.problem_mark
            return [f"{mark.name}:{mark.line + 1}: {error.problem}"]
        case UnicodeDecodeError():
            near = error.object[max(error.start - 30, 0) : error.end]
            return [f"a file of the configuration is not UTF-8, near {near!r}"]
        case ValueError() if str(error).startswith("Config group override"):
            got = str(error).rpartition(" ")[2]
            return [f"a group takes the name of one of its files in conf/ (for example logger=none), got {got}"]
        case ValueError() if str(error).startswith("Only one of --run"):
            return ["-m runs a sweep, --cfg and --info show one configuration and run nothing: leave one of them out"]
        case CompactHydraException() if "--multirun" in str(error):
            given = re.search(r"'([^']+=[^']+)'", str(error))
            return [
                f"{given[1] if given else 'an override'}: several values are a sweep: put -m before them, or quote them"
            ]
        case CompactHydraException() | OmegaConfBaseException():
            lines = [line for line in str(error).splitlines() if line and not line.startswith("See http")]
            return ["; ".join(lines)]
        case OSError() if error.filename:
            return [f"{error.filename}: {error.strerror}"]
        case _:
            return None


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Exit with 1 and print the lines on standard error if the block raises an error that the user can mend."""
    try:
        yield
    except Exception as error:
        lines = error_lines(error)
        if not lines:
            raise
        sys.exit("\n".join(f"error: {line}" for line in lines))
