"""Which encoder: shared by pre-training and classification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder, and what it starts from."""

    encoder: str | None = None
    """Name of any timm backbone, such as resnet50; None: the one that `init` was trained with, else resnet50."""
    init: str = "random"
    """random, imagenet (timm's weights, or those in the folder $SONOLEARN_WEIGHTS), a file of weights (safetensors or a
    PyTorch checkpoint), or the folder of a pre-training run."""
    encoder_args: dict[str, Any] = field(default_factory=dict)
    """More arguments for the timm model, such as {channels: [16, 32, 64, 128]} for a narrow ResNet."""
    small_stem: bool = False
    """Leave out the max-pool of the stem (for small images)."""
