"""The card of an encoder; known without torch, to predict by ONNX Runtime alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Card:
    """What a person or a program needs to know to use an encoder."""

    encoder: str
    """timm name."""
    encoder_args: dict[str, Any] = field(default_factory=dict)
    """More arguments of the timm model."""
    small_stem: bool = False
    """Without the stem's max-pool."""
    image_size: int | None = None
    """Side in px of the images that it was trained on; None: any."""
    mean: float = 0.5
    """Subtracted from grey values in 0 to 1 ..."""
    std: float = 0.5
    """... before they are divided by this."""
    method: str = "random"
    """How its weights came about: random, imagenet, an SSL method, or file."""
