"""What torch wrote is read whole or refused; files of equal sizes and other contents are told apart."""

from __future__ import annotations

import zipfile
from contextlib import suppress

import pytest
import torch

from runtime.zip_records import records_digest, require_whole

KIB = 1024


def written(path, seed: int):
    torch.manual_seed(seed)
    torch.save({"weight": torch.randn(700), "bias": torch.randn(30), "step": 3}, path)
    return path


def equal(first, second) -> bool:
    return first["step"] == second["step"] and all(torch.equal(first[k], second[k]) for k in ("weight", "bias"))


def test_zeros_anywhere_are_found_or_change_nothing(tmp_path):
    """Between records there are bytes that nobody reads."""
    path = written(tmp_path / "a.pt", seed=0)
    whole, data = torch.load(path, weights_only=True), path.read_bytes()
    num_silent = num_found = 0
    for start in range(0, len(data), 97):
        damaged = data[:start] + bytes(len(data[start : start + KIB])) + data[start + KIB :]
        path.write_bytes(damaged)
        with suppress(Exception):  # what torch says of them by itself
            num_silent += not equal(torch.load(path, weights_only=True), whole)
        try:
            require_whole(path)
            content = torch.load(path, weights_only=True)
        except Exception:
            num_found += 1
            continue
        assert equal(content, whole), start
    assert num_silent > 0, "torch finds them itself: the module is not needed"
    assert num_found > 20


def test_a_digest_is_of_the_contents(tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "other").mkdir()
    path = written(tmp_path / "a.pt", seed=0)
    assert records_digest(written(tmp_path / "again" / "a.pt", seed=0)) == records_digest(path)
    other = written(tmp_path / "other" / "a.pt", seed=1)
    assert other.stat().st_size == path.stat().st_size
    assert records_digest(other) != records_digest(path)


def test_the_table_of_a_large_archive_is_found(tmp_path, monkeypatch):
    """More records than the short form can count: the same longer form as for more than 4 GiB."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(3):
            archive.writestr(str(number), b"")
    path = tmp_path / "many.zip"
    data = bytearray(path.read_bytes())
    data[-6:-2] = b"\xff" * 4  # as it is written beyond 4 GiB
    path.write_bytes(data)
    require_whole(path)
    digest = records_digest(path)
    start = data.index(b"PK\x01\x02")
    data[start + 16] ^= 1  # the checksum of the first record
    path.write_bytes(data)
    assert records_digest(path) != digest


@pytest.mark.parametrize("check", [require_whole, records_digest])
def test_what_is_no_archive_is_refused(tmp_path, check):
    path = tmp_path / "a.pt"
    for content in (b"", b"garbage", written(path, seed=0).read_bytes()[:-50]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no whole archive"):
            check(path)
    with pytest.raises(FileNotFoundError):
        check(tmp_path / "absent")
