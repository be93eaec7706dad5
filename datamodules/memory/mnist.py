"""MNIST from its official files [LBBH98], in torchvision's layout `<root>/MNIST/raw`, plain or gzipped.

[LBBH98] LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from datamodules.memory.idx_images import IdxImages
from runtime.identity import NotIdentity


class MNIST(IdxImages):
    """55,000 digits for training, 5,000 of the official training part for validation, the 10,000 official test digits.

    `root` holds `MNIST/raw/*-ubyte[.gz]`; nothing is fetched unless `download` is true. `padding` black pixels are
    added on every side: 2 make the 32×32 = 1024 pixels of [NPOV15].

    [NPOV15] Novikov, Podoprikhin, Osokin & Vetrov, Tensorizing neural networks, NIPS 2015.
    """

    title = folder_name = "MNIST"
    official = "4713448bdac9"

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        download: Annotated[bool, NotIdentity()] = False,
        padding: Annotated[int, Ge(0), Le(100)] = 0,
    ) -> None:
        super().__init__(root, download, padding)
