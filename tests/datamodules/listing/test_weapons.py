"""Archives and images that are made to fill the memory, to run a program or to be written elsewhere."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from datamodules.image_file import open_image
from datamodules.listing.image_parts import find_parts
from datamodules.memory.idx_files import read_idx
from datamodules.memory.image_files import read_images
from tests.conftest import ROOT
from tests.datamodules.listing.readers import in_memory, refused, streamed

GIB = 2**30


def png(seed=0, size=8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def members():
    """The images of two classes, five to train and one to test each."""
    for part, num in (("train", 5), ("test", 1)):
        for label in ("ant", "bee"):
            for index in range(num):
                yield f"{part}/{label}/{index}.png", png(index)


def add(archive: tarfile.TarFile, name: str, content: bytes, **changes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


def pack(path, extra=lambda archive: None, mode="w:xz"):
    with tarfile.open(path, mode) as archive:
        extra(archive)
        for name, content in members():
            add(archive, name, content)
    return path


def limited(code: str, gib: float) -> subprocess.CompletedProcess:
    """Run Python with so much address space beyond what its imports take."""
    start = (
        "import resource, sys\nfrom pathlib import Path\nimport numpy, torch\n"
        "from datamodules.memory.image_files import read_images\n"
        "from datamodules.listing.image_parts import find_parts\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + int({gib} * 2**30),) * 2)\n"
    )
    return subprocess.run([sys.executable, "-c", start + code], cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz"])
def test_a_header_that_claims_eight_gigabytes_of_notes_is_damaged(tmp_path, mode):
    """`tarfile` asks for as many bytes at once as the header says: a MemoryError of an archive of kilobytes."""

    def extra(archive):
        note = tarfile.TarInfo("././@PaxHeader")
        note.type, note.size = tarfile.XHDTYPE, 8 * GIB
        archive.fileobj.write(note.tobuf(tarfile.GNU_FORMAT))
        archive.offset += 512

    path = pack(tmp_path / "x.tar", extra, mode)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="claims 8589934592 bytes of notes"):
        find_parts(path, False, in_place=False)


def test_what_lies_outside_the_parts_takes_no_memory(tmp_path):
    """Half a gigabyte of zeros beside train/ in an archive of kilobytes, read with a quarter of one to spare."""
    zeros = tarfile.TarInfo("other/zeros.png")
    zeros.size = GIB // 2

    class Zeros(io.RawIOBase):
        def read(self, size=-1):
            return b"\0" * size

    path = pack(tmp_path / "x.tar.xz", lambda archive: archive.addfile(zeros, Zeros()))
    assert path.stat().st_size < GIB // 1000
    done = limited(f"print(read_images(Path({str(path)!r}), 0, 3, None, None).train.images.shape)", 0.25)
    assert done.stdout == "(10, 3, 8, 8)\n", done.stderr
    with pytest.raises(ValueError, match=r"unpacks to more than 0.25 GiB; raise dataset.max_unpacked_gib"):
        read_images(path, 0, 3, None, None, max_unpacked_gib=0.25)


@pytest.mark.parametrize("load", [in_memory, streamed])
def test_a_deflated_image_unpacks_to_no_more_than_the_archive_says(tmp_path, load):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members():
            archive.writestr(name, content)
        archive.writestr("train/ant/bomb.png", b"\0" * (64 * 2**20))
    data = bytearray(path.read_bytes())
    for magic, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # its size in the local and in the central header
        at = data.rfind(magic)
        assert b"bomb.png" in data[at : at + 80]
        data[at + place : at + place + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "bomb.png: not a readable image" in refused(load, path)


def test_an_image_says_how_many_pixels_it_has_before_any_is_decoded(tmp_path):
    """13,000² pixels in kilobytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    large = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match=r"13000×13000 pixels; expected at most 100000000 in all"):
        open_image(large, upright=True)
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in members():
            add(archive, name, content)
        add(archive, "train/ant/large.png", large)
    for load in (in_memory, streamed):
        assert "large.png: not a readable image (13000×13000 pixels" in refused(load, path)
        assert "1 broken" in load(path, broken="skip").split
        assert "8×8 pixels; expected at most 63 in all" in refused(load, path, max_pixels=63)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", b"8BPS\0\1"])
def test_only_documented_formats_are_opened(content, monkeypatch):
    """Pillow would hand PostScript to Ghostscript, whatever the file is called."""
    monkeypatch.setattr(subprocess, "check_call", lambda *arguments, **options: pytest.fail("a program was run"))
    with pytest.raises(ValueError, match="bytes of no known image format"):
        open_image(content, upright=True)


ESCAPES = {
    "a name that leads out": lambda archive: add(archive, "../../evil.png", png()),
    "an absolute name": lambda archive: add(archive, "/etc/evil.png", png()),
    "a link that leads out": lambda archive: add(
        archive, "train/ant/x.png", b"", type=tarfile.SYMTYPE, linkname="../../../../etc/passwd"
    ),
    "a hard link that leads out": lambda archive: add(
        archive, "train/ant/x.png", b"", type=tarfile.LNKTYPE, linkname="../../etc/passwd"
    ),
    "a link to itself": lambda archive: add(archive, "train/ant/x.png", b"", type=tarfile.SYMTYPE, linkname="x.png"),
    "a device": lambda archive: add(archive, "train/ant/x.png", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "a pipe": lambda archive: add(archive, "train/ant/x.png", b"", type=tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("mode", ["w", "w:xz"])
@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_leads_out_of_an_archive(tmp_path, name, mode):
    folder = tmp_path / "data"
    folder.mkdir()
    path = pack(folder / "x.tar", ESCAPES[name], mode)
    if name == "an absolute name":  # counts from the archive's root
        assert len(in_memory(path).train) > 0
    else:
        said = refused(in_memory, path)
        assert "leads out of the archive" in said or "a link that leads to no file, or a special file" in said
    assert os.listdir(folder) == ["x.tar"] and os.listdir(tmp_path) == ["data"]


def test_digits_that_unpack_to_any_number_of_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.memory.idx_files.MAX_BYTES", 2**20)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 2**24) + bytes(2**24)))
    with pytest.raises(ValueError, match="expected 16777224 bytes"):
        read_idx(tmp_path / "x.gz")
