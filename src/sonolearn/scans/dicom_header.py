"""The header of a DICOM file: only what is used here is read, and errors in it are named without quoting it.

Headers break the standard in many ways that do no harm to the picture. So a value that cannot be read is as good as
none, and an element that is missing takes the value that all viewers take for it.
"""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from sonolearn.scans.scan import Region, Rejected, printable

# Only these are read: vendors keep hundreds of megabytes in private elements before the pixels.
_HEADER = [
    "SOPClassUID",
    "PatientID",
    "Manufacturer",
    "ManufacturerModelName",
    "SequenceOfUltrasoundRegions",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "PixelSpacing",
    "PixelAspectRatio",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
]
_CENTIMETRES = 3
_FLAT = 1  # RegionSpatialFormat of 2D pictures
_START = 4096  # bytes within which a file names its transfer syntax
_MOST_INFLATED = 150_000_000  # bytes
_BULKY = (b"OB", b"OW", b"UN")
Spacing = tuple[float, float]
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB")
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_RETIRED = ("HSV", "ARGB", "CMYK")
# Newer than pydicom's own dictionary (PS3.6 annex A).
_NEW_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}


@contextmanager
def data_set(path: Path) -> Iterator[BinaryIO]:
    """Open a file; one whose data set is deflated as a whole (PS3.5 A.5) is inflated into memory.

    Raises:
        Rejected: it is deflated, and damaged or larger than `_MOST_INFLATED` bytes.
    """
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() in file.read(_START):
            yield _inflated(path)
        else:
            file.seek(0)
            yield file


def _inflated(path: Path) -> BinaryIO:
    """The data set alone, without preamble and file meta information."""
    inflate, data = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    try:
        # Preamble, DICM and the element of the group's length take 144 bytes (PS3.10 7.1).
        start = 144 + int(read_file_meta_info(path).FileMetaInformationGroupLength)
        with path.open("rb") as file:
            file.seek(start)
            while data.tell() <= _MOST_INFLATED and (chunk := file.read(1 << 16)):
                data.write(inflate.decompress(chunk, _MOST_INFLATED + 1 - data.tell()))
    except Exception as error:
        raise Rejected("damaged", "the deflated data set is damaged") from error
    if data.tell() > _MOST_INFLATED:
        message = f"inflates to more than {_MOST_INFLATED // 1_000_000} MB: save it without deflation"
        raise Rejected("too_large", message)
    data.seek(0)
    return data


def read_header(file: BinaryIO) -> Dataset:
    """The elements that are used here, completed; the file then stands at the pixel element, if there is one.

    Raises:
        Rejected: the file is not DICOM, or its header ends midway.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that break the standard; they may quote the header
            header = dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(_HEADER))
            _mend(header)
    except Exception as error:  # pydicom raises many kinds on damaged headers
        raise Rejected("damaged", "the DICOM header is damaged or cut off") from error
    _complete(header)
    return header


def _mend(header: Dataset) -> None:
    """Leave out elements that are empty or cannot be read; numbers written as text become numbers."""
    for tag in list(header.keys()):
        try:
            element = header[tag]
            value = element.value
        except Exception:
            del header[tag]
            continue
        if element.VR == "SQ":
            for item in value:
                _mend(item)
        elif element.VR in ("DS", "IS"):
            header.add_new(tag, "FD", _numbers(value))
            value = [number for number in _numbers(value) if not math.isnan(number)]
        if value is None or (hasattr(value, "__len__") and len(value) == 0):
            del header[tag]


def _complete(header: Dataset) -> None:
    """Give elements of the picture (PS3.3 C.7.6.3) that are missing or meaningless the value that viewers take."""
    label = str(header.get("PhotometricInterpretation") or "").strip().upper()
    if label in _RETIRED:
        raise Rejected("unsupported", f"colours written as {label} are not supported")
    colour = label in _COLOURS or (number(header, "SamplesPerPixel") == 3 and label not in _GREYS)
    if label not in (_COLOURS if colour else _GREYS):
        label = "RGB" if colour else "MONOCHROME2"
    stored = int(number(header, "BitsStored") or 0)
    allocated = int(number(header, "BitsAllocated") or (16 if stored > 8 else 8))
    if allocated not in (1, 8, 16, 32):
        raise Rejected("unsupported", f"pixels of {allocated} bits are not supported")
    stored = stored if 0 < stored <= allocated else allocated
    high = int(number(header, "HighBit") or 0)
    header.Rows, header.Columns = (int(number(header, name) or 0) for name in ("Rows", "Columns"))
    header.PhotometricInterpretation, header.SamplesPerPixel = label, 3 if colour else 1
    header.BitsAllocated, header.BitsStored = allocated, stored
    header.HighBit = high if stored <= high < allocated else stored - 1
    header.PixelRepresentation = int(number(header, "PixelRepresentation") == 1)
    header.PlanarConfiguration = int(number(header, "PlanarConfiguration") == 1)


def numbers(header: Dataset, name: str) -> list[float]:
    """The values of an element; NaN for those that are empty or no numbers."""
    return _numbers(header.get(name))


def number(header: Dataset, name: str) -> float | None:
    """The first value of an element; None without one."""
    first = numbers(header, name)[:1]
    return first[0] if first and not math.isnan(first[0]) else None


def _numbers(value: Any) -> list[float]:
    many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [_number(v) for v in value] if many else [_number(value)]


def _number(value: Any) -> float:
    """One value as a number; pydicom leaves one that breaks the standard as it is written."""
    try:
        number = float(value.replace(",", ".").strip(" \0") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def promised_frames(header: Dataset) -> int | None:
    """How many frames the header says there are; None where it does not."""
    count = int(number(header, "NumberOfFrames") or 0)
    return count if count > 0 else None


def transfer_syntax(header: Dataset) -> UID:
    """How the pixels are written (PS3.5 chapter 10); where the header does not say, as the header itself is."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax:
        return UID(syntax)
    implicit, little = header.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def sop_class(header: Dataset) -> str:
    """The kind of document in words, for messages."""
    return name_of(header.get("SOPClassUID"))


