"""What the classifiers start from: its name, where it came from, and how a run folder describes it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from sonolearn.config import ClassifyConfig
from sonolearn.runs import hash_file
from sonolearn.ssl.encoders import (
    DEFAULT_ENCODER,
    DEFAULT_IMAGE_SIZE,
    Card,
    card_of,
    encoder_file,
    load_encoder,
)

NAMES = {
    "barlow_twins": "Barlow Twins", "vicreg": "VICReg", "simclr": "SimCLR", "moco": "MoCo", "byol": "BYOL",
    "autoencoder": "autoencoder", "inpainting": "inpainting autoencoder", "imagenet": "ImageNet", "random": "random",
}  # fmt: skip
"""How methods and initialisations are written for people."""


class Initialisation:
    """The `init` of a configuration, checked before any data are read.

    Attributes:
        config: the configuration as given.
        file: the encoder's file, None for random and imagenet.
        hashes: hash of the file's bytes under "init"; empty for random and imagenet.
    """

    def __init__(self, config: ClassifyConfig) -> None:
        """Find the file that `init` names.

        Raises:
            UserError: it does not exist or is no encoder.
        """
        self.config = config
        self.file = None if config.init in ("random", "imagenet") else encoder_file(config.init)
        self._card = card_of(self.file, config) if self.file else None
        self.hashes = {"init": hash_file(self.file)} if self.file else {}

    @property
    def settings(self) -> ClassifyConfig:
        """The configuration without the file's path: its hash names it better, and a run may move with its encoder."""
        return dataclasses.replace(self.config, init=self._short) if self.file else self.config

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        if self.config.name:
            return self.config.name
        if self._card and self._card.method not in ("random", "imagenet", "file"):
            return NAMES.get(self._card.method, self._card.method)
        return NAMES.get(self._short, self._short)

    @cached_property
    def _short(self) -> str:
        path = Path(self.config.init)
        return (path.resolve() if path.is_dir() else path).name if self.file else self.config.init

    @property
    def encoder(self) -> str:
        """Name in timm of the backbone."""
        return self._card.encoder if self._card else self.config.encoder or DEFAULT_ENCODER

    @property
    def image_size(self) -> int:
        """Side of the input in px: as asked, else what the encoder was pre-trained with, else 224."""
        return self.config.image_size or (self._card and self._card.image_size) or DEFAULT_IMAGE_SIZE

    @property
    def varies(self) -> bool:
        """Whether each seed has other weights, as random initialisation does."""
        return self.config.init == "random"

    def load(self, seed: int) -> tuple[nn.Module, Card]:
        """A fresh encoder and its card."""
        return load_encoder(self.config, seed, self.image_size)

    def describe(self) -> dict[str, Any]:
        """For the run folder: name, kind and hash, no path."""
        return {
            "name": self.name,
            "init": self._short,
            "method": self._card.method if self._card else self.config.init if not self.file else "file",
            "encoder": self.encoder,
            "image_size": self.image_size,
            "hash": self.hashes.get("init"),
        }
