"""Views: augmented copies of a frame, on one uint8 channel with OpenCV.

One uint8 channel and OpenCV were measured more than 12 times faster than the usual PIL pipeline on three
(`benchmarks/views.py`). Which changes are drawn, and how strong, says `ViewsConfig`; its presets stand in
`sonolearn.recipes`.
"""

from __future__ import annotations

import cv2
import numpy as np

from sonolearn.config import ViewsConfig
from sonolearn.ssl.views.plain import Image, blur, draw_window, erase, jitter, solarize
from sonolearn.ssl.views.randaugment import randaugment
from sonolearn.ssl.views.ultrasound import Beams, scan_again

__all__ = ["Beams", "Image", "erase", "make_view"]


def make_view(
    frame: Image, size: int, config: ViewsConfig, which: int, rng: np.random.Generator, beams: Beams | None = None
) -> Image:
    """One augmented view.

    Args:
        frame: (H, W) uint8, 0 to 255.
        size: side of the view in px.
        config: probabilities and strengths.
        which: 0 for the first, 1 for the second view of a pair, whose blur and solarisation differ.
        rng: where the draws come from.
        beams: of this frame, if its other view needs them too.

    Returns:
        (size, size) uint8, 0 to 255.
    """
    window = draw_window(frame.shape, size, config.crop_scale, config.crop_ratio, config.rotation, rng)
    view = scan_again(beams or Beams(frame), window, config, rng)
    if rng.random() < config.flip:
        view = cv2.flip(view, 1)
    if config.flip_vertical and rng.random() < config.flip_vertical:
        view = cv2.flip(view, 0)
    if config.randaugment[0]:
        view = randaugment(view, *config.randaugment, rng)
    if rng.random() < config.jitter:
        view = jitter(view, config.brightness, config.contrast, rng)
    if rng.random() < config.blur[which]:
        view = blur(view, rng.uniform(*config.blur_sigma))
    if rng.random() < config.solarize[which]:
        view = solarize(view)
    return view
