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
