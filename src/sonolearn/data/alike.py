"""Scans of a store that show the same: a frame that two share to the byte, or stills that are nearly the same picture.

So one recording or still is found under two names, endings or containers, with and without callipers, or scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sonolearn.console import progress
from sonolearn.data.cleaning.duplicates import near_pairs, same_picture
from sonolearn.data.scans.scan import Pixels
from sonolearn.data.storing import DUPLICATE_COLUMNS, Block

Pair = tuple[Block, Block]


def alike_scans(blocks: Sequence[Block], size: int) -> list[Pair]:
    """Pairs of scans that show the same, in the order of the store.

    Args:
        blocks: all scans of a store.
        size: side S of its frames in px.
    """
    found = set(sharing(blocks))
    stills = [number for number, block in enumerate(blocks) if block.row["print"] is not None]
    prints = np.array([blocks[number].row["print"] for number in stills], np.uint64).reshape(-1, 4)
    near = [(stills[i], stills[j]) for i, j in near_pairs(prints)]
    with progress("comparing stills", len(near)) as bar:
        for i, j in near:
            if (i, j) not in found and same_picture(_frame(blocks[i], size), _frame(blocks[j], size)):
                found.add((i, j))
            bar.advance()
    return [(blocks[i], blocks[j]) for i, j in sorted(found)]


def sharing(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Numbers i < j of scans that share a frame to the byte; of several with one frame, each and the next."""
    owner = np.repeat(np.arange(len(blocks)), [block.count for block in blocks])
    checksums = np.array([checksum for block in blocks for checksum in block.row["checksum"]], np.uint64)
    order = np.argsort(checksums, kind="stable")
    same = np.diff(checksums[order]) == 0
    one, other = owner[order][:-1][same], owner[order][1:][same]
    return sorted({(int(i), int(j)) for i, j in zip(one, other, strict=True) if i != j})


def alike_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """duplicates.csv: a row a pair, by the pseudonyms of both."""
    rows = [(one.row["scan"], other.row["scan"]) for one, other in pairs]
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))


def _frame(still: Block, size: int) -> Pixels:
    return np.frombuffer(next(still.read(size)), np.uint8).reshape(size, size)
