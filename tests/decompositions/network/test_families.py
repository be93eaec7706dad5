"""A small network of every family of torchvision's classifiers through `compress`, with SVD at half the parameters."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import convnext, efficientnet, mobilenetv3, regnet, swin_transformer
from torchvision.models.video import mvit
from torchvision.models.video import swin_transformer as swin3d

from decompositions import compress
from decompositions.layers.geometry import CONVOLUTIONS, TRANSPOSED
from decompositions.svd import SVD
from evaluation.counts import count_macs

NUM_CLASSES = 5


def alexnet() -> nn.Module:
    network = models.alexnet(num_classes=NUM_CLASSES)
    network.features = network.features[:5]  # most of its weights lie behind
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Sequential(nn.Dropout(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, NUM_CLASSES))
    return network


def resnet() -> nn.Module:
    network = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], NUM_CLASSES)
    network.layer3, network.layer4 = nn.Identity(), nn.Identity()
    network.fc = nn.Linear(128, NUM_CLASSES)
    return network


def vgg() -> nn.Module:
    network = models.VGG(models.vgg.make_layers([8, "M", 16, "M", 16], batch_norm=True), NUM_CLASSES)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, NUM_CLASSES))
    return network


def mobilenet_v3() -> nn.Module:
    row = partial(mobilenetv3.InvertedResidualConfig, width_mult=1.0)
    return models.MobileNetV3(
        [row(16, 3, 32, 16, True, "RE", 2, 1), row(16, 5, 64, 24, True, "HS", 2, 1)], 64, num_classes=NUM_CLASSES
    )


def efficientnets() -> nn.Module:
    row = partial(efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
    return models.EfficientNet(
        [row(1, 3, 1, 32, 16, 1), row(4, 5, 2, 16, 24, 2)], 0.0, num_classes=NUM_CLASSES, last_channel=96
    )


def efficientnet_v2() -> nn.Module:
    rows = [efficientnet.FusedMBConvConfig(2, 3, 2, 16, 24, 1), efficientnet.MBConvConfig(4, 3, 2, 24, 32, 1)]
    return models.EfficientNet(rows, 0.0, num_classes=NUM_CLASSES, last_channel=96)


def regnets() -> nn.Module:
    params = regnet.BlockParams.from_init_params(depth=6, w_0=16, w_a=16.0, w_m=2.0, group_width=8, se_ratio=0.25)
    return models.RegNet(params, NUM_CLASSES)


def convnexts() -> nn.Module:
    rows = [convnext.CNBlockConfig(16, 32, 1), convnext.CNBlockConfig(32, None, 1)]
    return models.ConvNeXt(rows, num_classes=NUM_CLASSES)


def swin(**kind) -> nn.Module:
    return models.SwinTransformer([2, 2], 16, [2, 1], [2, 4], [4, 4], num_classes=NUM_CLASSES, **kind)


def maxvit() -> nn.Module:
    return models.MaxVit((32, 32), 16, 4, [16, 32], [1, 1], 8, 0.0, mlp_ratio=2, num_classes=NUM_CLASSES)


def mvits() -> nn.Module:
    rows = [
        mvit.MSBlockConfig(1, 16, 32, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        mvit.MSBlockConfig(2, 32, 32, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    options = {"residual_pool": True, "residual_with_cls_embed": False, "rel_pos_embed": True, "proj_after_attn": True}
    return mvit.MViT((16, 16), 4, rows, **options, num_classes=NUM_CLASSES)


def swin_of_clips() -> nn.Module:
    return swin3d.SwinTransformer3d(
        [2, 4, 4], 16, [2, 1], [2, 4], [2, 2, 2], num_classes=NUM_CLASSES, stochastic_depth_prob=0.0
    )


IMAGE, CLIP = (3, 32, 32), (3, 4, 16, 16)
# The network, a sample, and what stays dense though it is a layer with a weight, by its reason.
GROUPED, NOT_CALLED = "no format represents a grouped convolution", "never called"
FAMILIES = {
    "alexnet": (alexnet, (3, 64, 64), ()),
    "resnet": (resnet, IMAGE, ()),
    "vgg": (vgg, IMAGE, ()),
    "squeezenet": (partial(models.squeezenet1_1, num_classes=NUM_CLASSES), (3, 64, 64), ()),
    "mobilenet_v3": (mobilenet_v3, IMAGE, (GROUPED,)),
    "efficientnet": (efficientnets, IMAGE, (GROUPED,)),
    "efficientnet_v2": (efficientnet_v2, IMAGE, (GROUPED,)),
    "regnet": (regnets, IMAGE, (GROUPED,)),
    "convnext": (convnexts, IMAGE, (GROUPED,)),
    "densenet": (partial(models.DenseNet, 8, (2, 2), 16, num_classes=NUM_CLASSES), IMAGE, ()),
    "mobilenet_v2": (partial(models.MobileNetV2, NUM_CLASSES, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2]]), IMAGE, (GROUPED,)),
    "mnasnet": (partial(models.MNASNet, 0.1, NUM_CLASSES), IMAGE, (GROUPED,)),
    "shufflenet": (
        partial(models.ShuffleNetV2, [2, 2, 2], [8, 16, 32, 64, 128], num_classes=NUM_CLASSES), IMAGE, (GROUPED,),
    ),
    "vit": (partial(models.VisionTransformer, 32, 8, 1, 2, 32, 64, num_classes=NUM_CLASSES), IMAGE, ()),
    "swin": (swin, IMAGE, ()),
    "swin_v2": (
        partial(
            swin, block=swin_transformer.SwinTransformerBlockV2, downsample_layer=swin_transformer.PatchMergingV2
        ), IMAGE, (),
    ),
    "maxvit": (maxvit, IMAGE, (GROUPED,)),
    "mvit": (mvits, (3, 4, 16, 16), (GROUPED,)),
    "swin3d": (swin_of_clips, CLIP, (NOT_CALLED,)),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_at_half_its_parameters(family):
    torch.manual_seed(0)
    build, shape, known = FAMILIES[family]
    network, x = build().eval(), torch.randn(2, *shape)
    small, report = compress(network, SVD(), budget=0.5, example_input=x)
    with torch.no_grad():
        assert small(x).shape == (2, NUM_CLASSES)
    assert sum(p.numel() for p in network.parameters()) == report.dense_params
    assert sum(p.numel() for p in small.parameters()) == report.num_params <= report.dense_params / 2
    assert count_macs(network, shape) == report.dense_macs and count_macs(small, shape) == report.macs
    assert report.uncounted == ()
    lines = {line.name: line for line in report.layers}
    for line in report.layers:
        assert (line.rank is None) == (line.reason is not None), line
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.MultiheadAttention, *CONVOLUTIONS, *TRANSPOSED)):
            opened = any(
                f"{name}.".startswith(f"{each}.") for each in report.structure if "opened" in report.structure[each]
            )
            assert name in lines or opened, f"{name} is missed in silence"
    reasons = {line.reason for line in report.layers if line.reason}
    unknown = {reason for reason in reasons if not any(each in reason for each in (*known, "not smaller", "rule"))}
    assert not unknown, unknown
    assert all(any(each in reason for reason in reasons) for each in known), reasons
