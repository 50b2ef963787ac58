"""Changes of grey values that are not special to ultrasound: jitter, blur, solarisation, erasing."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sonolearn.ssl.views.image import Image

_GREY = np.arange(256, dtype=np.float32)
_SOLARIZED = np.where(np.arange(256) < 128, np.arange(256), 255 - np.arange(256)).astype(np.uint8)


def jitter(view: Image, brightness: float, contrast: float, rng: np.random.Generator) -> Image:
    """Brightness and contrast jitter in random order, as torchvision's ColorJitter, through one table of 256 values."""
    b, c = rng.uniform(1 - brightness, 1 + brightness), rng.uniform(1 - contrast, 1 + contrast)
    if rng.random() < 0.5:
        table = np.clip(_GREY * b, 0, 255)
        histogram = cv2.calcHist([view], [0], None, [256], [0, 256]).ravel()
        mean = float(histogram @ table) / view.size
        table = np.clip(c * table + (1 - c) * mean, 0, 255)
    else:
        mean = cv2.mean(view)[0]
        table = np.clip(np.clip(c * _GREY + (1 - c) * mean, 0, 255) * b, 0, 255)
    return cv2.LUT(view, table.astype(np.uint8))


def blur(view: Image, sigma: float) -> Image:
    """Gaussian blur up to 3 sigma, in px; OpenCV's own is three times slower, as it rounds alike on every machine."""
    kernel = cv2.getGaussianKernel(2 * round(3 * sigma) + 1, sigma)
    return cv2.sepFilter2D(view, -1, kernel, kernel)


def solarize(view: Image) -> Image:
    """Grey values from 128 up inverted."""
    return cv2.LUT(view, _SOLARIZED)


def erase(view: Image, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator) -> Image:
    """A copy with noise in a random rectangle (random erasing, Zhong et al., AAAI 2020).

    The noise is normal with the view's own mean and deviation, which is what torchvision's `value="random"` comes to
    on normalised images.

    Args:
        view: (H, W) uint8.
        scale: smallest and largest share of the area, in 0 to 1.
        ratio: smallest and largest aspect ratio (height to width), log-uniform.
        rng: where the draws come from.

    Returns:
        (H, W) uint8; unchanged where ten draws gave no rectangle that fits.
    """
    height, width = view.shape
    erased = view.copy()
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < h < height and 0 < w < width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            mean, deviation = cv2.meanStdDev(view)
            noise = rng.normal(mean.item(), deviation.item(), (h, w))
            erased[top : top + h, left : left + w] = np.clip(noise.round(), 0, 255)
            break
    return erased
