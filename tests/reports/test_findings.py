"""Sentences claim what is shown and nothing else."""

from __future__ import annotations

import dataclasses
import re
from itertools import product

import numpy as np
import pytest

from simulated_study import by_chance, row, study
from sonolearn.reports.findings import p_value, recommended
from sonolearn.statistics.analysis import Statistics, analyse

NAMES = ("random", "ImageNet", "SimCLR", "Barlow Twins")
CLAIMS = re.compile(r"\b(best|highest|most|superior|outperform\w*|beats?|wins?|significant\w*|better|robust)\b")


def analysed(gain: float, seeds: int = 4, pretrainings: int = 4, missing: int = 0, patients: int = 20) -> Statistics:
    rows = [
        row(n, s, fraction=f, **({} if n in NAMES[:2] else {"pretrain_seed": s % pretrainings, "pool": "all"}))
        for n, f, s in product(NAMES, (0.01, 1.0), range(seeds))
    ]
    chance = by_chance(
        np.random.default_rng(0),
        lambda r: gain * (r["initialisation"] == "Barlow Twins"),
        spread=0.2,
        patients=patients,
    )
    return analyse(*study(rows[missing:], chance), draws=200)


def said_of(statistics: Statistics) -> str:
    return " ".join(map(recommended, statistics.recommendations))


def test_a_clear_winner_is_named_with_interval_p_value_and_share() -> None:
    text = said_of(analysed(4))
    assert "Over the 2 label fractions together, Barlow Twins (macro F1 0." in text
    assert "is shown to do better than each of the 3 others; the nearest is " in text
    assert re.search(r"\(\+0\.\d{3}, 95 % interval \+0\.\d{3} to \+0\.\d{3}, corrected p < 0\.001\)", text)
    assert "At 1 % of the labels, Barlow Twins" in text
    assert "Barlow Twins came first in 100 % of the redrawn studies" in text


@pytest.mark.parametrize(
    "kind",
    [{"gain": 0}, {"gain": 4, "seeds": 1, "pretrainings": 1}, {"gain": 4, "patients": 1}],
    ids=["no difference", "one seed", "one patient"],
)
def test_without_anything_shown_there_is_no_word_of_praise(kind: dict[str, int]) -> None:
    statistics = analysed(**kind)
    assert not any(c.shown for c in statistics.pairs)
    text = said_of(statistics)
    assert not CLAIMS.search(text)
    assert "no difference is shown between" in text
    assert not re.search(r"\b(is|are) shown to\b", text)


def test_words_of_praise_are_looked_for_where_they_are() -> None:
    assert CLAIMS.search(said_of(analysed(4)))


def test_results_of_one_pretraining_are_said_to_be_of_that_encoder() -> None:
    text = said_of(analysed(4, pretrainings=1))
    assert "among these very encoders, Barlow Twins" in text
    assert "these very encoders" not in said_of(analysed(4))


def test_a_share_below_1_is_not_written_as_all() -> None:
    (answer,) = analyse(*study([row(n, 0) for n in "AB"], lambda _: np.array([3, 1]))).recommendations
    assert "came first in 99 % " in recommended(dataclasses.replace(answer, first=(0.9996, 0.0004)))
    assert "came first in 100 % " in recommended(dataclasses.replace(answer, first=(1.0, 0.0)))


def test_the_better_of_two_is_not_said_to_have_a_nearest() -> None:
    runs = [row(n, s) for n in ("random", "ImageNet") for s in range(4)]
    chance = by_chance(np.random.default_rng(0), lambda r: 4 * (r["initialisation"] == "ImageNet"), spread=0.2)
    (answer,) = analyse(*study(runs, chance), draws=200).recommendations
    number, signed = r"0\.\d{3}", r"\+0\.\d{3}"
    assert re.fullmatch(
        rf"At the one label fraction, ImageNet \(macro F1 {number}\) is shown to do better than random "
        rf"\({signed}, 95 % interval {signed} to {signed}, corrected p < 0\.001\); "
        r"ImageNet came first in 100 % of the redrawn studies\.",
        recommended(answer),
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [(("A", "B", "random"), " Random is shown to be below A."),
     (("A", "B", "autoencoder", "MoCo"), " Autoencoder and MoCo are shown to be below A.")],
)  # fmt: skip
def test_a_sentence_that_begins_with_a_name_begins_with_a_capital(names: tuple[str, ...], said: str) -> None:
    (answer,) = analyse(*study([row(n, 0) for n in "AB"], lambda _: np.array([3, 1]))).recommendations
    below = dataclasses.replace(answer, names=names, means=(0.9, 0.8, 0.3, 0.2)[: len(names)], candidates=("A", "B"))
    assert recommended(below).endswith(said)


def test_p_values_are_never_rounded_across_5_percent() -> None:
    assert [p_value(p) for p in (0.04996, 0.05, 0.0004, 1.0)] == ["p = 0.049", "p = 0.050", "p < 0.001", "p = 1.000"]
