"""The classifiers of torchvision, untrained or with weights from a file; nothing is ever downloaded.

Any classifier of images or clips in torchvision's registry has its name here: alexnet, resnet50, r3d_18, …
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from runtime.weights import put_weights, read_weights

CHANNELS = 3


def torchvision_network(
    input_shape: Sequence[int], num_classes: int, name: str, weights: str | None = None, new_head: bool = False
) -> nn.Module:
    """Build the network `name`, untrained if `weights` is None.

    `weights` is a file, or torchvision's name of weights (IMAGENET1K_V1) that are in its cache already. Weights for
    another number of classes are refused unless `new_head` is true: then the last layer starts untrained. Raises
    `ValueError` in one line for an unknown name, weights that are missing or of another network, and samples that are
    no RGB images or clips.
    """
    known = models.list_models(module=models) + models.list_models(module=models.video)
    if name not in known:
        raise ValueError(f"network.name: torchvision has no classifier '{name}'; known: {', '.join(sorted(known))}")
    is_video = name in models.list_models(module=models.video)
    if len(input_shape) != (4 if is_video else 3) or input_shape[0] != CHANNELS:
        expected = "(3, frame, height, width)" if is_video else "(3, height, width)"
        raise ValueError(f"{name} takes samples of {expected}, got {list(input_shape)}; take other data")
    options = {}
    if name in ("googlenet", "inception_v3"):
        # Without init_weights they warn; torchvision's own weights of the two expect inputs of other moments.
        published = weights in models.get_model_weights(name).__members__
        options = {"init_weights": True, "aux_logits": False, "transform_input": published}
    network = models.get_model(name, weights=None, num_classes=num_classes, **options)
    side = getattr(network, "image_size", None)  # of a ViT, which has a position for each patch
    if side is not None and list(input_shape[1:]) != [side, side]:
        raise ValueError(
            f"{name} takes images of {side}×{side} pixels, got samples of {list(input_shape)}; take other data, or "
            "network=vit_small"
        )
    if weights is not None:
        _load(network, _state(name, weights), f"network.weights={weights}", new_head)
    return network


def _state(name: str, weights: str) -> dict[str, Tensor]:
    path = Path(weights).expanduser()
    if not path.is_file():
        known = models.get_model_weights(name).__members__
        if weights not in known:
            raise ValueError(
                f"network.weights: there is no file {path.absolute()}, and {name} has no weights of that name; "
                f"expected a file or one of {', '.join(known) or 'none'}"
            )
        url = known[weights].url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if not path.is_file():
            raise ValueError(f"network.weights: {path} is not there; fetch it from {url}, nothing is fetched here")
    return read_weights(path)


def _load(network: nn.Module, state: dict[str, Tensor], what: str, new_head: bool) -> None:
    if any(".norm.1." in key for key in state):  # the published files of densenets have older names
        state = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", key): value for key, value in state.items()}
    own = network.state_dict().keys()
    # Auxiliary classifiers, which only trained the others, are not built.
    put_weights(network, {k: v for k, v in state.items() if k in own or "aux" not in k}, what, new_head)
