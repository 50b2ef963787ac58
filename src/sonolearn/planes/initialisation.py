"""What the classifiers start from: its name, where it came from, and how a run folder describes it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from sonolearn.checksums import intact
from sonolearn.config import ClassifyConfig
from sonolearn.console import warn
from sonolearn.runs import hash_file, write_json
from sonolearn.ssl.encoders import DEFAULT_ENCODER, DEFAULT_IMAGE_SIZE, Card, card_of, encoder_file, load_encoder
from sonolearn.store.store import Store

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
            UserError: it does not exist or is not an encoder.
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


OVERLAP_FILE = "overlap.json"
PATIENTS_FILE = "patients.csv"
UNKNOWN = "overlap of patients cannot be checked"


def check_overlap(store: Store, labels: pd.DataFrame, initialisation: Initialisation, out: Path) -> None:
    """Compare the patients of the pre-training with those of validation and test; warn, and write overlap.json."""
    found = find_overlap(store, labels, initialisation)
    write_json(out / OVERLAP_FILE, found)
    if found["sentence"]:
        warn(str(found["sentence"]))


def find_overlap(store: Store, labels: pd.DataFrame, initialisation: Initialisation) -> dict[str, Any]:
    """What is known about shared patients.

    Returns:
        state: "none" (checked, or no pre-training), "overlap" or "unknown"; patients: pseudonyms shared with valid and
        test; sentence: what to tell a person, empty if all is well.
    """
    if initialisation.file is None:
        return _found("none", {}, "")
    file = initialisation.file.parent / PATIENTS_FILE
    if not file.is_file():
        return _found("unknown", {}, f"{UNKNOWN}: no {PATIENTS_FILE} lies beside the encoder {initialisation.name}")
    seen = pd.read_csv(intact(file), dtype=str, keep_default_na=False)
    comparable = set(seen.loc[seen["key_id"] == store.key_id, "patient"])
    shared = {
        part: sorted(comparable & set(labels.loc[labels["split"] == part, "patient"])) for part in ("valid", "test")
    }
    names = sorted({*shared["valid"], *shared["test"]})
    if names:
        sentence = (
            f"{len(names)} patient{'s' if len(names) > 1 else ''} of the validation and test parts took part in the "
            f"pre-training of {initialisation.name} "
            f"({len(shared['valid'])} valid, {len(shared['test'])} test: {', '.join(names)}); do not trust its results"
        )
        return _found("overlap", shared, sentence)
    if (seen["key_id"] != store.key_id).any():
        sentence = (
            f"{UNKNOWN}: the pre-training of {initialisation.name} used pseudonyms of another key; "
            "prepare both stores with the same --key"
        )
        return _found("unknown", {}, sentence)
    return _found("none", {}, "")


def _found(state: str, patients: dict[str, list[str]], sentence: str) -> dict[str, Any]:
    return {"state": state, "patients": patients, "sentence": sentence}
