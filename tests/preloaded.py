"""What the commands of the tests import, imported before they are forked (see `tests/commands.py`)."""

import run  # noqa: F401, I001 (first: it sets what torch reads when it is loaded)

import pytorch_lightning  # noqa: F401
import sklearn.datasets  # noqa: F401
import wandb  # noqa: F401

import orchestration.run.run_point  # noqa: F401
import report  # noqa: F401
import reporting.folder  # noqa: F401
