"""RandAugment."""

from __future__ import annotations

import numpy as np

from sonolearn.ssl.views.image import Image


def randaugment(view: Image, operations: int, magnitude: int, rng: np.random.Generator) -> Image:
    """Placeholder until the operations are here."""
    raise NotImplementedError
