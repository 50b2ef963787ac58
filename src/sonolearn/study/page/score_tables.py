"""The big tables: a row an initialisation, a column a label fraction, one table an encoder and mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from sonolearn.planes.tables import mean_sd
from sonolearn.study.page.tables import MARKS, Cell, Table
from sonolearn.study.page.wording import NARROW, interval, percent_label, span
from sonolearn.study.words import signed

WIDEST = 6
"""Label fractions side by side; more give another table."""


def score_tables(scores: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Macro F1 of one encoder and mode: mean ± SD, below it the interval over patients; the best are marked.

    Args:
        scores: `Analysis.scores` of the encoder and mode.
        names: initialisations in their order.
        title: of the encoder and mode.
        name: of the file.
    """
    told = (
        f" {MARKS['best']}: highest mean of the column; {MARKS['equal']}: no difference from that is shown (paired, "
        "corrected for all pairs and fractions)."
        if (scores["mark"] != "").any()
        else ""
    )
    caption = (
        f"{title}: macro F1 of the test part, mean ± SD over independent trainings (pre-trainings, or seeds where the "
        f"encoder is a fixed one). Below: 95 % bootstrap interval of the mean over test patients.{told}"
    )
    return list(_grids(scores, names, caption, name, _score_head, _score))


def _score_head(rows: pd.DataFrame) -> Cell:
    patients = span(rows["train_patients_least"].min(), rows["train_patients_most"].max())
    images = int(rows["train_images"].max())
    return Cell(percent_label(float(rows["fraction"].iloc[0])), f"{images} images of {patients} patients")


def _score(row: dict[str, Any]) -> Cell:
    text = mean_sd(row["mean"], row["sd"]).replace(" ", NARROW)
    return Cell(text, interval(row["low"], row["high"]), row["mark"])


def gain_tables(gains: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Differences from one baseline of one encoder and mode; those that are shown are marked."""
    baseline = gains["other"].iloc[0]
    caption = (
        f"{title}: paired difference in macro F1 from {baseline}. Below: 95 % interval for other trainings and other "
        f"test patients, not corrected. {MARKS['best']}: shown at 5 % after Holm's correction."
    )
    here = gains[gains["fraction"].notna()]
    return list(
        _grids(here, names, caption, name, lambda rows: Cell(percent_label(float(rows["fraction"].iloc[0]))), _gain)
    )


def _gain(row: dict[str, Any]) -> Cell:
    ends = f"{signed(row['low'])} to {signed(row['high'])}" if row["low"] == row["low"] else ""
    return Cell(signed(row["mean"]), ends, "best" if row["shown"] else "")


def error_tables(errors: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Expected calibration error of one encoder and mode."""
    caption = (
        f"{title}: expected calibration error (15 bins of equal width; Guo et al., ICML 2017) of the predictions of "
        "all seeds together: 0 where a classifier is as often right as it says. Below: Brier score, 0 to 2, lower is "
        "better."
    )
    return list(
        _grids(
            errors, names, caption, name,
            lambda rows: Cell(percent_label(float(rows["fraction"].iloc[0]))),
            lambda row: Cell(f"{row['ece']:.3f}", f"{row['brier']:.3f}"),
        )
    )  # fmt: skip


def _grids(frame: pd.DataFrame, names: Sequence[str], caption: str, name: str, head: Any, cell: Any) -> Iterator[Table]:
    fractions = sorted(set(frame["fraction"]))
    cells = {(row["initialisation"], row["fraction"]): cell(row) for row in frame.to_dict("records")}
    present = [known for known in names if (frame["initialisation"] == known).any()]
    for start in range(0, len(fractions), WIDEST):
        part = fractions[start : start + WIDEST]
        columns = [head(frame[frame["fraction"] == fraction]) for fraction in part]
        rows = [[Cell(known), *(cells.get((known, fraction), Cell("")) for fraction in part)] for known in present]
        suffix = f"_{start // WIDEST + 1}" if len(fractions) > WIDEST else ""
        yield Table(name + suffix, caption, [Cell("Initialisation"), *columns], rows)
