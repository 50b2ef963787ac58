"""From stored DICOM values to what a screen shows, 0 to 255: palettes, windows, inverted and 16-bit grey.

The table is computed once a file for every value that its bits can hold, and then costs one look-up a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from sonolearn.data.scans.dicom_header import number
from sonolearn.data.scans.scan import Pixels, Rejected

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
