"""Where the frames of a DICOM file lie and how they are written; what the pixels themselves say goes before the header.

Offset tables are not read: a compressed frame begins where a codestream does. Size and samples of compressed frames are
those of the codestream (PS3.5 8.2); how many uncompressed frames there are follows from the length of the element.
"""

from __future__ import annotations

import bisect
import io
import itertools
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MPEGTransferSyntaxes,
    RLELossless,
)

from sonolearn.scans.dicom_header import name_of, promised_frames, sop_class, transfer_syntax
from sonolearn.scans.scan import MOST_PIXELS, Rejected, check_size

SIGNATURE = b"\0\0\0\x0cjP  "
_CODESTREAM = b"jp2c"
_LEAST = 8  # bytes of a box: its length and its type


def codestream_is_found(frame: bytes) -> bool:
    """Whether the boxes of a JP2 file lead to its codestream; what is no JP2 file has none to pass.

    pydicom goes from box to box by their lengths, and for ever where one of them is 0.
    """
    if not frame.startswith(SIGNATURE):
        return True
    position = 12
    while position + _LEAST <= len(frame):
        length = int.from_bytes(frame[position : position + 4], "big")
        if frame[position + 4 : position + 8] == _CODESTREAM:
            return True
        if length < _LEAST:
            return False
        position += length
    return False


_ENCAPSULATED = 0xFFFFFFFF
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_RLE_HEADER = 64  # bytes: the offset of the first segment (PS3.5 G.5)
# The markers that begin frames of JPEG, and the transfer syntaxes that they may stand in; the likeliest first.
_JPEG_KINDS: dict[int, tuple[UID, ...]] = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), (JPEGBaseline8Bit, JPEGExtended12Bit)),
    0xC3: (JPEGLosslessSV1, JPEGLossless),
    0xF7: (JPEGLSLossless, JPEGLSNearLossless),
}
_HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # whose chroma has half the columns


@dataclass(frozen=True)
class Item:
    """A fragment of the pixel element."""

    offset: int
    length: int
    head: bytes
    """Its first bytes, 8 at most."""


@dataclass(frozen=True)
class PixelData:
    """The pixels of a file."""

    syntax: UID
    """How they are written."""
    count: int | None
    """Number of frames; None for a video whose header does not say."""
    start: int = 0
    """Where uncompressed frames begin in the file."""
    items: tuple[tuple[Item, ...], ...] = ()
    """The fragments of each compressed frame, or of the one stream of a video; none where frames are not compressed."""
    options: dict[str, Any] = field(default_factory=dict)
    """How pydicom's decoders are to read them."""
    plugin: str = ""
    """Which of pydicom's decoders is to read compressed frames; empty for its own choice."""
    shift: int = 0
    """Bits below the stored ones, by the header."""
    partial: bool = False
    """Whether luma has the levels of video."""

    @property
    def is_video(self) -> bool:
        """Whether all frames are one stream."""
        return self.syntax in MPEGTransferSyntaxes

    def decode(self, file: BinaryIO, index: int) -> tuple[NDArray[Any], str]:
        """Stored values (H, W) or (H, W, 3) of a frame, and their photometric interpretation.

        Raises:
            Rejected: the frame cannot be decoded.
        """
        decoder, options = _decoder(self.syntax), self.options
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self.items:
                    frame = read_items(file, self.items[index])
                    if not codestream_is_found(frame):
                        raise ValueError("the boxes around it lead nowhere")
                    data = encapsulate([frame])
                    options = {**options, "number_of_frames": 1, "decoding_plugin": self.plugin}
                    pixels, found = decoder.as_array(data, raw=True, **options)
                else:
                    file.seek(self.start)
                    pixels, found = decoder.as_array(file, index=index, raw=True, **options)
        except Exception as error:  # each decoding plugin has errors of its own
            raise Rejected("damaged", f"frame {index} cannot be decoded: it is damaged or cut off") from error
        if self.shift and pixels.max(initial=0) >> (options["bits_stored"] - self.shift):
            pixels = pixels >> self.shift
        return pixels, "YBR_PARTIAL_422" if self.partial else str(found["photometric_interpretation"])


