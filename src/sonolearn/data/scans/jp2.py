"""JP2 files within DICOM: boxes around the codestream that should stand alone (PS3.5 A.4.4, ISO/IEC 15444-1 I.4)."""

from __future__ import annotations

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
