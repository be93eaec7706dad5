"""Fashion-MNIST from its official files [XRV17], in torchvision's layout `<root>/FashionMNIST/raw`, plain or gzipped.

[XRV17] Xiao, Rasul & Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms,
arXiv:1708.07747, 2017.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from datamodules.memory.augment import Augmentation
from datamodules.memory.idx_images import IdxImages
from runtime.identity import NotIdentity


class FashionMNIST(IdxImages):
    """55,000 articles for training, 5,000 of the official training part for validation, the 10,000 official test ones.

    Gzipped files must have the official md5 sums. Plain files must have 6,000 training and 1,000 test images of each
    class: that refuses MNIST, whose files have the same names, but not every other set of that size; the fingerprint
    in a row tells those apart. `padding` black pixels are added on every side of all images; `crop_padding`, `flip`
    and `cutout` change the training images.
    """

    title, folder_name = "Fashion-MNIST", "FashionMNIST"
    md5 = {  # noqa: RUF012 - as torchvision checks them
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    num_per_class = {"train": 6_000, "t10k": 1_000}  # noqa: RUF012

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        download: Annotated[bool, NotIdentity()] = False,
        padding: Annotated[int, Ge(0), Le(100)] = 0,
        crop_padding: Annotated[int, Ge(0)] = 0,
        flip: bool = False,
        cutout: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(root, download, padding)
        self.augmentation = Augmentation(crop_padding, flip, cutout)
