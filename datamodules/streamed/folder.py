"""Your own large images, `train/<class>/*` and `test/<class>/*` or `val/`, streamed from a folder, a .tar or a .zip.

Small images are faster when they are decoded once: datamodules/memory/image_folder.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MinLen

from datamodules.broken import Broken
from datamodules.image_file import MAX_PIXELS, MaxPixels
from datamodules.listing.image_index import ImageParts
from datamodules.listing.image_parts import LAYOUT, find_parts
from datamodules.listing.places import find_root
from datamodules.streamed.images import Checked, StreamedImages
from runtime.identity import AsBefore, NotIdentity


class StreamedFolder(StreamedImages):
    """The images below `root`, a folder, a .tar or a .zip archive; `name` is what the written split calls them.

    The test part is `test/`, or `val/` where there is no `test/`. With both, `val/` is the validation part, and
    `validation_share` must be None. All other options are those of `StreamedImages`.
    """

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        name: Annotated[str, MinLen(1)],
        size: Annotated[int, Ge(1)] = 224,
        resize: Annotated[int, Ge(1)] = 256,
        min_crop_area: Annotated[float, Gt(0), Le(1)] = 0.08,
        flip: bool = True,
        validation_share: Annotated[float, Gt(0), Lt(1)] | None = 0.1,
        subset_classes: Annotated[int, Ge(2)] | None = None,
        subset_per_class: Annotated[int, Ge(1)] | None = None,
        num_workers: Annotated[Annotated[int, Ge(0), Le(1024)] | None, NotIdentity()] = None,
        checked: Annotated[Checked, NotIdentity()] = "all",
        broken: Annotated[Broken, AsBefore("fail")] = "fail",
        max_pixels: MaxPixels = MAX_PIXELS,
    ) -> None:
        super().__init__(
            name,
            size,
            resize,
            min_crop_area,
            flip,
            validation_share,
            subset_classes,
            subset_per_class,
            num_workers,
            checked,
            broken,
            upright=True,
            max_pixels=max_pixels,
        )
        self.root = Path(root).expanduser()

    def find(self) -> ImageParts:
        """Index the parts that are there; raise `ValueError` unless all have the same classes."""
        return find_parts(find_root(self.root, LAYOUT), self.validation_share is None, in_place=True)