def find_frames(file: BinaryIO, header: Dataset) -> PixelData:
    """Where the frames are; the file stands at the pixel element. What is wrong in the header is mended.

    Raises:
        Rejected: there is no picture, less of it than the header promises, or a kind that cannot be decoded.
    """
    syntax = transfer_syntax(header)
    if syntax not in MPEGTransferSyntaxes:
        _decoder(syntax)
    length, vr = _find_value(file, header)
    start, promised = file.tell(), promised_frames(header)
    # Some writers give compressed frames a length.
    if length != _ENCAPSULATED and not (syntax.is_encapsulated and file.read(4) == _ITEM):
        items: tuple[tuple[Item, ...], ...] = ()
        plugin = ""
        syntax = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
        count = _native_count(header, min(length, file.seek(0, io.SEEK_END) - start), promised)
    else:
        file.seek(start)
        fragments = _fragments(file)
        if not fragments:
            raise Rejected("truncated", "ends before its first frame")
        if syntax in MPEGTransferSyntaxes:
            return PixelData(syntax, promised, items=(tuple(fragments[1:] or fragments),))
        items = _by_frame(fragments, promised)
        count, first = len(items), read_items(file, items[0])
        syntax = _written_as(first, syntax)
        plugin = _agree(header, first, syntax)
    check_size(int(header.Rows), int(header.Columns), count)
    header.NumberOfFrames = count
    options = as_pixel_options(header, transfer_syntax_uid=syntax, pixel_vr=vr, pixel_keyword="PixelData")
    # Bits above the highest are not pixels: overlays, of old.
    options["bits_stored"] = header.HighBit + 1
    shift, partial = header.HighBit + 1 - header.BitsStored, header.PhotometricInterpretation == "YBR_PARTIAL_422"
    if partial:  # of which pydicom does not know that chroma is halved
        options["photometric_interpretation"] = "YBR_FULL_422"
    return PixelData(syntax, count, start, items, options, plugin, shift, partial)


def read_items(file: BinaryIO, items: Sequence[Item]) -> bytes:
    """The bytes of some fragments, put together."""
    parts = []
    for item in items:
        file.seek(item.offset)
        parts.append(file.read(item.length))
    return b"".join(parts)


def open_stream(file: BinaryIO, items: Sequence[Item]) -> BinaryIO:
    """Fragments of a file as a file of its own, none of which is held in memory."""
    return io.BufferedReader(_Stream(file, items), 1 << 16)


