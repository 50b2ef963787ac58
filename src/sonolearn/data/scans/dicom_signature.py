"""How a DICOM file is known by its first bytes; without pydicom, which loads for longer than many files are read."""

from __future__ import annotations

import struct

LENGTH = 1024
"""Bytes that are looked at."""
_LEAST = 12
# The elements that data sets begin with, lengths of groups among them (PS3.6): little endian, in any transfer syntax.
_FIRST = frozenset([(2, 0), (2, 1), (2, 2), (2, 0x10), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x12), (8, 0x16), (8, 0x18)])
_SHORT = frozenset((b"AE", b"CS", b"DA", b"DT", b"LO", b"SH", b"TM", b"UI", b"UL"))


def begins_like_dicom(data: bytes) -> bool:
    """Whether a file begins like DICOM: 128 bytes, then DICM (PS3.10 7.1), or elements of a data set at once.

    Old machines and some anonymisers leave the preamble out.

    >>> begins_like_dicom(bytes(128) + b"DICM"), begins_like_dicom(b"GIF89a" + bytes(200))
    (True, False)
    """
    if data[128:132] == b"DICM":
        return True
    group, element, vr, short = struct.unpack_from("<HH2sH", data.ljust(_LEAST, b"\0"))
    length = short if vr in _SHORT else int.from_bytes(data[4:8], "little")
    if (group, element) not in _FIRST or length % 2 or 12 + length > len(data):
        return False
    following = struct.unpack_from("<HH", data, 8 + length)
    return following[0] in (2, 8) and (group, element) < following
