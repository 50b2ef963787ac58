"""DICOM stills and cines, through pydicom; compressed video inside DICOM through PyAV.

Frames are read one at a time, so that memory does not grow with a cine. Table look-ups (palettes, windows, MONOCHROME1)
are computed once a file, for all possible pixel values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import convert_color_space

from sonolearn.data.scans.dicom_header import (
    Spacing,
    aspect_of,
    data_set,
    pixel_spacing,
    read_header,
    regions_of,
    sop_class,
    timing,
)
from sonolearn.data.scans.dicom_pixels import PixelData, find_frames, open_stream
from sonolearn.data.scans.geometry import Geometry
from sonolearn.data.scans.lookup import Lookup, lookup
from sonolearn.data.scans.scan import Frame, Pixels, Region, Rejected, Scan, printable
from sonolearn.data.scans.video import probe, read_video
from sonolearn.data.scans.video_pixels import full_range

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
