"""Mean ranks of initialisations, Friedman's test, and how far ranks must lie apart (Demšar, JMLR 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sonolearn.planes.metrics import Floats
from sonolearn.study.statistics.blocks import Blocks, blocks_of
from sonolearn.study.statistics.correction import LEVEL
from sonolearn.study.statistics.trainings import Setting, Trainings


@dataclass(frozen=True)
class Ranks:
    """Ranks of K initialisations of one encoder, mode and pool; 1 is the highest macro F1, ties share their mean.

    The description ranks in each fraction and unit. These blocks are not independent: fractions of one unit share
    pre-trainings and (being nested) labels. So the test ranks the mean over fractions, a block an independent unit. All
    blocks share the test patients: neither speaks of other patients.

    Attributes:
        encoder: name of the backbone.
        mode: finetune, linear or knn.
        pool: the pool of those that have one.
        names: (K,) by mean rank of the test where it has blocks, else of the description.
        described: (K,) mean ranks of the description, 1 to K; NaN without complete blocks.
        described_blocks: its complete blocks (fraction x unit).
        tested: (K,) mean ranks of the test, 1 to K; NaN without complete blocks.
        blocks: N, its complete blocks (units).
        fractions: number of label fractions behind each.
        friedman: Friedman's statistic, corrected for ties; NaN below 3 initialisations or 2 blocks.
        p: its p value by the chi-squared approximation.
        critical_difference: of Nemenyi at 5 %: mean ranks further apart are told apart; NaN below 2 blocks.
        nemenyi: (K, K) p values of Nemenyi's test.
        cliques: largest groups whose ranks lie within the critical difference, each in the order of `names`.
        left_out: initialisations with too few runs to be ranked.
        read_as: what the ranks may be read as.
    """

    encoder: str
    mode: str
    pool: str
    names: tuple[str, ...]
    described: Floats
    described_blocks: int
    tested: Floats
    blocks: int
    fractions: int
    friedman: float
    p: float
    critical_difference: float
    nemenyi: Floats
    cliques: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]
    read_as: str


def ranks(trainings: Trainings) -> list[Ranks]:
    """The ranks of each encoder, mode and pool with two initialisations or more."""
    found = ((setting, blocks_of(trainings, setting)) for setting in trainings.settings())
    return [_ranks(setting, blocks) for setting, blocks in found if len(blocks.names) > 1]


def _ranks(setting: Setting, blocks: Blocks) -> Ranks:
    names = len(blocks.names)
    described = blocks.scores.reshape(-1, names)
    described = described[np.isfinite(described).all(1)]
    tested = blocks.over_fractions
    means, shown = mean_ranks(tested), mean_ranks(described)
    order = np.argsort(means if len(tested) else shown, kind="stable")
    sorted_names = tuple(blocks.names[index] for index in order)
    distance = critical_difference(names, len(tested))
    friedman, p = friedman_test(tested)
    return Ranks(
        setting.encoder, setting.mode, setting.pool, sorted_names, shown[order], len(described), means[order],
        len(tested), len(blocks.fractions), friedman, p, distance, nemenyi(means[order], len(tested)),
        cliques(sorted_names, means[order], distance), blocks.left_out, _reading(blocks, len(tested)),
    )  # fmt: skip


def mean_ranks(scores: Floats) -> Floats:
    """(K,) mean ranks of (N, K) scores; the highest has rank 1, ties share their mean rank. NaN without a block."""
    if not len(scores):
        return np.full(scores.shape[1], np.nan)
    return np.asarray(stats.rankdata(-scores, axis=1).mean(0))


def friedman_test(scores: Floats) -> tuple[float, float]:
    """Friedman's statistic of (N, K) scores, corrected for ties, and its p value; NaN for N < 2, K < 3 or all tied."""
    blocks, names = scores.shape
    if blocks < 2 or names < 3 or bool((scores == scores[:, :1]).all()):
        return math.nan, math.nan
    statistic, p = stats.friedmanchisquare(*scores.T)
    return float(statistic), float(p)


def critical_difference(names: int, blocks: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 %, q sqrt(K (K + 1) / 6 N); NaN below 2 blocks."""
    if blocks < 2:
        return math.nan
    q = float(stats.studentized_range.ppf(1 - LEVEL, names, np.inf)) / math.sqrt(2)
    return q * math.sqrt(names * (names + 1) / (6 * blocks))


def nemenyi(means: Floats, blocks: int) -> Floats:
    """(K, K) p values of Nemenyi's test of (K,) mean ranks over N blocks; NaN below 2 blocks."""
    names = len(means)
    if blocks < 2:
        return np.full((names, names), np.nan)
    q = np.abs(means[:, None] - means) / math.sqrt(names * (names + 1) / (6 * blocks))
    values, index = np.unique(np.round(q, 12), return_inverse=True)
    return np.asarray(stats.studentized_range.sf(values * math.sqrt(2), names, np.inf))[index.reshape(q.shape)]


def cliques(names: tuple[str, ...], means: Floats, distance: float) -> tuple[tuple[str, ...], ...]:
    """Largest groups of two or more neighbours whose (rising) mean ranks lie within `distance`."""
    found: list[tuple[int, int]] = []
    for start in range(len(names)):
        end = max((i for i in range(start, len(names)) if means[i] - means[start] <= distance), default=start)
        if end > start and not (found and found[-1][1] >= end):
            found.append((start, end))
    return tuple(names[start : end + 1] for start, end in found)


def _reading(blocks: Blocks, tested: int) -> str:
    if tested < 2:
        return "a description of the trainings made: there are too few complete units for a test"
    limits = ["one test part, so not to other patients"]
    if blocks.one_pretraining:
        limits.append("one pre-training each where there is one, so not to other pre-trainings")
    if blocks.shared_seeds:
        limits.append("blocks that share labelled images, so with p values that may be too small")
    return f"other trainings of the same kind; they rest on {'; on '.join(limits)}"
