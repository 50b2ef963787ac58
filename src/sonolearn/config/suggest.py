"""Options of `suggest` and `embed`: what the features of an encoder are good for before there are labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sonolearn.checks import at_least_one, not_negative, require, require_each
from sonolearn.config.encoder import EncoderConfig, Precision

SuggestMethod = Literal["typiclust", "k_medoids"]


@dataclass(frozen=True)
class EmbedConfig(EncoderConfig):
    """Options of `sonolearn embed`: the features of every frame, for other programs."""

    init: str = "imagenet"
    """What computes the features: best the folder of a pre-training run on such frames; else imagenet, random, or a
    file of weights."""
    image_size: int | None = None
    """Side of the input in px; None: what the encoder was pre-trained with, else 224."""
    precision: Precision = "auto"
    """auto takes bf16-mixed where the GPU computes it natively, else 32-true."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device."""

    def __post_init__(self) -> None:
        require(
            self.image_size is None or self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px"
        )


@dataclass(frozen=True)
class SuggestConfig(EmbedConfig):
    """Options of `sonolearn suggest`: the frames to label first."""

    count: int = 20
    """How many frames to suggest."""
    method: SuggestMethod = "typiclust"
    """typiclust: clusters of k-means, the most typical frame of each; k_medoids: the medoid of each."""
    candidates: int = 20_000
    """Frames that are compared at most; of more, every scan gives its share, evenly spaced in time."""
    seed: int = 0
    """Where the clusters start from; another seed suggests other frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_each(self, at_least_one, "give at least 1", "count", "candidates")
        require_each(self, not_negative, "give 0 or more", "seed")
