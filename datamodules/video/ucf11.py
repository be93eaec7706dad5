"""UCF11, the YouTube actions: 1,600 clips of eleven classes, 25 groups each [Liu09], decoded once into a cache.

Finding the files, splitting, decoding and batches each have a module of their own beside this one.

[Liu09] Liu, Luo & Shah, Recognizing realistic actions from videos "in the wild", CVPR 2009.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le

from datamodules.data import Data
from datamodules.normalisation import Kind, Normalisation
from datamodules.normalise import Normalise
from datamodules.video.batches import ClipBatches, Clips, View, own_normalise
from datamodules.video.cache import fill_cache, open_clip
from datamodules.video.decode import Frames
from datamodules.video.ucf11_files import Clip, find_clips, find_tree
from datamodules.video.ucf11_split import Part, Protocol, check_parts, describe, parts_of
from runtime.digest import digest_bytes
from runtime.identity import NotIdentity

# A batch of long clips must fit into memory too.
EVALUATION_CLIPS, EVALUATION_FRAMES = 50, 1500
NUM_HASHED_BYTES = 4096


class UCF11(Data):
    """The clips below `root` (see datamodules/video/ucf11_files.py); nothing is ever downloaded.

    `view` is "frames", `(frame, 3, height, width)`, for recurrent networks, or "clips", `(3, frame, height, width)`,
    for 3-D convolutions. `num_frames` of a clip are kept, evenly spaced, or all if that is None; then zeros follow the
    normalised frames up to the longest clip. A frame that is exactly zero is padding: no real frame is, because no byte
    equals the mean that is subtracted. datamodules/video/ucf11_split.py explains `protocol`; `fold`, 0 to 4, belongs to
    "five_fold". `flip` mirrors half of the training clips. With `broken` "fail" a broken clip is an error; with "skip"
    it is left out and counted in the written split. Decoded clips are kept in the folder `cache`, or in
    `<root>/ucf11_cache`; `num_workers` processes decode, 0 decodes in this process.
    """

    name = "UCF11"
    remedy = "fetch it again, or leave such clips out with dataset.broken=skip"
    normalisations: ClassVar[tuple[Kind, ...]] = ("own", "none")
    num_channels = 3
    normalise: Normalise

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        view: View = "frames",
        num_frames: Annotated[int, Ge(1)] | None = 6,
        height: Annotated[int, Ge(1)] = 120,
        width: Annotated[int, Ge(1)] = 160,
        protocol: Protocol = "group_split",
        fold: Annotated[int, Ge(0), Le(4)] | None = None,
        flip: bool = False,
        broken: Literal["fail", "skip"] = "fail",
        cache: Annotated[str | None, NotIdentity()] = None,
        num_workers: Annotated[int, Ge(0), NotIdentity()] = 0,
    ) -> None:
        super().__init__()
        if (fold is None) == (protocol == "five_fold"):
            raise ValueError(f"dataset.fold: expected 0 to 4 with five_fold, else null; got {fold} with {protocol}")
        self.root = Path(root).expanduser()
        self.view: View = view
        self.frames = Frames(num_frames, height, width)
        self.protocol: Protocol = protocol
        self.fold = fold
        self.flip = flip
        self.broken: Literal["fail", "skip"] = broken
        self.cache = self.root / "ucf11_cache" if cache is None else Path(cache).expanduser()
        self.num_workers = num_workers

    def prepare_data(self) -> None:
        """Find the clips and decode what the cache lacks; number, shape and split are known from now on."""
        found = find_clips(find_tree(self.root))
        sources = {clip.name: clip.path for clip in found}
        files = fill_cache(sources, self.cache, self.frames, self.broken, self.num_workers, self.remedy)
        # The split is drawn before broken clips are left out, so that they move no other clip.
        both = zip(found, parts_of(found, self.protocol, self.fold), strict=True)
        kept = [(clip, part) for clip, part in both if clip.name in files]
        clips, parts = [clip for clip, _ in kept], [part for _, part in kept]
        check_parts(clips, parts, {clip.class_name for clip in found})
        lengths = [len(open_clip(files[clip.name])) for clip in clips]
        longest = max(lengths)
        channels = (longest, 3) if self.view == "frames" else (3, longest)
        self.input_shape = (*channels, self.frames.height, self.frames.width)
        self.num_classes = 1 + max(clip.label for clip in found)
        self.evaluation_batch_size = max(1, min(EVALUATION_CLIPS, EVALUATION_FRAMES // longest))
        self.split = f"{self.name}, {describe(clips, parts, self.protocol, self.fold)}; {self.frames}"
        if skipped := len(found) - len(clips):
            self.split += f"; {skipped} broken clips left out"
        self._parts = {
            part: Clips(
                [files[clip.name] for clip, its in kept if its == part],
                torch.tensor([clip.label for clip, its in kept if its == part]),
                longest,
            )
            for part in ("train", "validation", "test")
        }
        self._kept = list(zip(clips, parts, lengths, strict=True))

    def normalise_by(self, normalisation: Normalisation) -> None:
        """Choose the normalisation; raise `ValueError` also for one by which a real frame may be exactly zero."""
        super().normalise_by(normalisation)
        fixed = normalisation.fixed(255.0, self.num_channels)
        pixels = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1).expand(256, self.num_channels, 1, 1)
        if self.view == "frames" and fixed is not None and (fixed(pixels) == 0).any(dim=0).all():
            raise ValueError(
                "dataset.mean: with these numbers a frame of one colour is exactly zero, which means the end of a clip "
                "in the view frames; expected a mean that no byte has, as 0.4321, or dataset.view=clips"
            )

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """What a network's file keeps, for `(3, frame, height, width)` in the view clips."""
        known = super().preprocessing
        if self.view == "frames" or known is None:
            return known
        return {name: None if moment is None else moment[:, None] for name, moment in known.items()}

    def setup(self, stage: str | None = None) -> None:
        """Make the three parts ready."""
        if not hasattr(self, "train"):
            if not hasattr(self, "_parts"):
                self.prepare_data()
            self.train, self.validation, self.test = (self._parts[part] for part in ("train", "validation", "test"))
            self.fingerprint = _fingerprint(self._kept)
            self.normalise = self.normalisation.fixed(255.0, self.num_channels) or own_normalise()

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> ClipBatches:
        """Return the training part, shuffled anew in every epoch; half of its clips are mirrored if `flip` is true."""
        return ClipBatches(self.train, batch_size, self.view, device, seed, self.flip, self.normalise)

    def validation_batches(self, device: torch.device | str = "cpu") -> ClipBatches:
        """Return the validation part, in order: every selection is made on it."""
        return self._in_order(self.validation, device)

    def test_batches(self, device: torch.device | str = "cpu") -> ClipBatches:
        """Return the test part, in order: it is read once, at the end."""
        return self._in_order(self.test, device)

    def _in_order(self, part: Clips, device: torch.device | str) -> ClipBatches:
        return ClipBatches(part, self.evaluation_batch_size, self.view, device, normalise=self.normalise)


def _fingerprint(kept: list[tuple[Clip, Part, int]]) -> str:
    """Return twelve hex digits of names, labels, parts, lengths, and of each file's size and a piece of its middle."""
    return digest_bytes(piece for clip, part, num_frames in kept for piece in _pieces(clip, part, num_frames))


def _pieces(clip: Clip, part: Part, num_frames: int) -> Iterator[bytes]:
    size = clip.path.stat().st_size
    yield f"{clip.name} {clip.label} {part} {num_frames} {size}\n".encode()
    with clip.path.open("rb") as file:
        file.seek(max(0, (size - NUM_HASHED_BYTES) // 2))
        yield file.read(NUM_HASHED_BYTES)
