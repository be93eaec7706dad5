"""Mean and standard deviation of each channel of many images, which normalise RGB images."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def channel_moments(
    images: UInt8[Tensor, "sample channel height width"], scale: float
) -> tuple[Float[Tensor, "channel 1 1"], Float[Tensor, "channel 1 1"]]:
    """Return the mean and the standard deviation of each channel of `images / scale`; 1 for a constant channel.

    They are computed from the counts of the 256 values: exactly, and without a floating-point copy of the images.
    """
    counts = torch.stack(
        [torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(dim=1)]
    ).double()
    values = torch.arange(256, dtype=torch.float64) / scale
    share = counts / counts.sum(dim=1, keepdim=True)
    mean = share @ values
    deviation = (share * (values - mean[:, None]).square()).sum(dim=1).sqrt()
    deviation = torch.where(share.amax(dim=1) < 1, deviation, 1.0)
    return mean.float()[:, None, None], deviation.float()[:, None, None]
