"""Batches of large images: requested from the decoders as bytes, normalised on the device that computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from datamodules.batches import Chosen, EpochBatches, to_device
from datamodules.normalise import Normalise
from datamodules.streamed.decoders import Decoders, Request


class StreamedBatches(EpochBatches):
    """An epoch of one part: random windows of its images if a `seed` is given, else their centres; normalised."""

    def __init__(
        self,
        decoders: Decoders,
        part: int,
        batch_size: int,
        normalise: Normalise,
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        self.labels = torch.from_numpy(decoders.decoder.parts[part].labels)
        super().__init__(len(self.labels), batch_size, device, seed)
        self.decoders = decoders
        self.part = part
        self.normalise = normalise.to(self.device)

    def read(self, batches: Iterable[Chosen]) -> Iterator[tuple[Tensor, Tensor]]:
        """Request all batches at once, and yield them in order."""
        indices = [index for index, _ in batches]
        drawn = None if self.seed is None else (self.seed, self.epoch)
        requests = [Request(self.part, index.numpy(), drawn) for index in indices]
        pin = self.device.type == "cuda"
        for index, images in zip(indices, self.decoders(requests, pin), strict=False):
            yield self._ready(images), to_device(self.labels[index], self.device)

    def _ready(self, images: UInt8[Tensor, "batch h w 3"]) -> Float[Tensor, "batch 3 h w"]:
        moved = to_device(images, self.device)  # a fourth of the bytes of normalised images
        return self.normalise(moved.permute(0, 3, 1, 2).contiguous())  # (b, 3, h, w)
