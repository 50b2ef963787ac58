"""Physics of ultrasound: a frame as another setting, machine or patient would have given it.

A screen shows the logarithm of the echoes' power, so most of what changes between two scans is a sum in decibels: each
effect below is a field in dB on the frame's own beams (`fan`), and all fields are added to the frame at once. Haze is
another signal, whose power is added to the echoes' own. Tupper & Gagné compare such views with ordinary ones
("Revisiting data augmentation for ultrasound images", 2025, arXiv 2501.13193, package usaugment); theirs change grey
values by factors, without the logarithm.
"""

from __future__ import annotations

import math
from functools import cache, cached_property

import cv2
import numpy as np

from sonolearn.config import ViewsConfig
from sonolearn.ssl.views.fan import Box, Fan, Field, find_beams, interior
from sonolearn.ssl.views.plain import Image, Window

STORED_RANGE = 60.0
"""Dynamic range in dB that grey values 0 to 255 of a stored frame are taken to show."""
GREY = 255 / STORED_RANGE
"""Grey values a dB."""
RAYLEIGH_DB = 10 / math.log(10) * math.pi / math.sqrt(6)
"""Standard deviation of fully developed speckle in dB: 5.57, as the power is exponentially distributed."""
TOE = 8.0
"""Black is no level: what lies this many dB above it or less changes the less the darker it is."""
_COARSE = 64
"""Side in px on which smooth fields are computed before they are enlarged to the view."""
_PITCH = 1.5, 2.2
"""A sample of the probe's grid along and across the beam, in px of a frame of 256 px; its share at any larger size."""
_FINER = 2
"""Px of the speckle's texture to a sample, each way: enough to look patterns up without interpolation."""
_TEXTURE = 185.0, 30.0
"""Mean and standard deviation of that texture: 6 deviations below and 2 above, which speckle hardly ever exceeds."""


def scan_again(beams: Beams, window: Window, config: ViewsConfig, rng: np.random.Generator) -> Image:
    """A view of a frame as another setting, machine or patient would have given it.

    Args:
        beams: of the frame, whose grey values 0 to 255 show `STORED_RANGE` dB, and which is black outside the sector.
        window: the part of the frame that the view shows.
        config: probability and strength of each effect.
        rng: where the draws come from.

    Returns:
        (S, S) uint8; just what the window shows where nothing is drawn or nothing is seen. Outside the sector it stays
        black.
    """
    chances = (config.haze, config.attenuation, config.shadow, config.speckle, config.gain)
    if not any(chances):
        return window.view(beams.frame)
    hazy, attenuated, shadowed, speckled, regained = (rng.random() < chance for chance in chances)
    if not (hazy or attenuated or shadowed or speckled or regained) or not beams.geometry:
        return window.view(beams.frame)
    grid = min(window.size, _COARSE)
    depth, across = beams.geometry.coordinates(*window.places(grid))
    level = window.view(beams.level)
    if hazy:
        share = interior(beams.geometry, window, grid)
        level = add_power(level, haze(depth, across, config.haze_level, rng), share)
    gain, dynamic_range = draw_gain(config.gain_db, config.dynamic_range_db, rng) if regained else (0.0, STORED_RANGE)
    change = np.full(depth.shape, gain, np.float32)
    if attenuated:
        change += attenuation(depth, config.attenuation_db, rng)
    if shadowed:
        change += shadow(depth, across, config.shadow_db, rng)
    changes = _enlarged(change, window.size)
    if speckled:
        changes = add_speckle(changes, depth, across, beams.geometry.size, window, config.speckle_db, rng)
    return compress(level, changes, dynamic_range)


class Beams:
    """Where the beams of a frame (H, W) run: found when first asked for, and once for all views of the frame."""

    def __init__(self, frame: Image) -> None:
        """Those of `frame`, which is not changed."""
        self.frame = frame

    @cached_property
    def geometry(self) -> Fan | Box | None:
        """Sector or rectangle; None of a frame that is black everywhere."""
        return find_beams(self.frame)

    @cached_property
    def level(self) -> Field:
        """The frame as float32, which is interpolated faster than uint8 is."""
        return self.frame.astype(np.float32)


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


