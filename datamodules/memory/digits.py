"""The 1,797 handwritten digits, 8×8 pixels of 0…16, that ship with scikit-learn [AK98]: real data without a download.

[AK98] Alpaydin & Kaynak, Optical recognition of handwritten digits, UCI machine learning repository, 1998.
"""

from __future__ import annotations

import torch

from datamodules.data import hold_out
from datamodules.memory.in_memory import Images, InMemoryData

NUM_TEST, NUM_VALIDATION, SPLIT_SEED = 450, 180, 0


class Digits(InMemoryData):
    """1,167 digits for training, 180 for validation, 450 for testing, drawn at random with a fixed seed."""

    input_shape = (1, 8, 8)
    num_classes = 10
    scale = 16.0
    split = f"scikit-learn digits, random split with seed {SPLIT_SEED}: 1167 train, 180 validation, 450 test"

    def load(self) -> tuple[Images, Images, Images]:
        """Read the digits from scikit-learn's own files."""
        from sklearn.datasets import load_digits

        raw = load_digits()
        images = torch.from_numpy(raw.images).to(torch.uint8)[:, None]  # (1797, 1, 8, 8)
        data = Images(images, torch.from_numpy(raw.target).long())
        rest, test = hold_out(len(data), NUM_TEST, SPLIT_SEED)
        train, validation = hold_out(len(rest), NUM_VALIDATION, SPLIT_SEED)
        return data.take(rest[train]), data.take(rest[validation]), data.take(test)
