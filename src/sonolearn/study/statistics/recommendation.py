"""Which initialisation to use: one, or those between which no difference is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sonolearn.planes.metrics import Floats
from sonolearn.runs import generator_for
from sonolearn.study.statistics.blocks import Blocks, blocks_of
from sonolearn.study.statistics.comparisons import Comparison
from sonolearn.study.statistics.trainings import Setting, Trainings


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
