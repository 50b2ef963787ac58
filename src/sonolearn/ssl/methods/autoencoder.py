"""Autoencoder: rebuild a view from the encoder's last feature map.

Masci, Meier, Cireşan, Schmidhuber: Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction. ICANN 2011.
The decoder is that of the study: the encoder mirrored, with transposed convolutions.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sonolearn.config import PretrainConfig
from sonolearn.console import UserError
from sonolearn.ssl.devices import gather
from sonolearn.ssl.encoders import feature_count
from sonolearn.ssl.methods.method import Loss, Method, Pairing

NARROWEST = 8


def mirror(encoder: nn.Module, size: int, width: float = 1.0) -> Decoder:
    """A decoder for the last feature map of `encoder`.

    Every halving of the encoder is undone by a block with a transposed convolution, with as many channels as the
    encoder's stage of that size has.

    Args:
        encoder: a timm model; parts behind its feature map that hold weights are frozen, as nothing would train them.
        size: side of the input in px.
        width: channels relative to the encoder's.

    Raises:
        UserError: the encoder has no feature map (a transformer of tokens), or its features are not the pooled map.
    """
    features = _feature_map(encoder, size)
    if features.ndim != 4 or features.shape[1] != feature_count(encoder):
        raise UserError(
            f"--encoder: {type(encoder).__name__} does not end in a feature map whose mean are its features, which "
            "the autoencoders rebuild images from; take a convolutional one such as resnet50 or convnext_tiny"
        )
    sizes = [size]
    while sizes[-1] > features.shape[2]:
        sizes.append(math.ceil(sizes[-1] / 2))
    stages = [int(stage["num_chs"]) for stage in getattr(encoder, "feature_info", [])][-2::-1]
    channels = [features.shape[1], *stages]
    while len(channels) < len(sizes):
        channels.append(channels[-1] // 2)
    scaled = [channels[0], *(max(NARROWEST, round(width * count)) for count in channels[1:])]
    return Decoder(scaled[: len(sizes)], sizes[-2::-1])


class Decoder(nn.Module):
    """From (N, C, h, w) feature maps to (N, 1, size, size)."""

    def __init__(self, channels: list[int], sizes: list[int]) -> None:
        """Blocks that give `channels[1:]` channels at `sizes` px."""
        super().__init__()
        self.blocks = nn.ModuleList(
            UpBlock(before, after, size) for (before, after), size in zip(pairwise(channels), sizes, strict=True)
        )
        self.last = nn.Conv2d(channels[-1], 1, kernel_size=3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Rebuild the normalised images."""
        for block in self.blocks:
            features = block(features)
        rebuilt: Tensor = self.last(features)
        return rebuilt


class UpBlock(nn.Module):
    """ResNet's bottleneck block turned round: a transposed convolution doubles the side, a shortcut goes past it."""

    def __init__(self, before: int, after: int, size: int) -> None:
        """From `before` to `after` channels, up to `size` px: twice the side, or one less for an odd `size`."""
        super().__init__()
        middle = max(NARROWEST, after // 2)
        self.size = size
        self.residual = nn.Sequential(
            nn.Conv2d(before, middle, kernel_size=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(middle, middle, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, after, kernel_size=1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, kernel_size=1, bias=False), nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        """(N, before, h, w) to (N, after, size, size)."""
        # Both are linear per pixel, so the cheaper order is the shortcut's channels first, then its size.
        doubled = interpolate(self.shortcut(features), scale_factor=2, mode="nearest")
        total: Tensor = (self.residual(features) + doubled).relu()
        if total.shape[2:] == (self.size, self.size):
            return total
        # One row and column too many for an odd side; a stride other than 2 (a patch of 14 px) is resized.
        if total.shape[2] == self.size + 1:
            return total[..., : self.size, : self.size]
        return interpolate(total, (self.size, self.size), mode="bilinear", align_corners=False)


def _feature_map(encoder: nn.Module, size: int) -> Tensor:
    """The last feature map of a black image; weights that it does not depend on are frozen."""
    training = encoder.training
    weight = next(encoder.parameters())
    image = torch.zeros(1, 1, size, size, dtype=weight.dtype, device=weight.device)
    features: Tensor = encoder.eval().forward_features(image)  # type: ignore[operator]
    encoder.train(training)
    used = torch.autograd.grad(features.sum(), list(encoder.parameters()), allow_unused=True)
    for parameter, gradient in zip(encoder.parameters(), used, strict=True):
        if gradient is None:
            # DDP waits for a gradient of everything that learns.
            parameter.requires_grad_(False)
    return features.detach()


class Autoencoder(Method):
    """Encoder and decoder; trained by AdamW with a rate that falls in steps."""

    pairing: ClassVar[Pairing] = "one_view"

    def __init__(self, encoder: nn.Module, config: PretrainConfig, decoder_width: float | None = None) -> None:
        """Put a new decoder on `encoder` (a timm model with a feature map)."""
        super().__init__(encoder, config)
        width = config.autoencoder.decoder_width if decoder_width is None else decoder_width
        self.decoder = mirror(encoder, config.image_size, width)

    def rebuild(self, views: Tensor) -> Tensor:
        """What encoder and decoder make of (N, 1, H, W) normalised views: the same shape and scale."""
        rebuilt: Tensor = self.decoder(self.encoder.forward_features(views))  # type: ignore[operator]
        return rebuilt

    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """Squared error of what is rebuilt from the first views against the second; here they are the same."""
        errors = (self.rebuild(first).float() - second).square()
        return gather(errors.mean(dim=(1, 2, 3))).mean(), {}
