"""The figure of ranks: every text within it, none over another, whatever the names and the critical difference."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reports.drawn_texts import DrawnTexts
from reports.fake_study import SKILLS
from sonolearn.reports import ranks as module
from sonolearn.reports.figures import looks
from sonolearn.reports.ranks import rank_figure
from sonolearn.statistics.ranks import Ranks, cliques

LONG = "autoencoder of {} with the decoder of its first stage and all frames of the hospital"


def ranks_of(names: tuple[str, ...], critical_difference: float) -> Ranks:
    """Ranks from 1 to the number of names."""
    means = np.arange(1.0, len(names) + 1)
    none = np.full((len(names), len(names)), np.nan)
    alike = cliques(names, means, critical_difference)
    return Ranks("resnet18", "linear", "", names, means, 18, means, 3, 6, 9.0, 0.01, critical_difference, none,
                 alike, (), "")  # fmt: skip


@pytest.mark.parametrize("share", [0.05, 0.9, 1.0, 1.13], ids=["short", "nearly as long", "as long", "longer"])
@pytest.mark.parametrize("count", [2, 3, 9, 12])
@pytest.mark.parametrize("kind", ["one letter", "usual", "long"])
def test_all_texts_lie_within_the_figure_and_apart(
    kind: str, count: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"one letter": list("ABCDEFGHIJKL"), "usual": ["ImageNet", *SKILLS],
             "long": [LONG.format(number) for number in range(12)]}[kind]  # fmt: skip
    chosen = tuple(dict.fromkeys(names))[:count]
    drawn = DrawnTexts(module, monkeypatch)
    one = ranks_of(chosen, share * (count - 1))
    rank_figure({"Nearest neighbours, efficientnet_lite0": one}, looks(chosen), "ranks")
    assert drawn.outside() == []
    assert drawn.over_one_another() == []
    assert len(drawn.boxes) == 2 + 2 * count


def test_a_long_name_keeps_both_of_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"{LONG.format(1)} {last}" for last in "abc")
    drawn = DrawnTexts(module, monkeypatch)
    rank_figure({"Linear evaluation": ranks_of(names, 1.0)}, looks(names), "ranks")
    labels = [text for _, text in drawn.boxes if "…" in text]
    assert [re.sub("1 .*….* hospital", "1 … hospital", label) for label in labels] == [
        "autoencoder of 1 … hospital a  1.00", "autoencoder of 1 … hospital b  2.00",
        "3.00  autoencoder of 1 … hospital c",
    ]  # fmt: skip
