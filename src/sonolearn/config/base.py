"""Which encoder: shared by pre-training and classification; and what `doctor` looks at."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sonolearn.console import UserError


def require(condition: bool, sentence: str) -> None:
    """Refuse a setting with one sentence unless `condition` holds."""
    if not condition:
        raise UserError(sentence)


def require_each(config: object, accepted: Callable[[Any], bool], remedy: str, *options: str) -> None:
    """Refuse the first of several options that is set and not `accepted`; names as on the command line, dotted."""
    for option in options:
        value = getattr(config, option.rsplit(".", 1)[-1])
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        require(value is None or accepted(value), f"--{option} {shown}: {remedy}")


def positive(value: float) -> bool:
    """More than 0, and finite."""
    return 0 < value < math.inf


def not_negative(value: float) -> bool:
    """0 or more, and finite."""
    return 0 <= value < math.inf


def at_least_one(value: float) -> bool:
    """1 or more, and finite."""
    return 1 <= value < math.inf


def share(value: float | tuple[float, ...]) -> bool:
    """0 to 1, each of them where there are several."""
    return all(0 <= part <= 1 for part in (value if isinstance(value, tuple) else (value,)))


def require_pattern(pattern: str | None) -> None:
    """Refuse what is not a valid regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(
            f"--patient_pattern {pattern}: is not a valid regular expression ({error}); correct it"
        ) from error


Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class DoctorConfig:
    """Options of `sonolearn doctor`: what is looked at."""

    folder: Path = Path()
    """Where stores and runs are to be written."""
    encoder: str = "resnet50"
    """The encoder whose ImageNet weights are looked for."""


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
