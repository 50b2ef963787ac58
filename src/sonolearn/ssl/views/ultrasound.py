"""Physics of ultrasound: a frame as another setting, machine or patient would have given it.

A screen shows the logarithm of the echoes' power, so most of what changes between two scans is a sum in decibels: each
effect below is a field in dB on the frame's own beams (`fan`), and all fields are added to the frame at once. Haze is
another signal, whose power is added to the echoes' own. Tupper & Gagné compare such views with ordinary ones
("Revisiting data augmentation for ultrasound images", 2025, arXiv 2501.13193, package usaugment); theirs change grey
values by factors, without the logarithm.
"""

from __future__ import annotations

import math
from functools import cached_property

import cv2
import numpy as np

from sonolearn.config import ViewsConfig
from sonolearn.ssl.views.fan import Box, Fan, Field, find_beams, interior, lit_part
from sonolearn.ssl.views.image import Image

STORED_RANGE = 60.0
"""Dynamic range in dB that grey values 0 to 255 of a stored frame are taken to show."""
GREY = 255 / STORED_RANGE
"""Grey values a dB."""
RAYLEIGH_DB = 10 / math.log(10) * math.pi / math.sqrt(6)
"""Standard deviation of fully developed speckle in dB: 5.57, as the power is exponentially distributed."""
TOE = 8.0
"""Black is no level: what lies this many dB above it or less changes the less the darker it is."""
_COARSE = 64
"""Side in px on which smooth fields are computed before they are enlarged to the frame."""


def scan_again(frame: Image, config: ViewsConfig, rng: np.random.Generator, beams: Beams | None = None) -> Image:
    """The frame as another setting, machine or patient would have given it.

    Args:
        frame: (H, W) uint8, 0 to 255, of `STORED_RANGE` dB, black outside the sector.
        config: probability and strength of each effect.
        rng: where the draws come from.
        beams: of this frame, if its other view needs them too.

    Returns:
        (H, W) uint8; the frame itself where nothing is drawn or nothing is seen. Outside the sector it stays black.
    """
    chances = (config.haze, config.attenuation, config.shadow, config.speckle, config.gain)
    if not any(chances):
        return frame
    hazy, attenuated, shadowed, speckled, regained = (rng.random() < chance for chance in chances)
    if not (hazy or attenuated or shadowed or speckled or regained):
        return frame
    beams = beams or Beams(frame)
    if not cv2.countNonZero(beams.lit):
        return frame
    depth, across = beams.grid
    level = frame.astype(np.float32)
    if hazy:
        level = add_power(frame, haze(depth, across, config.haze_level, rng), beams.inside)
    change = np.zeros_like(depth)
    if attenuated:
        change += attenuation(depth, config.attenuation_db, rng)
    if shadowed:
        change += shadow(depth, across, config.shadow_db, rng)
    changes = _enlarged(change, frame)
    if speckled:
        places = _enlarged(depth, frame), _enlarged(across, frame)
        changes += speckle(*places, beams.geometry.size, config.speckle_db, rng)
    gain, dynamic_range = draw_gain(config.gain_db, config.dynamic_range_db, rng) if regained else (0.0, STORED_RANGE)
    return compress(level, changes, gain, dynamic_range)


class Beams:
    """Where the beams of a frame (H, W) run: found when first asked for, and once for all views of the frame."""

    def __init__(self, frame: Image) -> None:
        """Those of `frame`, which is not changed."""
        self.frame = frame

    @cached_property
    def lit(self) -> Image:
        """(H, W) uint8, the part of the frame that is not black."""
        return lit_part(self.frame)

    @cached_property
    def geometry(self) -> Fan | Box:
        """Sector or rectangle; only of a frame that is not black everywhere."""
        return find_beams(self.lit)

    @cached_property
    def grid(self) -> tuple[Field, Field]:
        """Depth and place across the beams, 0 to 1, on a coarse grid (h, w)."""
        return self.geometry.coordinates(*_pixels(self.frame.shape[0], self.frame.shape[1]))

    @cached_property
    def inside(self) -> Field:
        """How far inside the sector each cell of the grid lies, 0 to 1."""
        lit = cv2.resize(self.lit, self.grid[0].shape[::-1], interpolation=cv2.INTER_AREA)
        return interior(self.geometry, lit, *self.grid)