def name_of(uid: object) -> str:
    """The name that the standard gives a UID (PS3.6 annex A); never the text of the file itself."""
    written = str(uid or "")
    name = _NEW_SYNTAXES.get(written) or UID(written).name
    return "of unknown type" if name == written else printable(name)


def timing(header: Dataset, count: int) -> tuple[float | None, NDArray[np.float64] | None]:
    """Frames a second, and the time of each frame in s (PS3.3 C.7.6.5); a still has no time."""
    if count == 1:
        return None, None
    steps = np.abs(numbers(header, "FrameTimeVector")[:count]) / 1000
    if len(steps) == count and not np.isnan(steps[1:]).all():
        steps[np.isnan(steps)] = np.nanmedian(steps[1:])
        steps[0] = 0
        mean = steps[1:].mean()
        return (float(1 / mean) if mean > 0 else None), steps.cumsum()
    for name in ("FrameTime", "CineRate", "RecommendedDisplayFrameRate"):
        value = number(header, name) or 0
        if value > 0:
            fps = 1000 / value if name == "FrameTime" else value
            return fps, np.arange(count) / fps
    return None, None


def regions_of(header: Dataset) -> list[tuple[Region, Spacing | None]]:
    """The ultrasound regions (PS3.3 C.8.5.5) with width and height in mm of their pixels, None where not in cm.

    The ends that DICOM includes become excluded.
    """
    return [(_region(item), _spacing(item)) for item in header.get("SequenceOfUltrasoundRegions") or ()]


def _region(item: Dataset) -> Region:
    def whole(name: str) -> int:
        return int(number(item, name) or 0)

    return Region(
        spatial_format=whole("RegionSpatialFormat"), data_type=whole("RegionDataType"),
        x0=whole("RegionLocationMinX0"), y0=whole("RegionLocationMinY0"),
        x1=whole("RegionLocationMaxX1") + 1, y1=whole("RegionLocationMaxY1") + 1,
    )  # fmt: skip


def _spacing(item: Dataset) -> Spacing | None:
    units = {number(item, f"PhysicalUnits{axis}Direction") for axis in "XY"}
    across, down = (abs(number(item, f"PhysicalDelta{axis}") or 0) * 10 for axis in "XY")
    return (across, down) if units == {_CENTIMETRES} and across > 0 and down > 0 else None


def pixel_spacing(header: Dataset) -> Spacing | None:
    """Width and height of a pixel in mm (PS3.3 10.7.1.3)."""
    down, across = (*numbers(header, "PixelSpacing"), math.nan, math.nan)[:2]
    return (across, down) if across > 0 and down > 0 else None


def aspect_of(header: Dataset) -> float | None:
    """Width of a pixel by its height: by the largest 2D region, else by spacing or aspect ratio (PS3.3 C.7.6.3.1.7)."""
    flat = [pair for pair in regions_of(header) if pair[0].spatial_format == _FLAT and pair[1] is not None]
    largest = max(flat, key=lambda pair: (pair[0].x1 - pair[0].x0) * (pair[0].y1 - pair[0].y0), default=None)
    spacing = largest[1] if largest else pixel_spacing(header)
    if spacing is not None:
        return spacing[0] / spacing[1]
    down, across = (*numbers(header, "PixelAspectRatio"), math.nan, math.nan)[:2]
    return across / down if across > 0 and down > 0 else None
