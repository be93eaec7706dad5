"""What is known of a trained reference: the file beside its weights, its cost, curve and recipe."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from evaluation.bounds import Amount, Count, Key, why_refused
from runtime.json_file import read_json


@dataclass(frozen=True)
class ReferenceRecord:
    """The `epochs` and `seconds` of a training on a `device_type`; one entry of numbers an epoch in `curve`.

    `recipe` is what the weights depend on; its digest names the file. `network` is the digest of the weights' file
    (`runtime.zip_records`), None in records of earlier releases.
    """

    epochs: Count
    seconds: Amount
    device_type: Key
    recipe: dict[str, Any] = field(default_factory=dict)
    network: str | None = None
    curve: list[dict[str, float | None]] = field(default_factory=list)


def read_reference_record(path: Path) -> ReferenceRecord:
    """Read a record; raise `ValueError` that names a file which is none. Keys that it does not know are ignored."""
    try:
        return _adapter().validate_json(json.dumps(read_json(path)), strict=True)
    except (OSError, ValueError) as error:  # pydantic's is a ValueError
        raise ValueError(f"{path}: not the record of a reference ({why_refused(error)})") from None


@functools.cache
def _adapter() -> Any:
    return TypeAdapter(ReferenceRecord)
