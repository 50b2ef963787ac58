"""DICOM stills and cines, through pydicom; compressed video inside DICOM through PyAV.

Frames are read one at a time, so that memory does not grow with a cine. Table look-ups (palettes, windows, MONOCHROME1)
are computed once a file, for all possible pixel values.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import as_pixel_options, get_expected_length
from pydicom.uid import MPEG2MPML, UID, MPEGTransferSyntaxes

from sonolearn.data.scans.dicom_header import (
    name_of,
    read_header,
    region_of,
    sop_class,
    square,
    timing,
    to_pixels,
    transfer_syntax,
)
from sonolearn.data.scans.lookup import Lookup, lookup
from sonolearn.data.scans.scan import Frame, Pixels, Rejected, Scan, printable
from sonolearn.data.scans.video import read_video

_LUMA = ("YBR_FULL", "YBR_FULL_422")


def open_dicom(path: Path) -> Scan:
    """Open a DICOM file.

    Raises:
        Rejected: it is damaged, holds no pictures, or holds them in a form that cannot be read.
    """
    with path.open("rb") as file:
        header = read_header(file)
    if "Rows" not in header or not header.Rows or not header.get("Columns"):
        raise Rejected("no_pixels", f"holds no picture ({sop_class(header)})")
    syntax = transfer_syntax(header)
    count = int(header.get("NumberOfFrames") or 1)
    video = syntax in MPEGTransferSyntaxes or syntax == MPEG2MPML
    if not video:
        _decoder(syntax)  # refuse what cannot be decoded now, not after the first frames
    fps, times = timing(header, count)
    spacing = [float(v) for v in header.get("PixelSpacing") or ()]

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        frames = _video_frames if video else _frames
        for frame in frames(path, header, takes, colour):
            if frame.pixels.shape[:2] != (header.Rows, header.Columns):
                raise Rejected("damaged", "the picture has another size than the header says")
            # The header's times go first; a video stream has its own.
            yield frame if times is None else replace(frame, time=float(times[min(frame.index, len(times) - 1)]))

    return Scan(
        kind="dicom", height=int(header.Rows), width=int(header.Columns), read=read, count=count, fps=fps,
        mm_per_px=square(*spacing) if len(spacing) == 2 else None,
        machine=printable(f"{header.get('Manufacturer') or ''} {header.get('ManufacturerModelName') or ''}"),
        regions=tuple(region_of(item) for item in header.get("SequenceOfUltrasoundRegions") or ()),
        patient_id=str(header.get("PatientID") or "").strip() or None,
    )  # fmt: skip


def _decoder(syntax: UID) -> Any:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise Rejected("unsupported", f"transfer syntax {name_of(syntax)} is not supported") from error
    if not decoder.is_available:
        raise Rejected("unsupported", f"transfer syntax {name_of(syntax)} needs a decoder that is not installed")
    return decoder


def _frames(path: Path, header: Dataset, takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
    """Frames that are compressed one by one, or not at all; never more than one in memory."""
    syntax = transfer_syntax(header)
    decoder, table = _decoder(syntax), lookup(header)
    with path.open("rb") as file:
        _, vr = to_pixels(file)
        options = {**as_pixel_options(header), "transfer_syntax_uid": syntax, "number_of_frames": 1, "pixel_vr": vr}
        options["pixel_keyword"] = "PixelData"
        raw = _native if decoder.is_native else _encapsulated
        for index, data in raw(file, header, takes):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pixels, found = decoder.as_array(data, raw=True, **options)
            except Exception as error:  # each decoding plugin has errors of its own
                raise Rejected("damaged", f"frame {index} cannot be decoded: it is damaged or cut off") from error
            yield Frame(index, np.nan, *_shown(pixels, str(found["photometric_interpretation"]), table, colour))


def _shown(pixels: NDArray[Any], photometric: str, table: Lookup | None, colour: bool) -> tuple[Pixels, Pixels | None]:
    """Stored values as uint8: (H, W) grey or luma, or (H, W, 3) RGB; and the chroma of luma."""
    if table is not None:
        return table(pixels), None
    if photometric in _LUMA:
        # The luma of YBR is the grey picture: no need to go through RGB.
        return (convert_color_space(pixels, photometric, "RGB"), None) if colour else (pixels[..., 0], pixels[..., 1:])
    if pixels.dtype != np.uint8:
        raise Rejected("unsupported", "colour of more than 8 bits is not supported")
    return pixels, None


def _native(file: Any, header: Dataset, takes: Callable[[int], bool]) -> Iterator[tuple[int, bytes]]:
    """Uncompressed frames lie one behind the other."""
    count = int(header.get("NumberOfFrames") or 1)
    length = get_expected_length(header) // count
    start = file.tell()
    present = (file.seek(0, io.SEEK_END) - start) // length
    if present < count:
        raise Rejected("truncated", f"holds {present} of the {count} frames that its header promises")
    for index in filter(takes, range(count)):
        file.seek(start + index * length)
        yield index, file.read(length)


def _encapsulated(file: Any, header: Dataset, takes: Callable[[int], bool]) -> Iterator[tuple[int, bytes]]:
    """Compressed frames, each wrapped again by itself for the decoder."""
    count = int(header.get("NumberOfFrames") or 1)
    found = 0
    try:
        for found, data in enumerate(generate_frames(file, number_of_frames=count), start=1):
            if takes(found - 1):
                yield found - 1, encapsulate([data])
    except (ValueError, EOFError, struct.error) as error:
        raise Rejected("truncated", f"ends within frame {found}; its header promises {count}") from error
    if found < count:
        raise Rejected("truncated", f"holds {found} of the {count} frames that its header promises")


def _video_frames(path: Path, header: Dataset, takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
    """Frames of an MPEG-2, MPEG-4 or HEVC stream inside DICOM; the compressed stream is held in memory."""
    with path.open("rb") as file:
        to_pixels(file)
        try:
            parse_basic_offsets(file)
            stream = io.BytesIO(b"".join(generate_fragments(file)))
        except (ValueError, EOFError, struct.error) as error:
            raise Rejected("truncated", "ends within its video stream") from error
    last = -1
    count = int(header.get("NumberOfFrames") or 1)
    for frame in read_video(stream, lambda _: True, colour):
        last = frame.index
        if takes(last):
            yield frame
    if last + 1 < count:
        raise Rejected("truncated", f"holds {last + 1} of the {count} frames that its header promises")
