"""Checksums of the files that stores and runs consist of, so that later damage is found before anything relies on it.

A folder's `.checksums` has a line for every file that `sonolearn.runs.writing` put there: XXH3 (64 bits, hexadecimal)
and name. The line is added before the file gets its name, so that after an interruption, too, a file agrees with one of
its lines. Frames have checksums of their own in frames.h5, see `sonolearn.store.store`.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import xxhash

from sonolearn.console import UserError

CHECKSUMS = ".checksums"
_ELSEWHERE = frozenset(("frames.h5", "sources.csv", "timings.csv", "README.txt"))
"""Files that are checked in another way, or that people may change."""
_UNREAD = frozenset(("logs", "tensorboard", "parts", "report", "profile"))
"""Folders that nothing relies on."""


def checksum_of(frame: bytes | memoryview) -> int:
    """XXH3 of the pixels of a frame, 64 bits: a tenth of the time of CRC-32."""
    return xxhash.xxh3_64_intdigest(frame)


def note(path: Path, content: Path | None = None) -> None:
    """Add the checksum of a file that is complete, or of the `content` that is about to be renamed to it."""
    checksum = _checksum(content or path)
    if path.exists() and checksum == _noted_in(path.parent).get(path.name, [""])[-1]:
        return  # what is written again as it was changes nothing
    # The line break comes first: a line that a full disk cut short does not spoil the next one.
    with (path.parent / CHECKSUMS).open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"\n{checksum}  {path.name}")


def intact(path: Path) -> Path:
    """Return `path` if the file is as it was written; files without a checksum are not checked.

    Raises:
        UserError: it is damaged, or was changed by something else.
        OSError: it cannot be read.
    """
    noted = _noted_in(path.parent).get(path.name)
    if noted and _checksum(path) not in noted:
        raise UserError(
            f"{path}: is damaged (its checksum is wrong); restore it from a copy, or delete it or its folder and run "
            f"the same command again. If you changed it on purpose, delete {path.parent / CHECKSUMS}"
        )
    return path


_SENSELESS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What reading content that makes no sense ends in."""


@contextmanager
def naming_damage(*folders: Path | str) -> Iterator[None]:
    """Turn a failure over files that cannot be proven to be as they were written into one sentence.

    Whatever a file may hold once it was changed, nobody can foresee. Where all files that were there before agree with
    their checksums, a failure is our own and stays as it is.

    Args:
        folders: stores, runs and studies that are read; files, and those that do not exist, count too.

    Raises:
        UserError: names a file that is damaged, or that has no checksum which would tell.
    """
    began = time.time()
    try:
        yield
    except UserError:
        raise
    except _SENSELESS as error:
        suspect = next((file for folder in folders for file in _unproven(Path(folder), began)), None)
        if suspect is None:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{suspect}: is not as sonolearn wrote it, or has no checksum that would tell, and what is read of "
            f"{suspect.parent} makes no sense ({type(error).__name__} in {Path(where.filename).name} line "
            f"{where.lineno}); restore it from a copy, or delete it or its folder and run the same command again"
        ) from error


def _unproven(folder: Path, before: float) -> list[Path]:
    """Files of a folder, older than a time, that agree with no checksum: damaged ones first, then those without."""
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    damaged, unknown = [], []
    for file in files:
        written_now = file.stat().st_mtime > before
        if written_now or file.name in _ELSEWHERE or _UNREAD & set(file.relative_to(folder).parts[:-1]):
            continue
        noted = _noted_in(file.parent).get(file.name)
        if not noted:
            unknown.append(file)
        elif _checksum(file) not in noted:
            damaged.append(file)
    return [*damaged, *unknown]


def current_lines(folder: Path) -> str:
    """The newest line of every file that is still there, by name: independent of interruptions."""
    newest = {name: checksums[-1] for name, checksums in sorted(_noted_in(folder).items())}
    return "".join(f"\n{checksum}  {name}" for name, checksum in newest.items() if (folder / name).exists())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_64).hexdigest()


def _noted_in(folder: Path) -> dict[str, list[str]]:
    file = folder / CHECKSUMS
    try:
        found = file.stat()
    except OSError:
        return {}
    return _parsed(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _parsed(file: Path, changed: int, size: int) -> dict[str, list[str]]:
    """Checksums by file name, oldest first; kept, as a study reads thousands of files of one folder."""
    noted = defaultdict(list)
    for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        checksum, _, name = line.partition("  ")
        if name:
            noted[name].append(checksum)
    return dict(noted)
