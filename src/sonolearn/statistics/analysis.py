"""All statistics of a study at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sonolearn.planes.metrics import Floats
from sonolearn.statistics.calibration import brier_score, expected_calibration_error, reliability
from sonolearn.statistics.comparisons import Comparison, against, all_pairs
from sonolearn.statistics.estimates import Cell, cells
from sonolearn.statistics.ranks import Ranks, Recommendation, ranks, recommendations
from sonolearn.statistics.trainings import DRAWS, Trainings, gather
from sonolearn.statistics.variance import PoolEffect, variance_and_size


@dataclass(frozen=True)
class Statistics:
    """What a study shows. `pandas.DataFrame` of any of the lists of dataclasses is a table.

    Attributes:
        trainings: the trainings that have a result.
        cells: a row a cell.
        pairs: all pairs of initialisations.
        ranks: of each encoder, mode and pool.
        recommendations: of each encoder, mode and pool.
        pools: variance against size; empty where pools do not allow it.
    """

    trainings: Trainings
    cells: list[Cell]
    pairs: list[Comparison]
    ranks: list[Ranks]
    recommendations: list[Recommendation]
    pools: list[PoolEffect]


def analyse(runs: pd.DataFrame, confusions: Mapping[str, Floats], draws: int = DRAWS, seed: int = 0) -> Statistics:
    """Everything, on the same redrawn test patients.

    Args:
        runs: a row a training; see `gather`. Where runs on a pool have `pool_patients` and `pool_frames`, variance is
            compared with size.
        confusions: the (P, C, C) matrices of each run.
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
        ranks(trainings),
        recommendations(trainings, pairs),
        variance_and_size(trainings),
    )