def attenuation(depth: Field, span: tuple[float, float], rng: np.random.Generator) -> Field:
    """Change in dB with depth (0 at the probe, 1 at the far end): linear, none at the probe.

    Tissue takes about 0.5 dB a cm and MHz on each way, and time gain compensation gives back as much as the sonographer
    sets: another tissue, another frequency, or a wrong setting each leave a loss or gain in proportion to depth.
    Østvik et al. ("Myocardial function imaging in echocardiography using deep learning", IEEE TMI 2021) attenuate
    frames along the radius likewise.
    """
    return depth * np.float32(rng.uniform(*span))


def shadow(depth: Field, across: Field, span: tuple[float, float], rng: np.random.Generator) -> Field:
    """Loss in dB (negative) behind something that lets no sound through: a wedge of beams, from some depth on.

    Bone, gas and calcium shade all that lies behind them, a probe without contact all beams from its face on. Edges
    are soft, as a beam is wider than a line. Shadows as augmentation: Smistad et al., "Highlighting nerves and blood
    vessels for ultrasound-guided axillary nerve block procedures using neural networks" (J Med Imaging 2018); there
    they are Gaussian blobs.
    """
    loss, middle, half, start = rng.uniform(*span), rng.uniform(), rng.uniform(0.02, 0.12), rng.uniform(-0.2, 0.6)
    # The middle always takes the whole loss: an edge is no wider than the shadow.
    edge, onset = half * rng.uniform(0.6, 1.8), rng.uniform(0.05, 0.2)
    beside = _step((np.float32(half) - np.abs(across - np.float32(middle))) / np.float32(edge) + np.float32(0.5))
    behind = _step((depth - np.float32(start)) / np.float32(onset))
    return beside * behind * np.float32(-loss)


def speckle(
    depth: Field, across: Field, size: tuple[float, float], span: tuple[float, float], rng: np.random.Generator
) -> Field:
    """Speckle in dB of a mean near 0 and drawn standard deviation.

    It arises on the probe's own grid of depths and beams, which makes it wider across than along the beam, and the
    wider the deeper. Its full strength (`RAYLEIGH_DB`) is that of a single picture of many scatterers; averaging
    several pictures (compounding, persistence) leaves less.

    Args:
        depth: depth of each pixel, 0 to 1.
        across: place of each pixel across the beams, 0 to 1.
        size: length of a beam and width of the sector half-way down, in px.
        span: smallest and largest standard deviation in dB.
        rng: where the draws come from.
    """
    real, imaginary = scattered(cells(size, max(depth.shape)), rng)
    # A little less than the last sample: OpenCV is slower where a neighbour may be missing.
    rows, columns = depth * np.float32(real.shape[0] - 1.01), across * np.float32(real.shape[1] - 1.01)
    parts = [cv2.remap(part, columns, rows, cv2.INTER_LINEAR) for part in (real, imaginary)]
    power = np.full_like(depth, 1e-9)  # the logarithm needs more than 0
    for part in parts:
        cv2.accumulateSquare(part, power)
    nepers = cv2.log(power)
    scale = rng.uniform(*span) / RAYLEIGH_DB * 10 / math.log(10)
    # The mean logarithm of an exponentially distributed power of mean 1 is minus Euler's constant.
    return np.asarray(cv2.addWeighted(nepers, scale, nepers, 0, scale * float(np.euler_gamma)), np.float32)


def cells(size: tuple[float, float], side: int) -> tuple[int, int]:
    """Samples of the speckle's grid (depths, beams): a sample is 1.5 x 2.2 px at 256 px, and its share at any size."""
    px = max(1.0, side / 256)
    return max(2, round(size[0] / (1.5 * px))), max(2, round(size[1] / (2.2 * px)))


