"""Options of `predict`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sonolearn.checks import at_least_one, not_negative, require_each
from sonolearn.config.cleaning import CleaningConfig

Engine = Literal["auto", "onnx", "torch"]


@dataclass(frozen=True)
class PredictConfig:
    """Options of `sonolearn predict`: which planes new scans show, frame by frame."""

    classifier: Path | None = None
    """A run of `classify --save_classifiers true` (its largest fraction, seed 0), or one file of its classifiers."""
    frame_skip: int = 5
    """Take every n-th frame of a scan; stills are taken whole."""
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """What is taken away, and which frames are left out; best as in the store that the classifier learnt from."""
    batch: int | None = None
    """Frames that the network takes at once; None: 2 on CPUs, 64 on GPUs."""
    threads: int = 0
    """Processor cores to use; 0 takes all."""
    engine: Engine = "auto"
    """What computes the network: auto takes ONNX Runtime on CPUs where it is installed, else PyTorch."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` beside OUT or above it."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "frame_skip", "batch")
        require_each(self, not_negative, "give 0 or more", "threads")
