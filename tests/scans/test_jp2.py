"""JPEG 2000 in a JP2 file within DICOM: damaged boxes end in a rejection, where pydicom would look for ever."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from media import fan, write_dicom
from sonolearn.scans.dicom_pixels import codestream_is_found
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Rejected


def jp2(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(fan(1, 60, 80, seed)[0]).save(file, "JPEG2000")
    return file.getvalue()


def damaged(frame: bytes, length: int) -> bytes:
    """The box behind the signature says another length of itself."""
    return frame[:12] + length.to_bytes(4, "big") + frame[16:]


def test_boxes_lead_to_the_codestream() -> None:
    frame = jp2()
    assert frame[4:8] == b"jP  "
    assert codestream_is_found(frame)
    assert codestream_is_found(frame[frame.index(b"jp2c") + 4 :])  # bare
    assert not any(codestream_is_found(damaged(frame, length)) for length in (0, 1, 7, 8, 10**6, 2**32 - 1))
    assert not codestream_is_found(frame[:30])
    assert not codestream_is_found(frame[:12])


@pytest.mark.parametrize("length", [0, 2**31])
def test_a_frame_with_damaged_boxes_is_rejected_and_does_not_hang(tmp_path: Path, length: int) -> None:
    more = {"Rows": 60, "Columns": 80, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    good = write_dicom(tmp_path / "good.dcm", [jp2(), jp2(1)], JPEG2000Lossless, **more)
    assert [np.array_equal(f.pixels, fan(1, 60, 80, f.index)[0]) for f in open_scan(good).frames()] == [True, True]
    file = write_dicom(tmp_path / "a.dcm", [jp2(), damaged(jp2(1), length)], JPEG2000Lossless, **more)
    with pytest.raises(Rejected) as caught:
        list(open_scan(file).frames())
    assert caught.value.reason == "damaged"
    assert caught.value.message == "frame 1 cannot be decoded: it is damaged or cut off"