def scattered(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Field, Field]:
    """Real and imaginary part of the echo of many scatterers, (depths, beams) each: correlated noise, mean power 1.

    Many scatterers in each resolution cell add up to a complex Gaussian number, whose envelope follows the Rayleigh
    distribution (Burckhardt, "Speckle in ultrasound B-mode scans", IEEE Trans Sonics Ultrasonics 1978). The pulse makes
    a Gaussian of 1 sample of it.
    """
    kernel = cv2.getGaussianKernel(5, 1.0)
    # Blurred noise has the power of the kernel; it is applied twice, and half of the power goes to either part.
    kernel = kernel / np.linalg.norm(kernel) * 0.5**0.25
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    real, imaginary = (np.asarray(cv2.sepFilter2D(part, -1, kernel, kernel), np.float32) for part in noise)
    return real, imaginary


def haze(depth: Field, across: Field, span: tuple[float, float], rng: np.random.Generator) -> Field:
    """Level of reverberation clutter as a grey value, which may be far below 0 (nothing).

    Sound that runs to and fro between the probe and the layers of the body wall comes back late and lies as a haze
    over what is deeper, fading with every echo: in dB, linearly with depth. It is uneven, and more so along the beams
    than across them. Østvik et al. (IEEE TMI 2021, see `attenuation`) add haze as a band of noise at some depth.
    """
    top, end = rng.uniform(*span) * 255, rng.uniform(0.3, 0.8)
    noise = rng.standard_normal((40, 20), dtype=np.float32) * np.float32(3 * GREY)
    uneven = cv2.remap(noise, across * np.float32(19), depth * np.float32(39), cv2.INTER_CUBIC)
    return np.asarray(np.float32(top) * (1 - depth / np.float32(end)) + uneven, np.float32)


def add_power(frame: Image, grey: Field, share: Field) -> Image:
    """Grey values (H, W) float32 of the frame and a `share` (0 to 1) of the power of another signal.

    Signals that know nothing of each other add up in power: the stronger one is seen, and equal ones give 3 dB more.
    The other signal's `grey` values and `share` are given on a coarser grid.
    """
    nepers = math.log(10) / 10 / GREY
    power = cv2.LUT(frame, np.exp(np.arange(256) * nepers).astype(np.float32))
    both = cv2.add(power, _enlarged(np.exp(grey * np.float32(nepers)) * share, frame))
    return np.asarray(cv2.log(both), np.float32) * np.float32(1 / nepers)


def draw_gain(span: tuple[float, float], ranges: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    """Gain and dynamic range in dB, the two knobs that a sonographer turns most."""
    return rng.uniform(*span), rng.uniform(*ranges)


def compress(level: Field, change: Field, gain: float, dynamic_range: float) -> Image:
    """What the screen shows, (H, W) uint8: `level` in grey values of the stored range, with `change` and `gain` in dB.

    Log compression shows echoes from -`dynamic_range` dB (black) to 0 dB (white), and clips the others. Black stays
    black, as it may stand for any echo below the stored range, and for no echo outside the sector.
    """
    steeper = STORED_RANGE / dynamic_range
    offset = 255 * (1 - steeper) + steeper * GREY * gain
    moved = cv2.addWeighted(change, steeper * GREY, change, 0, offset)
    known = cv2.threshold(level, TOE * GREY, TOE * GREY, cv2.THRESH_TRUNC)[1]
    moved = cv2.multiply(moved, known, scale=1 / (TOE * GREY))
    return cv2.addWeighted(level, steeper, moved, 1, 0, dtype=cv2.CV_8U)


def _pixels(height: int, width: int) -> tuple[Field, Field]:
    """Columns and rows of the middles of a coarse grid's cells, in px of the frame."""
    rows, columns = min(height, _COARSE), min(width, _COARSE)
    y = (np.arange(rows, dtype=np.float32) + np.float32(0.5)) * np.float32(height / rows) - np.float32(0.5)
    x = (np.arange(columns, dtype=np.float32) + np.float32(0.5)) * np.float32(width / columns) - np.float32(0.5)
    return np.broadcast_to(x, (rows, columns)), np.broadcast_to(y[:, None], (rows, columns))


def _enlarged(coarse: Field, frame: Image) -> Field:
    if coarse.shape == frame.shape:
        return coarse.copy()
    return np.asarray(cv2.resize(coarse, frame.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _step(ramp: Field) -> Field:
    """A smooth step from 0 to 1 as `ramp` goes from 0 to 1."""
    part = np.clip(ramp, 0, 1)
    return part * part * (3 - 2 * part)
