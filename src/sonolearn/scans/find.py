"""Finding scans: which files of a folder are scans, and which stills together are one.

A folder is one *sequence* if its own media files are at least two stills of one type, named alike but for a number at
the end of the name, and these numbers rise by a constant step: `frame_0001.png`, `frame_0002.png`, ... All other stills
are scans of one frame each. A still that is named explicitly, or stands in a label table, is always itself.
"""

from __future__ import annotations

import os
import re
import struct
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from sonolearn.console import UserError, warn
from sonolearn.scans.scan import Frame, Rejected, Scan
from sonolearn.scans.stills import open_sequence, open_still
from sonolearn.scans.video import open_video

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


VIDEOS = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mpeg",
        ".mpg",
        ".gif",
        ".mkv",
        ".webm",
        ".wmv",
        ".asf",
        ".ts",
        ".m2ts",
        ".vob",
        ".3gp",
    ]
)
STILLS = frozenset([".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp"])
DICOM = frozenset((".dcm", ".dicom", ".ima"))
# Never looked into, even if they begin like DICOM: the index of a DICOM disc is not a scan.
_SKIPPED_NAMES = frozenset(("DICOMDIR",))
_NUMBERED = re.compile(r"(.*?)(\d+)")


@dataclass(frozen=True)
class Source:
    """One scan to be: a file, or the stills of a sequence."""

    name: str
    """Path below the folder it was found in, with `/`; a file named explicitly is as it was named."""
    paths: tuple[Path, ...]
    """The file, or the stills of a sequence in order."""

    @property
    def folder_or_file(self) -> Path:
        """What to call it towards people."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """The scans of files and folders: in the order of `paths`, and within a folder by name, numbers by value.

    Raises:
        UserError: a path does not exist.
    """
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            found += sorted(_in_folder(path), key=lambda source: natural(source.name))
        elif path.exists():
            found.append(Source(path.as_posix(), (path,)))
        else:
            raise UserError(f"{path}: no such file or folder; check the spelling and the current folder")
    return found


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key by which img2 comes before img10."""
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def open_scan(path: Path | Sequence[Path]) -> Scan:
    """Open a file, a folder that is a sequence, or the stills of a sequence.

    Raises:
        Rejected: it cannot be read; the reason says why.
        OSError: the file cannot be opened at all.
    """
    if not isinstance(path, Path):
        return open_sequence(list(path)) if len(path) > 1 else open_scan(path[0])
    if path.is_dir():
        stills = sequence_of([p for p in sorted(path.iterdir()) if is_media(p)])
        if not stills:
            raise Rejected("no_frames", "the folder is not a sequence of numbered stills")
        return open_sequence(stills)
    if path.stat().st_size == 0:
        raise Rejected("empty_file", "the file is empty (0 bytes)")
    suffix = path.suffix.lower()
    if is_dicom(path):
        from sonolearn.scans.dicom import open_dicom  # loads for 0.5 s, in vain where there are only videos

        return open_dicom(path)
    if suffix in DICOM:
        raise Rejected("not_dicom", "is named like a DICOM file but is none (no DICM at byte 128)")
    if suffix in VIDEOS:
        return open_video(path)
    if suffix in STILLS:
        return open_still(path)
    raise Rejected("unknown_format", "is neither DICOM nor a video or image of a known type")


def sequence_of(files: Sequence[Path]) -> list[Path]:
    """The stills in order if `files` are one sequence by the rule above, else nothing."""
    numbers: dict[int, Path] = {}
    alike = set()
    for file in files:
        match = _NUMBERED.fullmatch(file.stem)
        if file.suffix.lower() not in STILLS or match is None:
            return []
        alike.add((match[1], file.suffix.lower()))
        numbers[int(match[2])] = file
    order = sorted(numbers)
    steps = {after - before for before, after in pairwise(order)}
    if len(order) < 2 or len(order) < len(files) or len(alike) > 1 or len(steps) > 1:
        return []
    return [numbers[n] for n in order]


def _in_folder(root: Path) -> Iterator[Source]:
    for folder, media in media_below(root):
        stills = sequence_of(media)
        if stills:
            name = folder.relative_to(root).as_posix()
            yield Source(name if name != "." else root.name, tuple(stills))
        else:
            yield from (Source(path.relative_to(root).as_posix(), (path,)) for path in media)


def media_below(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder from `root` down with its own videos and images, by name; warns of folders that cannot be read."""

    def say_unreadable(error: OSError) -> None:
        warn(f"{error.filename}: cannot be read ({error.strerror}); whatever is in it is left out")

    # A link to a folder is followed, but not twice: links may go round.
    seen: set[str] = set()
    for folder, children, names in os.walk(root, followlinks=True, onerror=say_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(c for c in children if not c.startswith(".") and c != "sonolearn-private")
        yield Path(folder), [path for path in (Path(folder, name) for name in sorted(names)) if is_media(path)]


def may_be_file(path: Path) -> bool:
    """Whether it is a file, or cannot be looked at: whoever reads it will say so."""
    try:
        return path.is_file()
    except OSError:
        return True


def is_media(path: Path) -> bool:
    """By its ending; a file with an unknown or no ending if it begins like DICOM, or cannot be read.

    So a file that cannot be read is rejected by name instead of missing.
    """
    if path.name.startswith(".") or path.name in _SKIPPED_NAMES:
        return False
    try:
        return path.is_file() and (path.suffix.lower() in VIDEOS | STILLS | DICOM or _begins_like_dicom(path))
    except OSError:
        return True


def is_dicom(path: Path) -> bool:
    """Whether the file can be read and begins like a DICOM file, with or without its preamble."""
    try:
        return _begins_like_dicom(path)
    except OSError:
        return False


def _begins_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return begins_like_dicom(file.read(LENGTH))


def open_guarded(paths: Sequence[Path]) -> Scan:
    """Open a scan; whatever decoders raise on a damaged file, now or while it is read, becomes a rejection.

    Raises:
        Rejected: it cannot be read, or cannot be used.
    """
    with _rejecting_damage():
        scan = open_scan(paths)

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        with _rejecting_damage():
            yield from scan.read(takes, colour)

    return replace(scan, read=read)


def own_fault(error: Exception) -> Rejected:
    """The rejection of a scan on which our own code failed. The error's text may be of the file, so it is not told."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}"
    return Rejected("failed", f"makes sonolearn fail ({what}): please report this")


@contextmanager
def _rejecting_damage() -> Iterator[None]:
    try:
        yield
    except (Rejected, UserError):
        raise
    except Exception as error:
        raise Rejected("unreadable", "cannot be read: the file or its disk is damaged") from error
