"""Mean ranks of initialisations, Friedman's test, and how far ranks must lie apart (Demšar, JMLR 2006)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sonolearn.planes.metrics import Floats
from sonolearn.runs import generator_for
from sonolearn.statistics.comparisons import Comparison
from sonolearn.statistics.estimates import LEVEL
from sonolearn.statistics.trainings import Blocks, Setting, Trainings, blocks_of


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


@dataclass(frozen=True)
class Recommendation:
    """What the paired comparisons say about the choice in one encoder, mode and pool.

    Attributes:
        encoder: name of the backbone.
        mode: finetune, linear or knn.
        pool: the pool of those that have one.
        fraction: the smallest label fraction alone; None for all common fractions together.
        fractions: number of fractions behind it.
        names: (K,) initialisations, the highest mean first.
        means: (K,) mean macro F1 of the complete units, 0 to 1.
        first: (K,) share of redrawn studies in which each had the highest mean: test patients and units are redrawn
            with replacement at once. With few units this share is too sure of itself.
        units: complete independent units that were redrawn; with one, patients alone.
        candidates: the first of `names` and all that are not shown to be below it.
        decisive: where one candidate is left, its comparison with the one nearest below it.
        left_out: initialisations with too few runs to be considered.
        one_pretraining: initialisations that were pre-trained once: what is said holds for that encoder alone.
    """

    encoder: str
    mode: str
    pool: str
    fraction: float | None
    fractions: int
    names: tuple[str, ...]
    means: tuple[float, ...]
    first: tuple[float, ...]
    units: int
    candidates: tuple[str, ...]
    decisive: Comparison | None
    left_out: tuple[str, ...]
    one_pretraining: tuple[str, ...]


def recommendations(trainings: Trainings, pairs: list[Comparison]) -> list[Recommendation]:
    """For each encoder, mode and pool: all common fractions together, then the smallest of several alone.

    Args:
        trainings: the study.
        pairs: what `all_pairs` found in it.
    """
    return [answer for setting in trainings.settings() for answer in _in_setting(trainings, setting, pairs)]


def _in_setting(trainings: Trainings, setting: Setting, pairs: list[Comparison]) -> Iterator[Recommendation]:
    own = [pair for pair in pairs if (pair.encoder, pair.mode) == (setting.encoder, setting.mode)]
    fractions = sorted(set(trainings.table.loc[setting.rows, "fraction"]))
    for fraction in (None, fractions[0]) if len(fractions) > 1 else (None,):
        blocks = blocks_of(trainings, setting, fraction)
        if blocks.whole.any() and len(blocks.names) > 1:
            yield _recommendation(setting, blocks, [pair for pair in own if pair.fraction == fraction], fraction)


def _recommendation(
    setting: Setting, blocks: Blocks, pairs: list[Comparison], fraction: float | None
) -> Recommendation:
    means = blocks.over_fractions.mean(0)
    order = np.argsort(-means, kind="stable")
    names = tuple(blocks.names[index] for index in order)
    below = {name: comparison for name in names[1:] if (comparison := _shown_below(names[0], name, pairs))}
    candidates = tuple(name for name in names if name not in below)
    nearest = min(below.values(), key=lambda comparison: abs(comparison.mean), default=None)
    return Recommendation(
        setting.encoder,
        setting.mode,
        setting.pool,
        fraction,
        len(blocks.fractions),
        names,
        tuple(means[order].tolist()),
        tuple(share_first(blocks.drawn[blocks.whole].mean(1))[order].tolist()),
        int(blocks.whole.sum()),
        candidates,
        nearest if len(candidates) == 1 else None,
        blocks.left_out,
        blocks.one_pretraining,
    )


def _shown_below(leader: str, name: str, pairs: list[Comparison]) -> Comparison | None:
    """The comparison that shows `name` to be below the leader, if there is one."""
    for pair in pairs:
        higher, lower = (pair.initialisation, pair.other) if pair.mean > 0 else (pair.other, pair.initialisation)
        if pair.shown and (higher, lower) == (leader, name):
            return pair
    return None


def share_first(drawn: Floats) -> Floats:
    """(K,) share of draws in which each has the highest mean over redrawn units; ties are shared out.

    Args:
        drawn: (N, K, draws) scores of N units on redrawn test patients.
    """
    units, _, draws = drawn.shape
    times = generator_for("study", "redrawn units", units).multinomial(units, np.full(units, 1 / units), size=draws)
    means = np.einsum("bn,nkb->bk", times / units, drawn)
    first = means >= means.max(1, keepdims=True) - 1e-12
    return np.asarray((first / first.sum(1, keepdims=True)).mean(0))