BASELINES = ("ImageNet", "random")
CELL = ["encoder", "mode", "initialisation", "fraction"]
OTHER_SCORES = ("balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class Analysis:
    """What the page shows of a study.

    Attributes:
        names: initialisations of the main comparison, in the order of the runs.
        settings: its encoders and modes, in the order of the runs.
        runs: its runs: those on all SSL data, and those without SSL.
        statistics: of these runs.
        scores: a row a cell: `Cell`'s fields, and `mark`: best (highest mean of its encoder, mode and fraction),
            equal (no difference from that is shown) or nothing.
        gains: a row a comparison with a baseline: `Comparison`'s fields.
        other_scores: a row a cell: mean and SD over runs of balanced_accuracy and accuracy.
        pools: a row a cell of the runs on pools, with patients, scans and frames; empty without pools.
        effects: what more patients, and what more frames bring, in the order of `settings`.
        errors: a row a cell: images, ece (expected calibration error) and brier (Brier score) of all seeds together.
        curves: reliability, a row a bin of each cell; empty, as `errors`, without probabilities.
    """

    names: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    runs: pd.DataFrame
    statistics: Statistics
    scores: pd.DataFrame
    gains: pd.DataFrame
    other_scores: pd.DataFrame
    pools: pd.DataFrame
    effects: list[PoolEffect]
    errors: pd.DataFrame
    curves: pd.DataFrame


def analysis_of(
    runs: pd.DataFrame, predictions: pd.DataFrame, planes: Sequence[str], baselines: Sequence[str] = BASELINES
) -> Analysis:
    """Run all statistics.

    Args:
        runs: `StudyResults.runs`, not empty.
        predictions: `StudyResults.predictions`.
        planes: the classes in order.
        baselines: initialisations that gains are told over.
    """
    confusions = confusions_by_run(predictions, planes)
    main = runs[runs["pool"] == ""] if (runs["pool"] == "").any() else runs
    pooled = runs.drop(main.index)
    statistics = analyse(main, confusions)
    names = tuple(dict.fromkeys(main["initialisation"]))
    gains = [one for name in baselines for one in against(statistics.trainings, name)]
    settings = tuple(dict.fromkeys(zip(main["encoder"], main["mode"], strict=True)))
    pools, effects = _pools(pooled, confusions, settings, names)
    errors, curves = _calibration(main, predictions, planes)
    return Analysis(
        names,
        settings,
        main,
        dataclasses.replace(statistics, pools=effects),
        in_order(_scores(statistics), settings, names),
        in_order(pd.DataFrame(gains, columns=_fields(Comparison)), settings, names),
        in_order(_other_scores(main), settings, names),
        pools,
        effects,
        errors,
        curves,
    )


def confusions_by_run(predictions: pd.DataFrame, planes: Sequence[str]) -> dict[str, Floats]:
    """(P, C, C) confusion matrices of the test patients of every run, the patients in the same order for all."""
    runs, names = pd.factorize(predictions["run"])
    patient, patients = pd.factorize(predictions["patient"], sort=True)
    index = pd.Index(planes)
    truth, predicted = (index.get_indexer(pd.Index(predictions[c].astype(object))) for c in ("plane", "predicted"))
    counts = np.zeros((len(names), len(patients), len(planes), len(planes)), np.float64)
    np.add.at(counts, (runs, patient, truth, predicted), 1)
    return {str(name): counts[number] for number, name in enumerate(names)}


def in_order(table: pd.DataFrame, settings: Sequence[tuple[str, str]], names: Sequence[str]) -> pd.DataFrame:
    """Rows in the order of settings, initialisations and label fractions."""
    place = {setting: number for number, setting in enumerate(settings)}
    setting = [place[key] for key in zip(table["encoder"], table["mode"], strict=True)]
    name = pd.Index(names).get_indexer(pd.Index(table["initialisation"]))
    keyed = table.assign(_setting=setting, _name=name).sort_values(["_setting", "_name", "fraction"], kind="stable")
    return keyed.drop(columns=["_setting", "_name"]).reset_index(drop=True)


def _scores(statistics: Statistics) -> pd.DataFrame:
    table = pd.DataFrame(statistics.cells, columns=_fields(Cell))
    shown = {
        (one.encoder, one.mode, one.fraction, frozenset((one.initialisation, one.other)))
        for one in statistics.pairs
        if one.shown
    }
    table["mark"] = ""
    for key, rows in table.groupby(["encoder", "mode", "fraction"]):
        if len(rows) > 1:
            best = int(rows["mean"].to_numpy(float).argmax())
            leader = rows["initialisation"].iloc[best]
            told = [(*key, frozenset((leader, name))) in shown for name in rows["initialisation"]]
            table.loc[rows.index[~np.array(told)], "mark"] = "equal"
            table.loc[rows.index[best], "mark"] = "best"
    return table


def _other_scores(main: pd.DataFrame) -> pd.DataFrame:
    scores = main.astype(dict.fromkeys(OTHER_SCORES, float)).groupby(CELL, sort=False)[list(OTHER_SCORES)]
    return scores.mean().join(scores.std().add_suffix("_sd")).reset_index()


def _pools(
    pooled: pd.DataFrame,
    confusions: Mapping[str, Floats],
    settings: Sequence[tuple[str, str]],
    names: Sequence[str],
) -> tuple[pd.DataFrame, list[PoolEffect]]:
    """Cells and effects in the order of the main comparison; what is on pools alone comes last."""
    if pooled.empty:
        return pd.DataFrame(), []
    trainings = gather(pooled, confusions)
    keys = ["encoder", "initialisation", "pool"]
    sizes = pooled.astype({f"pool_{what}": float for what in ("patients", "scans", "frames")}).groupby(keys)
    numbers = sizes[["pool_patients", "pool_scans", "pool_frames"]].mean().round().reset_index()
    table = pd.DataFrame(cells(trainings), columns=_fields(Cell)).merge(numbers, on=keys)
    whole = table.astype({f"pool_{what}": int for what in ("patients", "scans", "frames")})
    renamed = whole.rename(columns={f"pool_{what}": what for what in ("patients", "scans", "frames")})
    order = list(dict.fromkeys([*settings, *zip(pooled["encoder"], pooled["mode"], strict=True)]))
    effects = sorted(variance_and_size(trainings), key=lambda effect: order.index((effect.encoder, effect.mode)))
    return in_order(renamed, order, list(dict.fromkeys([*names, *pooled["initialisation"]]))), effects


def _calibration(
    main: pd.DataFrame, predictions: pd.DataFrame, planes: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors and curves of each cell, of the predictions of its seeds together."""
    columns = [f"p_{plane}" for plane in planes]
    known = predictions[predictions["run"].isin(main["run"]) & predictions[columns].notna().all(axis=1)]
    if known.empty:
        return pd.DataFrame(), pd.DataFrame()
    probabilities = known[columns].to_numpy(float)
    confidence, truth = probabilities.max(1), pd.Index(planes).get_indexer(pd.Index(known["plane"].astype(object)))
    right = (known["plane"].astype(object) == known["predicted"].astype(object)).to_numpy(bool)
    rows_of = known.groupby("run", observed=True).indices
    errors, curves = [], []
    for key, cell in main[main["run"].isin(list(rows_of))].groupby(CELL, sort=False):
        rows = np.concatenate([rows_of[run] for run in cell["run"]])
        curve, names = reliability(confidence[rows], right[rows]), dict(zip(CELL, key, strict=True))
        ece, brier = expected_calibration_error(curve), brier_score(probabilities[rows], truth[rows])
        errors.append({**names, "images": len(rows), "ece": ece, "brier": brier})
        curves.append(pd.DataFrame([names] * len(curve), index=curve.index).join(curve))
    return pd.DataFrame(errors), pd.concat(curves, ignore_index=True)


def _fields(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
