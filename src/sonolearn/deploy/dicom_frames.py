"""Write grey frames into a DICOM file one by one: compressed without loss, in memory that does not grow with a cine."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import UID, RLELossless

from sonolearn.runs import writing
from sonolearn.scans.scan import Pixels
from sonolearn.version import __version__

_ITEM = 0xFFFE, 0xE000
IMPLEMENTATION = UID("2.25.157044231254903217690461478372541873629")
"""Names this writer (PS3.7 D.3.3.2)."""


class FrameFile:
    """Frames on their way into a file; used as a context, whose end drops what is only temporary."""

    def __init__(self, folder: Path) -> None:
        """Collect frames in an unnamed file of `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed by `__exit__`
        self._item(b"")  # an empty table of offsets (PS3.5 A.4)
        self.count = 0
        self.shape = (0, 0)
        self._black: bytes | None = None

    def __enter__(self) -> FrameFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, frame: Pixels) -> None:
        """Append one frame, (H, W) uint8, all of one size; RLE (PS3.5 G), which every viewer reads."""
        self.shape = frame.shape[0], frame.shape[1]
        self._item(_encoded(frame))
        self.count += 1

    def add_black(self, count: int, shape: tuple[int, int]) -> None:
        """Append black frames of height and width."""
        self.shape = shape
        if self._black is None:
            self._black = _encoded(np.zeros(shape, np.uint8))
        for _ in range(count):
            self._item(self._black)
        self.count += count

    def save(self, path: Path, header: Dataset) -> None:
        """Write the file: the header with the elements of the Image Pixel module, and the frames.

        Raises:
            UserError: the disk is full, or the folder cannot be written to.
        """
        header.Rows, header.Columns = self.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
        self._file.seek(0)
        header.add_new("PixelData", "OB", self._file)
        header["PixelData"].is_undefined_length = True
        header.file_meta = file_meta(header)
        header.file_meta.TransferSyntaxUID = RLELossless
        with writing(path, checksum=False) as temporary:
            header.save_as(temporary, enforce_file_format=True)

    def _item(self, data: bytes) -> None:
        data += b"\0" * (len(data) % 2)
        self._file.write(struct.pack("<HHL", *_ITEM, len(data)) + data)


def file_meta(header: Dataset) -> FileMetaDataset:
    """The file meta information (PS3.10 7.1), but for the transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = f"SONOLEARN {__version__}"[:16]
    return meta


def _encoded(frame: Pixels) -> bytes:
    height, width = frame.shape
    return RLELosslessEncoder.encode(
        np.ascontiguousarray(frame), rows=height, columns=width, samples_per_pixel=1, bits_allocated=8, bits_stored=8,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", number_of_frames=1, encoding_plugin="gdcm",
    )  # fmt: skip
