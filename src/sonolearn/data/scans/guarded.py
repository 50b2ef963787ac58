"""Scans that cannot stop the others: whatever goes wrong while one is read becomes its rejection."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sonolearn.console import UserError
from sonolearn.data.scans.find import open_scan
from sonolearn.data.scans.scan import Frame, Rejected, Scan


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
