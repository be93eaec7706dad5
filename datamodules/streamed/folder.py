"""Your own large images in folders, `train/<class>/*` and `test/<class>/*` or `val/<class>/*`, streamed from the disk.

Small images are faster when they are decoded once: datamodules/memory/image_folder.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MinLen

from datamodules.streamed.image_index import ImageParts
from datamodules.streamed.image_tree import list_classes
from datamodules.streamed.images import StreamedImages
from runtime.identity import NotIdentity


class StreamedFolder(StreamedImages):
    """The images below the folder `root`; `name` is what the written split calls them.

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
        )
        self.root = Path(root).expanduser()

    def find(self) -> ImageParts:
        """Index the parts that are there; raise `ValueError` unless all have the same classes."""
        there = [part for part in ("train", "val", "test") if (self.root / part).is_dir()]
        if "train" not in there or len(there) < 2:
            raise ValueError(
                f"{self.name}: {self.root.absolute()} holds {', '.join(there) or 'neither train nor test'}; expected a "
                "folder (no archive) with train/<class>/<image> and test/<class>/<image> (or val/): set dataset.root "
                "(otherwise the folder images in DATA_ROOT)"
            )
        if len(there) == 3 and self.validation_share is not None:
            raise ValueError(
                f"{self.name}: {self.root} has a validation part, val/; set dataset.validation_share=null to use it"
            )
        parts = {part: list_classes(self.root / part) for part in there}
        classes = parts["train"][0]
        for part, (names, _) in parts.items():
            if odd := sorted(set(classes) ^ set(names)):
                has, lacks = ("train", part) if odd[0] in classes else (part, "train")
                raise ValueError(
                    f"{self.root}: class '{odd[0]}' is in {has}/ and not in {lacks}/; all parts need the same classes"
                )
        validation = parts["val"][1] if len(there) == 3 else None
        return ImageParts(classes, parts["train"][1], parts[there[-1]][1], validation)
