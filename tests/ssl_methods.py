"""All SSL methods at a size for tests, and embeddings to put into their losses."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sonolearn.config import Method as MethodName
from sonolearn.config import PretrainConfig
from sonolearn.recipes import recipe
from sonolearn.ssl.encoders import Card, build, normalise
from sonolearn.ssl.methods import METHODS, Method

NAMES: tuple[MethodName, ...] = get_args(MethodName)
HEADS: dict[str, dict[str, Any]] = {
    "simclr": {"projector": (32, 16)},
    "moco": {"projector": (32, 16), "queue": 40},
    "byol": {"projector": (32, 16), "predictor": (32, 16)},
    "barlow_twins": {"projector": (32, 32)},
    "vicreg": {"projector": (32, 32)},
}

# Odd batches and feature counts, batches below, around and above the number of features, and the smallest.
SHAPES = [(2, 3), (2, 64), (3, 7), (17, 33), (31, 64), (33, 64), (64, 16), (7, 129)]


def small(name: MethodName, **changes: Any) -> PretrainConfig:
    """A method's own recipe with a small encoder, small heads and a few small views."""
    head = {name: HEADS[name]} if name in HEADS else {}
    options = {"encoder": "test_resnet", "image_size": 32, "batch_size": 16, "workers": 0, "log_every": 1}
    return recipe(name, None, **{**options, **head, **changes})


def make(config: PretrainConfig, seed: int = 0) -> Method:
    """The method on a random encoder."""
    encoder = build(Card(config.encoder or "test_resnet", config.encoder_args), seed)
    torch.manual_seed(seed)
    return METHODS[config.method](encoder, config)


def embeddings(count: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two views' embeddings, (count, features) each, related to each other."""
    generator = torch.Generator().manual_seed(seed)
    z1 = torch.randn(count, features, generator=generator) * 3 + 1
    return z1, 0.5 * z1 + torch.randn(count, features, generator=generator)


def frames(count: int = 8, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normalised first and second views: blocks of random grey, each view with noise of its own."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (count, 4, 4)).repeat(size // 4, 1).repeat(size // 4, 2)
    views = (np.clip(blocks + rng.normal(0, 10, blocks.shape), 0, 255).astype(np.uint8) for _ in range(2))
    first, second = (normalise(torch.from_numpy(v), 0.5, 0.25) for v in views)
    return first, second


def without_batch_norm(module: nn.Module) -> nn.Module:
    """The module with its batch norms taken out: on CPUs torch cannot synchronise them between processes."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, nn.ReLU() if hasattr(child, "act") else nn.Identity())
        else:
            without_batch_norm(child)
    return module
