"""ImageNet, the 1000 classes of ILSVRC2012 [RDS15], from its official archives as they are, or from extracted folders.

imagenet_files.py lists where the files may lie; images.py reads them.

[RDS15] Russakovsky, Deng, Su et al., ImageNet large scale visual recognition challenge, IJCV 115, 2015.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from datamodules.listing.image_index import ImageParts
from datamodules.streamed.imagenet_files import find_imagenet
from datamodules.streamed.images import Checked, StreamedImages
from runtime.identity import NotIdentity


class ImageNet(StreamedImages):
    """ImageNet below `root`: the official validation part is the test part; validation images are taken from training.

    Archives are indexed once; the index is kept in the folder `cache`, or beside the archives if that is None. All
    other options are those of `StreamedImages`.
    """

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        cache: Annotated[str | None, NotIdentity()] = None,
        size: Annotated[int, Ge(1)] = 224,
        resize: Annotated[int, Ge(1)] = 256,
        min_crop_area: Annotated[float, Gt(0), Le(1)] = 0.08,
        flip: bool = True,
        validation_share: Annotated[float, Gt(0), Lt(1)] = 0.02,
        subset_classes: Annotated[int, Ge(2)] | None = None,
        subset_per_class: Annotated[int, Ge(1)] | None = None,
        num_workers: Annotated[Annotated[int, Ge(0), Le(1024)] | None, NotIdentity()] = None,
        checked: Annotated[Checked, NotIdentity()] = "nothing",
    ) -> None:
        super().__init__(
            "ILSVRC2012, the official validation part as test part",
            size,
            resize,
            min_crop_area,
            flip,
            validation_share,
            subset_classes,
            subset_per_class,
            num_workers,
            checked,
            broken="fail",
            upright=False,  # published networks were trained and tested on the images as they are stored
        )
        self.root = Path(root).expanduser()
        self.cache = None if cache is None else Path(cache).expanduser()

    def find(self) -> ImageParts:
        """Index both official parts."""
        return find_imagenet(self.root, self.cache)
