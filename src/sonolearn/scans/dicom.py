"""DICOM stills and cines, through pydicom; compressed video inside DICOM through PyAV.

Frames are read one at a time, so that memory does not grow with a cine. Table look-ups (palettes, windows, MONOCHROME1)
are computed once a file, for all possible pixel values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space

from sonolearn.scans.dicom_header import (
    Spacing,
    aspect_of,
    data_set,
    number,
    pixel_spacing,
    read_header,
    regions_of,
    sop_class,
    timing,
)
from sonolearn.scans.dicom_pixels import PixelData, find_frames, open_stream
from sonolearn.scans.scan import Frame, Geometry, Pixels, Region, Rejected, Scan, printable
from sonolearn.scans.video import probe, read_video
from sonolearn.scans.video_pixels import full_range

_EXACT = ("LINEAR_EXACT", "SIGMOID")  # VOI LUT functions that are not of whole grey levels


@dataclass(frozen=True)
class Lookup:
    """A table of what each stored value looks like."""

    values: Pixels
    """(n,) grey or (n, 3) RGB, uint8: entry i shows the stored value `lowest` + i."""
    lowest: int = 0

    def __call__(self, pixels: NDArray[Any]) -> Pixels:
        """(H, W) stored values as (H, W) or (H, W, 3) uint8; values beyond the table take its ends."""
        if pixels.dtype == np.uint8 and len(self.values) == 256 and self.values.ndim == 1:
            return np.asarray(cv2.LUT(pixels, self.values), np.uint8)
        index = pixels if self.lowest == 0 else pixels.astype(np.int32) - self.lowest
        return np.take(self.values, index, axis=0, mode="clip")


def lookup(header: Dataset) -> Lookup | None:
    """The table of a DICOM file, or None where stored values are shown as they are.

    Args:
        header: with the image pixel, palette, modality and VOI elements.

    Raises:
        Rejected: more than 16 bits a value, or a palette that cannot be read.
    """
    photometric = str(header.get("PhotometricInterpretation") or "")
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 8)
    if int(header.get("SamplesPerPixel") or 1) > 1:
        return None
    if bits > 16:
        raise Rejected("unsupported", f"{bits} bits a pixel are not supported")
    lowest = -(1 << (bits - 1)) if header.get("PixelRepresentation") == 1 else 0
    stored = np.arange(lowest, lowest + (1 << bits)).astype(np.int32 if lowest else np.uint16)
    try:
        values = _palette(stored, header) if photometric == "PALETTE COLOR" else _grey(stored, header)
    except (AttributeError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise Rejected("unsupported", "its palette or grey-level table cannot be read") from error
    if photometric == "MONOCHROME1":
        values = 255 - values
    plain = len(values) == 256 and values.ndim == 1 and lowest == 0 and np.array_equal(values, np.arange(256))
    return None if plain else Lookup(values, lowest)


def _palette(stored: NDArray[Any], header: Dataset) -> Pixels:
    """RGB of each value, or grey where all of them are (PS3.3 C.7.9)."""
    colours = apply_color_lut(stored, header)
    # Tables of 16 bits hold 8-bit colours in their upper byte; some vendors put them into the lower one.
    rgb = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
    return rgb[:, 0] if (rgb == rgb[:, :1]).all() else rgb


def _grey(stored: NDArray[Any], header: Dataset) -> Pixels:
    """Grey of each value: modality table, then the first window or VOI table, else the whole range (PS3.3 C.11)."""
    values = np.asarray(apply_modality_lut(stored, header), np.float64)
    width, centre = number(header, "WindowWidth"), number(header, "WindowCenter")
    function = str(header.get("VOILUTFunction") or "").strip().upper()
    if width is not None and centre is not None and width >= (0 if function in _EXACT else 1):
        shown = _windowed(values, centre, width, function)
    else:
        if "VOILUTSequence" in header:
            values = np.asarray(apply_voi_lut(apply_modality_lut(stored, header), header), np.float64)
        shown = (values - values.min()) / max(values.max() - values.min(), 1)
    return np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)


def _windowed(values: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """Values of which 0 to 1 is shown (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function not in _EXACT:
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(np.float64)
    if function == "SIGMOID":
        return 0.5 + 0.5 * np.tanh(2 * (values - centre) / width)  # 1 / (1 + exp(-4 ...)), without overflow
    return (values - centre) / width + 0.5


_WITHIN = 3  # levels by which compression moves the channels of grey
_GREY, _COLOURED = 0.5, 0.1  # shares of the pixels that are grey in the right colour space at least, in a wrong at most


def open_dicom(path: Path) -> Scan:
    """Open a DICOM file.

    Raises:
        Rejected: it is damaged, holds no pictures, or holds them in a form that cannot be read.
    """
    with data_set(path) as file:
        header = read_header(file)
        if not header.Rows or not header.Columns:
            raise Rejected("no_pixels", f"holds no picture ({sop_class(header)})")
        pixels = find_frames(file, header)
        height, width, count, aspect = header.Rows, header.Columns, pixels.count, aspect_of(header)
        if pixels.is_video:
            video = probe(open_stream(file, pixels.items[0]))
            height, width, count, aspect = video.height, video.width, video.count, aspect or video.geometry.aspect
    geometry = Geometry(aspect or 1.0)
    fps, times = timing(header, count or 0)

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        with data_set(path) as file:
            if pixels.is_video:
                frames = read_video(open_stream(file, pixels.items[0]), takes, colour, geometry, pixels.count or 0)
            else:
                frames = _frames(file, header, pixels, takes, colour, geometry)
            for frame in frames:
                # The header's times go first; a video stream has its own.
                yield frame if times is None else replace(frame, time=float(times[min(frame.index, len(times) - 1)]))

    shown = geometry.size(height, width)
    return Scan(
        kind="dicom", height=shown[0], width=shown[1], read=read, count=count, fps=fps,
        mm_per_px=_side(pixel_spacing(header), geometry),
        machine=printable(f"{header.get('Manufacturer') or ''} {header.get('ManufacturerModelName') or ''}"),
        regions=tuple(_shown_region(region, spacing, geometry) for region, spacing in regions_of(header)),
        patient_id=str(header.get("PatientID") or "").strip() or None,
    )  # fmt: skip


def _side(spacing: Spacing | None, geometry: Geometry) -> float | None:
    """Side in mm of a pixel as it is shown; None where that is not square within 2 %, or unknown."""
    if spacing is None:
        return None
    across, down = (side / factor for side, factor in zip(spacing, reversed(geometry.stretch), strict=True))
    return across if abs(across - down) <= 0.02 * across else None


def _shown_region(region: Region, spacing: Spacing | None, geometry: Geometry) -> Region:
    down, across = geometry.stretch
    return replace(
        region, x0=round(region.x0 * across), x1=round(region.x1 * across), y0=round(region.y0 * down),
        y1=round(region.y1 * down), mm_per_px=_side(spacing, geometry),
    )  # fmt: skip


def _frames(
    file: Any, header: Dataset, pixels: PixelData, takes: Callable[[int], bool], colour: bool, geometry: Geometry
) -> Iterator[Frame]:
    """Frames that are compressed one by one, or not at all; never more than one in memory."""
    table = lookup(header)
    wrong: bool | None = None
    for index in filter(takes, range(pixels.count or 0)):
        stored, label = pixels.decode(file, index)
        if stored.ndim == 3:
            wrong = _is_mislabelled(stored, label) if wrong is None else wrong
            label = {"RGB": "YBR_FULL"}.get(label, "RGB") if wrong else label
        yield Frame(index, np.nan, *geometry.show(*_shown(stored, label, header.BitsStored, table, colour)))


def _is_mislabelled(stored: NDArray[Any], label: str) -> bool:
    """Whether (H, W, 3) values are of the other colour space than labelled: most of a picture is grey in its own."""
    first, second, third = (stored[::4, ::4, channel].astype(np.int32) for channel in range(3))

    def grey(middle: Any) -> float:
        return float(np.mean((abs(second - middle) <= _WITHIN) & (abs(third - middle) <= _WITHIN)))

    rgb, ybr = grey(first), grey(128)
    right, other = (rgb, ybr) if label == "RGB" else (ybr, rgb)
    return right < _COLOURED and other > _GREY


def _shown(
    stored: NDArray[Any], label: str, bits: int, table: Lookup | None, colour: bool
) -> tuple[Pixels, Pixels | None]:
    """Stored values as uint8: (H, W) grey or luma, or (H, W, 3) RGB; and the chroma of luma."""
    if table is not None:
        return table(stored), None
    pixels = (stored >> max(0, bits - 8)).astype(np.uint8) if stored.dtype != np.uint8 else stored
    if not label.startswith("YBR"):
        return pixels, None
    luma, chroma = pixels[..., 0], pixels[..., 1:]
    if label == "YBR_PARTIAL_422":
        luma = full_range(luma)
        pixels = np.dstack([luma, chroma])
    # The luma of YBR is the grey picture: no need to go through RGB.
    return (convert_color_space(pixels, "YBR_FULL", "RGB"), None) if colour else (luma, chroma)
