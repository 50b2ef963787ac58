"""Complete blocks of a setting: scores of all its initialisations on the same labels, a block an independent unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sonolearn.planes.metrics import Floats
from sonolearn.study.statistics.trainings import Setting, Trainings


@dataclass(frozen=True)
class Blocks:
    """Scores of K initialisations in N blocks at F fractions.

    A block is a pre-training where any initialisation has several, else a seed.

    Attributes:
        names: (K,) initialisations.
        fractions: (F,) label fractions at which all of them have a run, rising.
        scores: (N, F, K) mean macro F1 of the runs of a block, 0 to 1; NaN where there is none.
        drawn: (N, F, K, draws) the same on redrawn test patients.
        left_out: initialisations that have less than half of the scores of the fullest one.
        one_pretraining: initialisations that were pre-trained once.
        shared_seeds: whether blocks share seeds, hence labelled images.
    """

    names: tuple[str, ...]
    fractions: tuple[float, ...]
    scores: Floats
    drawn: Floats
    left_out: tuple[str, ...]
    one_pretraining: tuple[str, ...]
    shared_seeds: bool

    @property
    def whole(self) -> np.ndarray:
        """(N,) whether a block has all scores."""
        return np.asarray(np.isfinite(self.scores).all((1, 2)) & bool(self.names and self.fractions))

    @property
    def over_fractions(self) -> Floats:
        """(N', K) mean over fractions, of the N' whole blocks."""
        return np.asarray(self.scores[self.whole].mean(1)) if self.whole.any() else np.empty((0, len(self.names)))


def blocks_of(trainings: Trainings, setting: Setting, fraction: float | None = None) -> Blocks:
    """The blocks of a setting at all fractions, or at one."""
    table = trainings.table.loc[setting.rows, ["name", "fraction", "seed", "pretrain_seed"]]
    if fraction is not None:
        table = table[table["fraction"] == fraction]
    pretrainings = table.groupby("name")["pretrain_seed"].nunique()
    placed = _placed(table.assign(row=table.index), set(pretrainings.index[pretrainings > 1]))
    filled = placed.groupby("name")[["block", "fraction"]].apply(lambda group: len(group.drop_duplicates()))
    kept = filled.index[filled * 2 >= filled.max()]
    left_out = tuple(name for name in pretrainings.index if name not in set(kept))
    placed = placed[placed["name"].isin(kept)]
    at = placed.groupby("fraction")["name"].nunique()
    placed = placed[placed["fraction"].isin(at.index[at == len(kept)])]
    scores, drawn = _scores(trainings, placed, tuple(kept))
    spread = placed[["block", "seed"]].drop_duplicates()
    return Blocks(
        tuple(kept),
        tuple(sorted(set(placed["fraction"]))),
        scores,
        drawn,
        left_out,
        tuple(pretrainings.index[pretrainings == 1]),
        bool(spread["seed"].duplicated().any()),
    )


def _placed(table: pd.DataFrame, several: set[str]) -> pd.DataFrame:
    """The runs with their block; a run of a fixed encoder is in the blocks of all pre-trainings that used its seed."""
    if not several:
        return table.assign(block=table["seed"].astype(float))
    own = table["name"].isin(several)
    placed = table[own].assign(block=table.loc[own, "pretrain_seed"])
    seeds = placed[["seed", "block"]].drop_duplicates()
    return pd.concat([placed, table[~own].merge(seeds, on="seed")])


def _scores(trainings: Trainings, placed: pd.DataFrame, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Scores (N, F, K), and on redrawn patients (N, F, K, draws): both are means of the same runs."""
    block, blocks = pd.factorize(placed["block"], sort=True)
    fraction, fractions = pd.factorize(placed["fraction"], sort=True)
    shape = (len(blocks), len(fractions), len(names))
    name = pd.Index(names).get_indexer(pd.Index(placed["name"]))
    cell = (block * shape[1] + fraction) * shape[2] + name
    used, column = np.unique(placed["row"].to_numpy(np.int64), return_inverse=True)
    weights = np.zeros((int(np.prod(shape)), len(used)))
    np.add.at(weights, (cell, column), 1.0)
    with np.errstate(invalid="ignore"):
        weights /= weights.sum(1, keepdims=True)
    scores, drawn = weights @ trainings.macro_f1[used], weights @ trainings.drawn[used]
    return scores.reshape(shape), drawn.reshape(*shape, -1)
