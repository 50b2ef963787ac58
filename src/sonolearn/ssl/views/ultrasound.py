"""Ultrasound physics."""

from __future__ import annotations

import numpy as np

from sonolearn.config import ViewsConfig
from sonolearn.ssl.views.image import Image


def scan_again(frame: Image, config: ViewsConfig, rng: np.random.Generator) -> Image:
    """Placeholder until the physics is here."""
    return frame
