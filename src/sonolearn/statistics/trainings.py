"""The downstream trainings of a study, each with its macro F1 on the same redrawn test patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.planes.metrics import Floats, macro_f1_of

CELL = ["encoder", "initialisation", "pool", "mode", "fraction"]
COUNTS = ["train_images", "train_patients", "test_images", "test_patients"]
COLUMNS = [*CELL, "run", "pretrain_seed", "seed", "macro_f1", *COUNTS]
DRAWS = 2000
_CHUNK = 32  # trainings redrawn at once: 2000 draws of 5 x 5 matrices of as many take 13 MB


@dataclass(frozen=True)
class Setting:
    """What may be compared: initialisations of one encoder and mode, on one pool or without a pool.

    Attributes:
        encoder: name of the backbone.
        mode: finetune, linear or knn.
        pool: the pool that the pre-trainings saw; "" where the study has none for this encoder and mode.
        rows: (n,) rows of `Trainings.table`: those of the pool, and those that need no pool.
    """

    encoder: str
    mode: str
    pool: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Trainings:
    """All trainings that have a result.

    Attributes:
        table: (R rows) the columns given, row numbers 0 to R - 1 as index; `pretrain_seed` is a float, NaN where the
            encoder is a fixed one; `name` is the initialisation, with its pool where several are compared.
        macro_f1: (R,) macro F1 of each on the test part, 0 to 1.
        drawn: (R, draws) the same on redrawn test patients, the same draws for all.
        patients: P, the number of test patients.
        left_out: rows given that have no macro F1 or no confusion matrices.
    """

    table: pd.DataFrame
    macro_f1: Floats
    drawn: Floats
    patients: int
    left_out: int

    def settings(self) -> Iterator[Setting]:
        """Each encoder, mode and pool; initialisations without a pool belong to all of them."""
        for (encoder, mode), group in self.table.groupby(["encoder", "mode"], sort=True):
            for pool in sorted(set(group["pool"]) - {""}) or [""]:
                rows = group.index[group["pool"].isin([pool, ""])].to_numpy(np.int64)
                yield Setting(str(encoder), str(mode), pool, rows)


def gather(runs: pd.DataFrame, confusions: Mapping[str, Floats], draws: int = DRAWS, seed: int = 0) -> Trainings:
    """Check the results of a study and redraw its test patients once, for everything that follows.

    Args:
        runs: a row a training, with the columns `COLUMNS` (others are kept). Trainings that failed or are not yet run
            may be missing, or have no macro F1.
        confusions: of each run its (P, C, C) confusion matrices of the test patients, in the same order for all.
        draws: how often the test patients are redrawn.
        seed: of the draws, which are those of `bootstrap_macro_f1` with this seed.

    Raises:
        ValueError: a column is missing, a training is there twice, matrices differ in shape or belong to another run.
    """
    missing = sorted(set(COLUMNS) - set(runs.columns))
    if missing:
        raise ValueError(f"the table of runs lacks {', '.join(missing)}")
    table = runs[runs["macro_f1"].notna() & runs["run"].isin(list(confusions))]
    table = table.astype({"pretrain_seed": "Float64"}).sort_values([*CELL, "pretrain_seed", "seed"], ignore_index=True)
    table["pretrain_seed"] = table["pretrain_seed"].to_numpy(float, na_value=np.nan)
    if table.duplicated([*CELL, "pretrain_seed", "seed"]).any():
        raise ValueError("a cell holds two runs of the same seed and pre-training")
    table["name"] = _names(table)
    matrices = [confusions[run] for run in table["run"]]
    if len({matrix.shape for matrix in matrices}) > 1:
        raise ValueError("runs on different test patients or planes cannot be compared")
    macro_f1 = table["macro_f1"].to_numpy(float)
    if not np.allclose([macro_f1_of(matrix.sum(0)) for matrix in matrices], macro_f1, atol=1e-4):
        raise ValueError("the macro F1 of a run is not that of its confusion matrices")
    patients = len(matrices[0]) if matrices else 0
    return Trainings(table, macro_f1, _redrawn(matrices, draws, seed), patients, len(runs) - len(table))


def _redrawn(matrices: list[Floats], draws: int, seed: int) -> Floats:
    """(R, draws) macro F1; whole patients are drawn with replacement (Efron & Tibshirani 1993)."""
    drawn = np.empty((len(matrices), draws))
    if not matrices:
        return drawn
    patients, classes, _ = matrices[0].shape
    times = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=draws)
    for start in range(0, len(matrices), _CHUNK):
        chunk = np.stack(matrices[start : start + _CHUNK], axis=1).astype(float)
        counts = times @ chunk.reshape(patients, -1)
        drawn[start : start + _CHUNK] = macro_f1_of(counts.reshape(draws, -1, classes, classes)).T
    return drawn


def _names(table: pd.DataFrame) -> pd.Series[str]:
    """The initialisation; with its pool where the same encoder and mode has it on several."""
    pools = table.groupby(["encoder", "mode", "initialisation"])["pool"].transform("nunique")
    several = (pools > 1) & (table["pool"] != "")
    return table["initialisation"].where(~several, table["initialisation"] + " (" + table["pool"] + ")")


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
