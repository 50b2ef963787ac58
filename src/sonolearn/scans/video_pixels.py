"""From a decoded video frame to 8-bit luma and chroma, or RGB: pixel formats, transparency, interlacing, turning."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import av
import cv2
import numpy as np

from sonolearn.scans.scan import Geometry, Pixels

# Formats whose planes are 8-bit luma and chroma: read as they lie, three times faster than a conversion.
_PLANAR = re.compile(r"yuvj?4\d\dp|gray")
_CHROMA = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411", (4, 4): "410", (1, 2): "440"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BLACK, _WHITE = 16, 235  # levels of luma in video (ITU-R BT.601)
_BLOCK = 17  # px: the side of the neighbourhood in which lines are compared
_COMBED = 1.15  # difference of neighbouring lines by that of every other one, from which on they are of two moments
_NOISE = 2  # grey levels of such differences that are none


def to_pixels(frame: av.VideoFrame, colour: bool) -> tuple[Pixels, Pixels | None]:
    """(H, W) luma in full range and (h, w, 2) chroma, or (H, W, 3) RGB; transparency lies on black.

    Args:
        frame: of any pixel format.
        colour: whether RGB is asked for; grey formats stay (H, W).
    """
    target = read_as(frame.format.name)
    if target == "rgba":
        return on_black(np.asarray(frame.to_ndarray(format="rgba"), np.uint8)), None
    if target == "rgb24" or (colour and target != "gray"):
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return (without_combs(pixels) if frame.interlaced_frame else pixels), None
    # FFmpeg turns deeper grey into the full range, and keeps the levels of all else.
    full = "j" in target or target == "gray" or frame.color_range == _FULL_RANGE
    if frame.format.name != target:
        frame = frame.reformat(format=target)
    luma = _plane(frame, 0)
    chroma = None if target == "gray" else np.asarray(cv2.merge([_plane(frame, 1), _plane(frame, 2)]), np.uint8)
    if frame.interlaced_frame:
        luma = without_combs(luma)
    return luma if full else full_range(luma), chroma


@cache
def read_as(name: str) -> str:
    """The pixel format of 8 bits that holds all of another one: luma and chroma in planes, grey, RGB or RGBA.

    >>> read_as("yuv422p10le"), read_as("nv12"), read_as("uyvy422"), read_as("gray16le"), read_as("pal8")
    ('yuv422p', 'yuv420p', 'yuv422p', 'gray', 'rgba')
    """
    if _PLANAR.fullmatch(name):
        return name
    form: Any = av.VideoFormat(name, 64, 64)
    if form.has_palette or any(component.is_alpha for component in form.components):
        return "rgba"
    if len(form.components) < 3:
        return "gray"
    halving = 64 // form.chroma_width(), 64 // form.chroma_height()
    return "rgb24" if form.is_rgb or name.startswith("xyz") else f"yuv{_CHROMA[halving]}p"


def on_black(rgba: Pixels) -> Pixels:
    """(H, W, 4) RGBA as (H, W, 3) RGB on black. Where all of a picture is transparent, no transparency was meant."""
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255 or (alpha.max() == 0 and rgb.min() < rgb.max()):
        return np.ascontiguousarray(rgb)
    return np.asarray(np.rint(rgb * (alpha / np.float32(255))), np.uint8)


def without_combs(pixels: Pixels) -> Pixels:
    """An interlaced frame (H, W[, 3]); where its two fields differ, the second one's lines are made of the first's.

    There neighbouring lines differ more than every other line does. What stands still keeps all of its lines.
    """
    grey = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 1])
    near = cv2.blur(cv2.absdiff(grey[1:-1], grey[:-2]), (_BLOCK, _BLOCK))
    every_other = cv2.blur(cv2.absdiff(grey[2:], grey[:-2]), (_BLOCK, _BLOCK))
    combed = near > _COMBED * every_other + _NOISE
    if not combed.any():
        return pixels
    between = cv2.addWeighted(pixels[:-2:2], 0.5, pixels[2::2], 0.5, 0)
    pixels = pixels.copy()
    lines = pixels[1:-1:2]
    lines[combed[::2]] = between[combed[::2]]
    return pixels


def full_range(luma: Pixels) -> Pixels:
    """(H, W) luma with black at 0 and white at 255, from video levels; what is beyond them is cut off."""
    above_black = cv2.subtract(luma, _BLACK)  # type: ignore[call-overload]
    # Two steps of arithmetic take half the time of a table of 256 levels, and give the same ones.
    return np.asarray(cv2.convertScaleAbs(above_black, alpha=255 / (_WHITE - _BLACK)), np.uint8)


def _plane(frame: av.VideoFrame, number: int) -> Pixels:
    """One plane (h, w) of a planar frame; a view."""
    plane: Any = frame.planes[number]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def geometry_of(frame: av.VideoFrame, aspect: float) -> Geometry:
    """How a frame is shown, by the display matrix that comes with it (ISO/IEC 14496-12 8.5.2).

    Args:
        frame: with its side data.
        aspect: width of a pixel by its height.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Geometry(aspect)
    # Where the unit vectors to the right and down go, rows pointing down.
    (a, b, _), (c, d, _), _ = np.frombuffer(matrix, np.int32).reshape(3, 3).tolist()
    mirrored = a * d - b * c < 0
    clockwise = math.atan2(*((-b, -a) if mirrored else (b, a)))
    return Geometry(aspect, mirrored, -round(clockwise / (math.pi / 2)) % 4)