def add_speckle(
    change: Field, depth: Field, across: Field, extent: tuple[float, float], window: Window,
    span: tuple[float, float], rng: np.random.Generator,
) -> Field:  # fmt: skip
    """`change` (S, S) in dB, and speckle in dB of mean 0 and drawn standard deviation.

    It arises on the probe's own grid of depths and beams, which makes it wider across than along the beam, and the
    wider the deeper. Its full strength (`RAYLEIGH_DB`) is that of a single picture of many scatterers; averaging
    several pictures (compounding, persistence) leaves less, and so does a view of fewer px than its part of the frame.
    The pattern is a random part of one large texture.

    Args:
        change: what speckle is added to.
        depth: depth on a grid over the view, 0 to 1.
        across: place across the beams on that grid, 0 to 1.
        extent: length of a beam and width of the sector half-way down, in px of the frame.
        window: the part of the frame that the view shows.
        span: smallest and largest standard deviation in dB, at the frame's own size.
        rng: where the draws come from.
    """
    px = max(1.0, max(window.shape) / 256)
    halvings = min(5, max(0, window.halvings - round(math.log2(px))))
    tile, size = texture(halvings), window.size
    counts = (
        max(2, _FINER * length / (pitch * px) / 2**halvings) for length, pitch in zip(extent, _PITCH, strict=True)
    )
    height, width = (min(round(count), side - 1) for count, side in zip(counts, tile.shape, strict=True))
    top, left = int(rng.random() * (tile.shape[0] - height)), int(rng.random() * (tile.shape[1] - width))
    rows, columns = _enlarged(depth * np.float32(height), size), _enlarged(across * np.float32(width), size)
    pattern = cv2.remap(tile[top : top + height + 1, left : left + width + 1], columns, rows, cv2.INTER_NEAREST)
    scale = rng.uniform(*span) / _TEXTURE[1]
    added = cv2.addWeighted(pattern, scale, change, 1, -scale * _TEXTURE[0], dtype=cv2.CV_32F)
    return np.asarray(added, np.float32)


@cache
def texture(halvings: int = 0) -> Image:
    """Uint8 speckle whose levels in dB have mean and deviation `_TEXTURE`; shrunk by area to half its size, and again.

    At full size, `_FINER` px are a sample of the probe's grid, each way.
    """
    if halvings:
        return cv2.resize(texture(halvings - 1), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    real, imaginary = scattered((1024, 640), np.random.default_rng(0), _FINER)
    level = np.log(np.square(real) + np.square(imaginary))
    mean, deviation = _TEXTURE
    return np.asarray(np.clip(mean + deviation * (level - level.mean()) / level.std(), 0, 255).round(), np.uint8)


def scattered(shape: tuple[int, int], rng: np.random.Generator, finer: int = 1) -> tuple[Field, Field]:
    """Real and imaginary part of the echo of many scatterers, (depths, beams) each: correlated noise, mean power 1.

    Many scatterers in each resolution cell add up to a complex Gaussian number, whose envelope follows the Rayleigh
    distribution (Burckhardt, "Speckle in ultrasound B-mode scans", IEEE Trans Sonics Ultrasonics 1978). The pulse makes
    a Gaussian of 1 sample of it, which is `finer` px.
    """
    kernel = cv2.getGaussianKernel(4 * finer + 1, finer)
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
    uneven = cv2.remap(noise, across * np.float32(19), depth * np.float32(39), cv2.INTER_LINEAR)
    return np.asarray(np.float32(top) * (1 - depth / np.float32(end)) + uneven, np.float32)


def add_power(level: Field, grey: Field, share: Field) -> Field:
    """Grey values (S, S) of two signals whose powers add up, `level` and a `share` (0 to 1) of another.

    Signals that know nothing of each other add up in power: the stronger one is seen, and equal ones give 3 dB more.
    The other signal's `grey` values and `share` are given on a coarser grid.
    """
    nepers = np.float32(math.log(10) / 10 / GREY)
    power = cv2.exp(level * nepers)
    cv2.add(power, _enlarged(np.exp(grey * nepers) * share, len(level)), power)
    return np.multiply(cv2.log(power, power), 1 / nepers, out=power)


def draw_gain(span: tuple[float, float], ranges: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    """Gain and dynamic range in dB, the two knobs that a sonographer turns most."""
    return rng.uniform(*span), rng.uniform(*ranges)


def compress(level: Field, change: Field, dynamic_range: float) -> Image:
    """What the screen shows, (S, S) uint8: `level` in grey values of the stored range, with `change` in dB.

    Log compression shows echoes from -`dynamic_range` dB (black) to 0 dB (white), and clips the others. Black stays
    black, as it may stand for any echo below the stored range, and for no echo outside the sector.
    """
    steeper, known = STORED_RANGE / dynamic_range, TOE * GREY
    moved = cv2.addWeighted(change, steeper / TOE, change, 0, 255 * (1 - steeper) / known)
    moved = cv2.multiply(moved, cv2.threshold(level, known, known, cv2.THRESH_TRUNC)[1], moved)
    return cv2.addWeighted(level, steeper, moved, 1, 0, dtype=cv2.CV_8U)


def _enlarged(coarse: Field, size: int) -> Field:
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _step(ramp: Field) -> Field:
    """A smooth step from 0 to 1 as `ramp` goes from 0 to 1."""
    part = np.clip(ramp, 0, 1)
    return part * part * (3 - 2 * part)
