"""The header of a DICOM file: only what is used here is read, and errors in it are named without quoting it."""

from __future__ import annotations

import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import UID

from sonolearn.data.scans.scan import Region, Rejected, printable

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
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
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


def read_header(file: Any) -> Dataset:
    """The elements we use; the file then stands at the pixel element."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that break the standard; they may quote the header
            header = dcmread(file, stop_before_pixels=True, specific_tags=list(_HEADER))
            for element in header.iterall():
                _ = element.value
    except InvalidDicomError as error:
        raise Rejected("not_dicom", "is no DICOM file") from error
    except Exception as error:  # pydicom raises many kinds on damaged headers
        raise Rejected("damaged", "the DICOM header is damaged or cut off") from error
    return header


def transfer_syntax(header: Dataset) -> UID:
    """How the pixels are written (PS3.5 chapter 10).

    Raises:
        Rejected: the header does not say.
    """
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise Rejected("damaged", "the DICOM header names no transfer syntax")
    return UID(syntax)


def sop_class(header: Dataset) -> str:
    """The kind of document in words, for messages."""
    return name_of(header.get("SOPClassUID"))


def name_of(uid: object) -> str:
    """The name that the standard gives a UID (PS3.6 annex A); never the text of the file itself."""
    name = UID(str(uid or "")).name
    return "of unknown type" if name == str(uid or "") else printable(name)


def timing(header: Dataset, count: int) -> tuple[float | None, NDArray[np.float64] | None]:
    """Frames a second, and the time of each frame in s (PS3.3 C.7.6.5); a still has no time."""
    if count == 1:
        return None, None
    vector = header.get("FrameTimeVector")
    if isinstance(vector, MultiValue) and len(vector) >= count:
        steps = np.array([float(v) for v in vector[:count]]) / 1000
        steps[0] = 0
        mean = steps[1:].mean()
        return (float(1 / mean) if mean > 0 else None), steps.cumsum()
    for name in ("FrameTime", "CineRate", "RecommendedDisplayFrameRate"):
        value = float(header.get(name) or 0)
        if value > 0:
            fps = 1000 / value if name == "FrameTime" else value
            return fps, np.arange(count) / fps
    return None, None


def region_of(item: Dataset) -> Region:
    """An item of the sequence of ultrasound regions; the ends that DICOM includes become excluded."""
    units = (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection"))
    deltas = [abs(float(item.get(f"PhysicalDelta{axis}") or 0)) * 10 for axis in "XY"]
    return Region(
        spatial_format=int(item.get("RegionSpatialFormat") or 0),
        data_type=int(item.get("RegionDataType") or 0),
        x0=int(item.get("RegionLocationMinX0") or 0), y0=int(item.get("RegionLocationMinY0") or 0),
        x1=int(item.get("RegionLocationMaxX1") or 0) + 1, y1=int(item.get("RegionLocationMaxY1") or 0) + 1,
        mm_per_px=square(*deltas) if units == (_CENTIMETRES, _CENTIMETRES) else None,
    )  # fmt: skip


def square(height: float, width: float) -> float | None:
    """The side of a pixel if it is square within 2 %."""
    return height if height > 0 and abs(height - width) <= 0.02 * height else None


def to_pixels(file: Any) -> tuple[int, str]:
    """Move to the first byte of the pixel data; give its length (-1: encapsulated) and VR."""
    header = read_header(file)
    syntax = transfer_syntax(header)
    order = "<" if syntax.is_little_endian else ">"
    tag = file.read(4)
    if tag != struct.pack(order + "HH", 0x7FE0, 0x0010):
        raise Rejected("no_pixels", f"holds no picture ({sop_class(header)})")
    vr = "OW"
    if not syntax.is_implicit_VR:
        vr = file.read(4)[:2].decode("ascii", "replace")
    data = file.read(4)
    if len(data) < 4:
        raise Rejected("truncated", "ends before its first frame")
    return struct.unpack(order + "i", data)[0], vr