class _Stream(io.RawIOBase):
    def __init__(self, file: BinaryIO, items: Sequence[Item]) -> None:
        self._file, self._items = file, items
        self._ends = list(itertools.accumulate(item.length for item in items))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}.get(whence, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._items):
            return 0
        left = self._ends[number] - self._at
        self._file.seek(self._items[number].offset + self._items[number].length - left)
        data = self._file.read(min(left, len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _decoder(syntax: UID) -> Decoder:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise Rejected("unsupported", f"transfer syntax {name_of(syntax)} is not supported") from error
    if not decoder.is_available:
        raise Rejected("unsupported", f"transfer syntax {name_of(syntax)} needs a decoder that is not installed")
    return decoder


def _find_value(file: BinaryIO, header: Dataset) -> tuple[int, str]:
    """Length and VR of the pixel element; the file then stands at the first byte of its value."""
    start = file.read(8)
    order = {b"\xe0\x7f\x10\x00": "<", b"\x7f\xe0\x00\x10": ">"}.get(start[:4])
    if order is None:
        raise Rejected("no_pixels", f"holds no picture ({sop_class(header)})")
    # As it is written: transfer syntaxes are not always true.
    explicit = start[4:6] in (b"OB", b"OW", b"UN") and start[6:] == b"\0\0"
    length = file.read(4) if explicit else start[4:]
    if len(length) < 4:
        raise Rejected("truncated", "ends before its first frame")
    return struct.unpack(order + "I", length)[0], start[4:6].decode() if explicit else "OW"


def _native_count(header: Dataset, available: int, promised: int | None) -> int:
    """Number of frames that follow each other in a buffer of this length."""
    pixels = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
    frame = pixels * int(header.BitsAllocated) / 8
    if header.PhotometricInterpretation in _HALVED:
        if available - (promised or 1) * frame in (0, 1):
            header.PhotometricInterpretation = "RGB"  # an old label: chroma is not halved
        else:
            frame = frame * 2 / 3
    found = int(available // frame)
    if found < (promised or 1):
        raise Rejected("truncated", f"holds {found} of the {promised or 1} frames that its header promises")
    # Values are padded to an even length; what else is behind the promised frames counts if it is whole frames.
    padded = promised is not None and available - promised * frame <= 1
    return promised if promised is not None and (padded or available - found * frame > 1) else found


def _fragments(file: BinaryIO) -> list[Item]:
    """The items of the pixel element (PS3.5 A.4), the first of them its offset table; an end mark may be missing."""
    items: list[Item] = []
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    while True:
        file.seek(position)
        start = file.read(16)
        if len(start) < 8 or start[:4] == _END:
            return items
        length = int.from_bytes(start[4:8], "little")
        if start[:4] != _ITEM:
            raise Rejected("damaged", "something else stands where a compressed frame should begin")
        position += 8
        if position + length > size:
            raise Rejected("truncated", f"ends within its compressed frames, after {len(items)} pieces of them")
        items.append(Item(position, length, start[8 : 8 + length]))
        position += length


def _by_frame(fragments: Sequence[Item], promised: int | None) -> tuple[tuple[Item, ...], ...]:
    """The fragments of each frame. A codestream begins a frame; offset tables are too often wrong."""
    data = [n for n, item in enumerate(fragments) if n > 0 or _kind(item.head) in ("JPEG", "JPEG 2000")]
    starts = [n for n in data if _kind(fragments[n].head)]
    if len(starts) < (promised or 1) and len(data) == promised:
        starts = data  # one each: of a kind whose beginning is not known, or damaged
    elif not starts and promised == 1:
        starts = data[:1]
    if data and not starts:
        raise Rejected("unsupported", "holds frames that begin otherwise than its transfer syntax says")
    if len(starts) < (promised or 1):
        raise Rejected("truncated", f"holds {len(starts)} of the {promised or 1} frames that its header promises")
    ends = [*starts[1:], len(fragments)]
    return tuple(tuple(fragments[start:end]) for start, end in zip(starts, ends, strict=True))


def _kind(head: bytes) -> str:
    """What kind of codestream begins so; empty for none."""
    if head.startswith(b"\xff\xd8"):
        return "JPEG"
    if head.startswith((b"\xff\x4f\xff\x51", SIGNATURE)):
        return "JPEG 2000"
    segments, offset = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
    return "RLE" if 1 <= segments <= 15 and offset == _RLE_HEADER else ""


def _written_as(frame: bytes, syntax: UID) -> UID:
    """The transfer syntax of a compressed frame, where the header's is of another kind."""
    kind = _kind(frame[:8])
    if kind == "JPEG 2000" and syntax not in JPEG2000TransferSyntaxes:
        return JPEG2000
    if kind == "JPEG":
        known = _JPEG_KINDS.get(_jpeg_process(frame), (syntax,))
        return syntax if syntax in known else known[0]
    return RLELossless if kind == "RLE" else syntax


def _jpeg_process(frame: bytes) -> int:
    """The marker that begins the frame of a JPEG and names its process (ISO/IEC 10918-1 B.1.1.3); 0 without one."""
    position = 2
    while position + 4 <= len(frame):
        marker = frame[position + 1]
        if marker in _JPEG_KINDS:
            return marker
        # Any number of 0xFF may stand before a marker.
        position += 1 if marker == 0xFF else 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return 0


def _agree(header: Dataset, frame: bytes, syntax: UID) -> str:
    """Make the header's size, samples and depth those of a codestream, as far as Pillow knows its kind.

    Returns:
        Which decoder is to read such frames; empty for pydicom's choice.
    """
    if header.PhotometricInterpretation.startswith("YBR_PARTIAL"):
        header.PhotometricInterpretation = "YBR_FULL_422"  # JPEG has the full range
    if syntax != RLELossless:
        header.PlanarConfiguration = 0  # says nothing of codestreams
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its size, which is looked at below
            with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:
                (width, height), samples, jpeg = image.size, len(image.getbands()), image.format == "JPEG"
                converted = "adobe_transform" in image.info
    except Image.DecompressionBombError as error:
        raise Rejected("too_large", f"has more than {MOST_PIXELS // 1_000_000} million pixels") from error
    except Exception as error:  # JPEG-LS and 12 bits are not Pillow's
        if syntax == JPEGExtended12Bit and header.BitsStored > 8:
            raise Rejected("unsupported", "lossy JPEG of 12 bits is not supported") from error
        return ""
    header.Rows, header.Columns = height, width
    if jpeg and header.BitsAllocated > 8:
        header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    if samples not in (1, 3):
        raise Rejected("unsupported", f"colours of {samples} samples are not supported")
    if samples != header.SamplesPerPixel:
        header.SamplesPerPixel = samples
        header.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "YBR_FULL_422" if jpeg else "RGB"
    # Pillow is faster than GDCM, which fills what is cut off with grey and ends the process on some damaged frames. But
    # it converts the colours of an Adobe JPEG, and gives 8 bits of deep ones.
    plain = syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000, JPEG2000Lossless) and header.BitsStored <= 8
    return "pillow" if plain and not converted else ""
