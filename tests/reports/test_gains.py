"""The figure of gains: every text within it, none over another."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from reports.drawn_texts import DrawnTexts
from sonolearn.reports import gains as module
from sonolearn.reports.figures import looks
from sonolearn.reports.gains import gain_figure
from sonolearn.reports.wording import MODES

NAMES = {"short": ["BYOL"], "long": ["inpainting autoencoder", "WWWWWWWWWWWWWWWWWWWW", "MoCo"],
         "very long": ["autoencoder with the decoder of its first stage and all frames of the hospital"]}  # fmt: skip


def gains_of(names: list[str], fractions: list[float]) -> pd.DataFrame:
    """A row a comparison, with a difference of 0.1."""
    cells = product(names, MODES, [*fractions, np.nan])
    table = pd.DataFrame(cells, columns=["initialisation", "mode", "fraction"])
    return table.assign(other="random", mean=0.1, low=0.05, high=0.15, shown=True)


@pytest.mark.parametrize("fractions", [[1.0], [0.01, 0.05, 0.1, 0.25, 0.5, 1.0]], ids=["one", "six"])
@pytest.mark.parametrize("kind", NAMES)
def test_titles_names_columns_and_ticks_stand_apart(
    kind: str, fractions: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = DrawnTexts(module, monkeypatch)
    gain_figure(gains_of(NAMES[kind], fractions), looks(NAMES[kind]), "gains")
    assert drawn.outside() == []
    assert drawn.over_one_another() == []
