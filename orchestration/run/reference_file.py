"""A trained reference on disk: its network, and beside it what it was made of, what it cost, and a digest of it.

One that is damaged, or that another one was put in the place of, is refused. Files of earlier releases have no digest:
of them, as of all, the checksums that torch wrote into the network are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from decompositions.network.serialization import load_weights, save_network
from evaluation.reference_record import read_reference_record
from evaluation.result import write_json
from runtime.digest import digest_json
from runtime.set_aside import set_aside
from runtime.zip_records import records_digest


@dataclass(frozen=True)
class TrainedReference:
    """A trained network, the digest of all that it depends on, and the cost of its training on a kind of device."""

    network: nn.Module
    digest: str
    epochs: int
    seconds: float
    device_type: str


@dataclass(frozen=True)
class ReferenceFile:
    """The files of one reference: its network at `path`, whose name is the digest of what it was made of."""

    path: Path

    @property
    def about(self) -> Path:
        """What the network was made of, and what it cost."""
        return self.path.with_suffix(".json")

    @property
    def checkpoint(self) -> Path:
        """What its training goes on from."""
        return self.path.with_suffix(".ckpt")

    def exists(self) -> bool:
        """Return True if both files are there: the second one is written last."""
        return self.path.is_file() and self.about.is_file()

    def load(self, network: nn.Module) -> TrainedReference:
        """Read the reference into `network`, as the point's configuration builds it; nothing that a file names is run.

        Raises `ValueError` or `OSError` if it is not to be used.
        """
        made = read_reference_record(self.about)
        if digest_json(made.recipe) != self.path.stem:
            raise ValueError(f"{self.about}: of another reference than its name says")
        network = load_weights(self.path, network)
        if made.network not in (None, records_digest(self.path)):
            raise ValueError(f"{self.path}: another network than the one that {self.about.name} was written for")
        return TrainedReference(network, self.path.stem, made.epochs, made.seconds, made.device_type)

    def store(
        self, network: nn.Module, builder: dict[str, Any], made: dict[str, Any], preprocessing: dict[str, Any] | None
    ) -> None:
        """Write the network, and then what it was `made` of."""
        save_network(self.path, network, builder, {}, preprocessing)
        write_json(self.about, {**made, "network": records_digest(self.path)})

    def set_aside(self) -> Path:
        """Make room for a reference that is trained anew; return where its network is kept."""
        set_aside(self.about)
        return set_aside(self.path)
