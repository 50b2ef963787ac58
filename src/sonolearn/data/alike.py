"""Stills of a store that are nearly the same picture: one still saved twice, with and without callipers, or scaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sonolearn.console import progress
from sonolearn.data.cleaning.duplicates import near_pairs, same_picture
from sonolearn.data.scans.scan import Pixels
from sonolearn.data.storing import DUPLICATE_COLUMNS, Block

Pair = tuple[Block, Block]


def alike_stills(blocks: Sequence[Block], size: int) -> list[Pair]:
    """Pairs of stills that are nearly the same picture, in the order of the store.

    Args:
        blocks: all scans of a store; recordings are passed over.
        size: side S of its frames in px.
    """
    stills = [block for block in blocks if block.row["print"] is not None]
    prints = np.array([block.row["print"] for block in stills], np.uint64).reshape(-1, 4)
    near = near_pairs(prints)
    pairs = []
    with progress("comparing stills", len(near)) as bar:
        for i, j in near:
            if same_picture(_frame(stills[i], size), _frame(stills[j], size)):
                pairs.append((stills[i], stills[j]))
            bar.advance()
    return pairs


def alike_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """duplicates.csv: a row a pair, by the pseudonyms of both."""
    rows = [(one.row["scan"], other.row["scan"]) for one, other in pairs]
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))


def _frame(still: Block, size: int) -> Pixels:
    return np.frombuffer(next(still.read(size)), np.uint8).reshape(size, size)
