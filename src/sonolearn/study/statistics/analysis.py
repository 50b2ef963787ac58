"""All statistics of a study at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from sonolearn.planes.metrics import Floats
from sonolearn.study.statistics.comparisons import Comparison, against, all_pairs
from sonolearn.study.statistics.intervals import Cell, cells
from sonolearn.study.statistics.ranks import Ranks, ranks
from sonolearn.study.statistics.recommendation import Recommendation, recommendations
from sonolearn.study.statistics.trainings import DRAWS, Trainings, gather
from sonolearn.study.statistics.variance import PoolEffect, variance_and_size


@dataclass(frozen=True)
class Statistics:
    """What a study shows. `pandas.DataFrame` of any of the lists of dataclasses is a table.

    Attributes:
        trainings: the trainings that have a result.
        cells: a row a cell.
        pairs: all pairs of initialisations.
        against: each initialisation against the reference; empty without one.
        ranks: of each encoder, mode and pool.
        recommendations: of each encoder, mode and pool.
        pools: variance against size; empty where pools do not allow it.
    """

    trainings: Trainings
    cells: list[Cell]
    pairs: list[Comparison]
    against: list[Comparison]
    ranks: list[Ranks]
    recommendations: list[Recommendation]
    pools: list[PoolEffect]


def analyse(
    runs: pd.DataFrame, confusions: Mapping[str, Floats], reference: str = "", draws: int = DRAWS, seed: int = 0
) -> Statistics:
    """Everything, on the same redrawn test patients.

    Args:
        runs: a row a training; see `gather`. Where runs on a pool have `pool_patients` and `pool_frames`, variance is
            compared with size.
        confusions: the (P, C, C) matrices of each run.
        reference: the initialisation that all others are compared with; "" for none.
        draws: how often the test patients are redrawn.
        seed: of these draws.

    Raises:
        ValueError: as `gather`.
    """
    trainings = gather(runs, confusions, draws, seed)
    pairs = all_pairs(trainings)
    return Statistics(
        trainings,
        cells(trainings),
        pairs,
        against(trainings, reference) if reference else [],
        ranks(trainings),
        recommendations(trainings, pairs),
        variance_and_size(trainings),
    )
