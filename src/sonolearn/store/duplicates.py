"""Scans that show the same: the same frame to the byte, or stills that are nearly the same picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sonolearn.cleaning.similar import near_pairs, same_picture
from sonolearn.console import progress
from sonolearn.scans.scan import Pixels
from sonolearn.store.cleaned_scan import CleanedScan

DUPLICATE_COLUMNS = ("scan", "other")
Pair = tuple[CleanedScan, CleanedScan]


def find_duplicates(scans: Sequence[CleanedScan], size: int) -> list[Pair]:
    """Pairs of scans that show the same, in the order of the store.

    Args:
        scans: all of a store.
        size: side S of its frames in px.
    """
    found = set(sharing_a_frame(scans))
    stills = [number for number, scan in enumerate(scans) if scan.row.print is not None]
    prints = np.array([scans[number].row.print for number in stills], np.uint64).reshape(-1, 4)
    near = [(stills[i], stills[j]) for i, j in near_pairs(prints)]
    with progress("comparing stills", len(near)) as bar:
        for i, j in near:
            if (i, j) not in found and same_picture(_frame(scans[i], size), _frame(scans[j], size)):
                found.add((i, j))
            bar.advance()
    return [(scans[i], scans[j]) for i, j in sorted(found)]


def sharing_a_frame(scans: Sequence[CleanedScan]) -> list[tuple[int, int]]:
    """Numbers i < j of scans that share a frame to the byte; of several with one frame, each and the next."""
    owner = np.repeat(np.arange(len(scans)), [scan.row.frames for scan in scans])
    checksums = np.array([checksum for scan in scans for checksum in scan.checksum], np.uint64)
    order = np.argsort(checksums, kind="stable")
    same = np.diff(checksums[order]) == 0
    one, other = owner[order][:-1][same], owner[order][1:][same]
    return sorted({(int(i), int(j)) for i, j in zip(one, other, strict=True) if i != j})


def duplicates_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """duplicates.csv: a row a pair, by the pseudonyms of both."""
    return pd.DataFrame([(one.row.scan, other.row.scan) for one, other in pairs], columns=list(DUPLICATE_COLUMNS))


def _frame(still: CleanedScan, size: int) -> Pixels:
    return np.frombuffer(next(still.read(size)), np.uint8).reshape(size, size)
