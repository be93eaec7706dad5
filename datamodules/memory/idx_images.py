"""Small grey images from four idx files, two of each part, in torchvision's layout `<root>/<name>/raw`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from torch.nn.functional import pad

from datamodules.data import hold_out
from datamodules.memory.idx_files import find_file, read_idx
from datamodules.memory.in_memory import Images, InMemoryData
from datamodules.normalise import Normalise
from runtime.identity import NotIdentity
from runtime.messages import first_line

FILES = {part: (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")}
NUM_VALIDATION, SPLIT_SEED = 5_000, 0


class IdxImages(InMemoryData):
    """28×28 images of 10 classes; 5,000 of the official training part are for validation.

    A subclass sets the names. `md5` maps gzipped files to their sums. `num_per_class` maps a part to the number of
    images that each class must have there. Either is None where it is not known.
    """

    title: str
    folder_name: str  # also the name of torchvision's class
    num_classes = 10
    scale = 255.0
    md5: dict[str, str] | None = None
    num_per_class: dict[str, int] | None = None

    def __init__(
        self, root: Annotated[str, NotIdentity()], download: Annotated[bool, NotIdentity()], padding: int
    ) -> None:
        super().__init__()
        size = 28 + 2 * padding
        self.padding = padding
        self.input_shape = (1, size, size)
        drawn = f"{NUM_VALIDATION} validation (random, seed {SPLIT_SEED})"
        self.split = f"official {self.title}: 60000 train less {drawn}, 10000 test"
        self.split += f"; padded to {size}×{size}" if padding else ""
        self.folder = Path(root).expanduser() / self.folder_name / "raw"
        self.root = root
        self.download = download

    def prepare_data(self) -> None:
        """Check that the four files are there; download them first if `download` is true."""
        names = [name for pair in FILES.values() for name in pair]
        missing = [name for name in names if find_file(self.folder, name) is None]
        if missing and self.download:
            import torchvision.datasets

            try:
                getattr(torchvision.datasets, self.folder_name)(self.root, download=True)
            except (RuntimeError, OSError) as error:
                raise ValueError(f"{self.title}: the download to {self.folder} failed: {first_line(error)}") from None
        elif missing:
            raise ValueError(
                f"{self.title}: {self.folder.absolute()} lacks {', '.join(missing)} (plain or .gz); set dataset.root "
                f"or the environment variable DATA_ROOT to the folder that holds {self.folder_name}/raw, or add "
                "dataset.download=true"
            )

    def setup(self, stage: str | None = None) -> None:
        """Load all parts, once, and pad them; the fingerprint is that of the files, without padding."""
        if hasattr(self, "train"):
            return
        super().setup(stage)
        if self.padding:
            sides = [self.padding] * 4
            self.train, self.validation, self.test = (
                Images(pad(part.images, sides), part.labels) for part in (self.train, self.validation, self.test)
            )
            if self.normalise.mean.shape[1:] == (28, 28):  # a mean image: of the images without padding
                self.normalise = Normalise(self.scale, pad(self.normalise.mean, sides))

    def load(self) -> tuple[Images, Images, Images]:
        """Read the four files and split the training part."""
        self.prepare_data()
        train, test = (self._read(part) for part in FILES)
        kept, held_out = hold_out(len(train), NUM_VALIDATION, SPLIT_SEED)
        return train.take(kept), train.take(held_out), test

    def _read(self, part: str) -> Images:
        image_file, label_file = (find_file(self.folder, name) for name in FILES[part])
        assert image_file is not None and label_file is not None
        images, labels = (read_idx(file, (self.md5 or {}).get(file.name)) for file in (image_file, label_file))
        fit = images.shape[1:] == (28, 28) and labels.shape == images.shape[:1] and len(labels) > 0
        if not fit or labels.max() >= self.num_classes:
            raise ValueError(
                f"{self.title}: {image_file} holds {tuple(images.shape)} and {label_file.name} {tuple(labels.shape)}; "
                "expected (n, 28, 28) and (n,) with labels 0 to 9: fetch the files again"
            )
        if part == "train" and len(labels) <= NUM_VALIDATION:
            raise ValueError(
                f"{self.title}: {image_file} holds {len(labels)} images; expected more than {NUM_VALIDATION}"
            )
        if self.num_per_class is not None:
            counts, expected = labels.bincount(minlength=self.num_classes).tolist(), self.num_per_class[part]
            if counts != [expected] * self.num_classes:
                raise ValueError(
                    f"{self.title}: {label_file} has {min(counts)} to {max(counts)} images of a class; expected "
                    f"{expected} of each: these are other data, or a part of them: fetch the files again"
                )
        return Images(images[:, None], labels.long())
