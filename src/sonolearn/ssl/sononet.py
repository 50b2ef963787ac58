"""SonoNet (Baumgartner et al., IEEE TMI 2017), a small VGG that was trained with labels on 14 fetal planes.

Importing this module makes `sononet16`, `sononet32` and `sononet64` known to `timm.create_model`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions of the five stages."""
SONONETS = ("sononet16", "sononet32", "sononet64")
"""Their names."""
EPSILON = 1e-4
"""Of the batch norms as published; the default of torch differs."""


class SonoNet(nn.Module):
    """SonoNet up to its last feature map; features are the mean of that map, without the two adaptation layers.

    Each image is standardised here, to mean 0 and deviation 255, as the network was trained. So it does not matter
    which mean and deviation were applied before, and views that differ only in the brightness and contrast of the
    whole image are the same to it.

    >>> import torch
    >>> SonoNet(width=16).eval()(torch.rand(2, 1, 224, 288)).shape
    torch.Size([2, 128])
    """

    def __init__(self, width: int, in_chans: int = 1, num_classes: int = 0) -> None:
        """Random weights.

        Args:
            width: channels of the first stage: 16, 32 or 64 in the paper.
            in_chans: channels C of the images.
            num_classes: 0, as there is no classifier.

        Raises:
            ValueError: another number of classes.
        """
        super().__init__()
        if num_classes != 0:
            raise ValueError(f"SonoNet is an encoder without classifier, num_classes must be 0, not {num_classes}")
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.num_classes, self.num_features = 0, widths[-1]
        channels = zip(pairwise([in_chans, *widths]), CONVOLUTIONS, (*[True] * 4, False), strict=True)
        self.features = nn.Sequential(*(_stage(*pair, count, pool) for pair, count, pool in channels))
        self.feature_info = [
            {"num_chs": width, "reduction": 2**stage, "module": f"features.{stage}"}
            for stage, width in enumerate(widths)
        ]

    def forward_features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, F, H // 16, W // 16) feature maps; F is 8 times the width."""
        maps: Tensor = self.features(standardise(images))
        return maps

    def forward_head(self, maps: Tensor) -> Tensor:
        """(N, F, h, w) feature maps to (N, F) features."""
        return maps.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, F) features."""
        return self.forward_head(self.forward_features(images))


def standardise(images: Tensor) -> Tensor:
    """(N, C, H, W) images, each brought to mean 0 and deviation 255; a uniform image becomes 0."""
    centred = images - images.mean((1, 2, 3), keepdim=True)
    return 255 * centred / centred.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)


def _stage(before: int, channels: int, count: int, pool: bool) -> nn.Sequential:
    """`count` convolutions, each with batch norm and ReLU, then a max-pool; named as in the published weights."""
    layers = [
        nn.Sequential(
            nn.Conv2d(width, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels, eps=EPSILON),
            nn.ReLU(inplace=True),
        )
        for width in (before, *[channels] * (count - 1))
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


# Mean and deviation are undone by `standardise`.
default_cfgs = generate_default_cfgs(
    {
        name: {
            "input_size": (1, 224, 288),
            "mean": (0.5,),
            "std": (0.5,),
            "num_classes": 0,
            "first_conv": "features.0.0.0",
        }
        for name in SONONETS
    }
)


@register_model
def sononet16(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """SonoNet-16: 0.9 M parameters, 128 features."""
    return build_model_with_cfg(SonoNet, "sononet16", pretrained, width=16, **arguments)


@register_model
def sononet32(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """SonoNet-32: 3.7 M parameters, 256 features."""
    return build_model_with_cfg(SonoNet, "sononet32", pretrained, width=32, **arguments)


@register_model
def sononet64(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """SonoNet-64: 14.7 M parameters, 512 features."""
    return build_model_with_cfg(SonoNet, "sononet64", pretrained, width=64, **arguments)
