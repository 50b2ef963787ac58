"""Confusion matrices as small multiples: the share of each true plane, at the smallest and the largest fraction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonolearn.reports.figures import DOTS, SMALL, SOFT, WIDTH, Drawing, Grid, drawing_style, finish, numbers, panels
from sonolearn.reports.wording import percent_label, wrapped

GAP = 3.0
CELL = 4.6
"""Least width of a cell that a number of two digits fits into, mm."""


KEYS = ["encoder", "mode", "initialisation", "fraction"]


def confusion_table(runs: pd.DataFrame, predictions: pd.DataFrame, planes: Sequence[str]) -> pd.DataFrame:
    """Counts added over the seeds, a row a pair of planes.

    Args:
        runs: the runs whose predictions are counted: run, encoder, mode, initialisation, fraction.
        predictions: run, plane, predicted.
        planes: the classes in order.

    Returns:
        encoder, mode, initialisation, fraction, plane, predicted, images, share (of the true plane; NaN without any).
    """
    cells = runs.groupby(KEYS, sort=False).ngroup().to_numpy(np.int64)
    size = len(planes)
    counts = np.zeros((int(cells.max()) + 1, size, size), np.int64)
    np.add.at(counts, cells, _counts(runs, predictions, planes))
    totals = counts.sum(2, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    table = runs.drop_duplicates(KEYS)[KEYS].reset_index(drop=True)
    table = table.loc[table.index.repeat(size * size)].reset_index(drop=True)
    table["plane"] = np.tile(np.repeat(np.array(planes, object), size), len(counts))
    table["predicted"] = np.tile(np.array(planes, object), size * len(counts))
    return table.assign(images=counts.ravel(), share=shares.ravel())


def plane_table(runs: pd.DataFrame, predictions: pd.DataFrame, planes: Sequence[str]) -> pd.DataFrame:
    """How well each plane is told: means over the runs of a cell. Arguments are those of `confusion_table`.

    Returns:
        encoder, mode, initialisation, fraction, plane, support (its test images), precision, recall, f1 (0 to 1; NaN
        without support), f1_sd (over runs; NaN for one).
    """
    counts = _counts(runs, predictions, planes)
    hits, truth, named = np.diagonal(counts, axis1=1, axis2=2), counts.sum(2), counts.sum(1)
    columns = {"support": truth, "precision": hits / np.maximum(named, 1), "recall": hits / np.maximum(truth, 1),
               "f1": 2 * hits / np.maximum(truth + named, 1)}  # fmt: skip
    table = runs[KEYS].loc[runs.index.repeat(len(planes))].reset_index(drop=True)
    table["plane"] = np.tile(np.array(planes, object), len(runs))
    table = table.assign(**{name: values.ravel() for name, values in columns.items()})
    table.loc[table["support"] == 0, ["precision", "recall", "f1"]] = np.nan
    cells = table.groupby([*KEYS, "plane"], sort=False)
    return cells[list(columns)].mean().assign(f1_sd=cells["f1"].std()).reset_index()


def _counts(runs: pd.DataFrame, predictions: pd.DataFrame, planes: Sequence[str]) -> NDArray[np.int64]:
    """(R, C, C) confusion matrices of the runs."""
    place = predictions["run"].astype(str).map({run: number for number, run in enumerate(runs["run"])})
    known, codes = predictions[place.notna()], {plane: i for i, plane in enumerate(planes)}
    truth, guess = (known[column].astype(str).map(codes).to_numpy(np.int64) for column in ("plane", "predicted"))
    counts = np.zeros((len(runs), len(planes), len(planes)), np.int64)
    np.add.at(counts, (place.dropna().to_numpy(np.int64), truth, guess), 1)
    return counts


def confusion_figure(table: pd.DataFrame, names: Sequence[str], planes: Sequence[str], name: str) -> Drawing:
    """Rows of matrices: the smallest fraction above the largest, a column an initialisation, five at most in a row."""
    present = [known for known in names if (table["initialisation"] == known).any()]
    ends = sorted(set(table["fraction"]))
    ends = ends if len(ends) == 1 else [ends[0], ends[-1]]
    columns = min(5, max(3, len(present)))
    left, below = (3 + 1.3 * max(len(plane) for plane in planes) for _ in range(2))
    side = (WIDTH - left - 1 - GAP * (columns - 1)) / columns
    lines = 1 + any(len(known) + 7 > side / 1.22 for known in present)
    step = side + 3 + 3 * lines
    rows = len(ends) * math.ceil(len(present) / columns)
    height = rows * step + below
    with drawing_style():
        # One axes in mm: an axes a matrix would take ten times as long to draw.
        figure = Figure(figsize=(WIDTH / 25.4, height / 25.4), dpi=DOTS)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.axis("off")
        for which, known in enumerate(present):
            block, column = divmod(which, columns)
            for end, fraction in enumerate(ends):
                here = table[(table["initialisation"] == known) & (table["fraction"] == fraction)]
                row = block * len(ends) + end
                corner = (left + column * (side + GAP), (row + 1) * step - side)
                title = wrapped(f"{known}, {percent_label(fraction)}", side / 1.22)
                axes.text(corner[0], corner[1] - 1, title, fontsize=SMALL, va="bottom")
                _matrix(axes, here, len(planes), corner, side)
                if column == 0:
                    _names(axes, planes, (corner[0] - 1, corner[1]), side / len(planes), upright=False)
                if row == rows - 1:
                    _names(axes, planes, (corner[0], corner[1] + side + 1), side / len(planes), upright=True)
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))  # imshow has changed them
        return finish(
            figure,
            name,
            f"Confusion matrices of {len(present)} initialisations at "
            f"{' and '.join(percent_label(end) for end in ends)} of the labels, in per cent of each true plane",
            "Rows: true plane; columns: predicted plane, in the same order. Per cent of the images of the true plane, "
            "counts added over the seeds; empty: below 0.5 %. At "
            f"{' and '.join(percent_label(end) for end in ends)} of the labels.",
        )


def _matrix(axes: Axes, here: pd.DataFrame, size: int, corner: tuple[float, float], side: float) -> None:
    x, y = corner
    if here.empty:
        axes.text(x + side / 2, y + side / 2, "not run", ha="center", va="center", fontsize=SMALL)
        return
    shares = np.nan_to_num(here["share"].to_numpy(float).reshape(size, size))
    # Lighter than the whole scale, so that a share of 1 still differs from black in print.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto", interpolation="nearest",
                extent=(x, x + side, y + side, y))  # fmt: skip
    cell = side / size
    for line in range(1, size):
        axes.plot([x, x + side], [y + line * cell] * 2, color="white", lw=0.6)
        axes.plot([x + line * cell] * 2, [y, y + side], color="white", lw=0.6)
    if cell >= CELL:
        rows, columns = np.nonzero(shares >= 0.005)
        texts = [f"{100 * share:.0f}" for share in shares[rows, columns]]
        colours = ["white" if share > 0.6 else "#1b2430" for share in shares[rows, columns]]
        numbers(axes, np.stack([x + (columns + 0.5) * cell, y + (rows + 0.5) * cell], axis=1), texts, colours)


def _names(axes: Axes, planes: Sequence[str], corner: tuple[float, float], cell: float, *, upright: bool) -> None:
    for number, plane in enumerate(planes):
        along = (number + 0.5) * cell
        if upright:
            axes.text(corner[0] + along, corner[1], plane, fontsize=SMALL, rotation=90, ha="center", va="top")
        else:
            axes.text(corner[0], corner[1] + along, plane, fontsize=SMALL, ha="right", va="center")


ENDS = (("#D55E00", "o", "-"), ("#0072B2", "s", (0, (4, 1.5))))
"""Colour, marker and line of the smallest and the largest label fraction."""
FEW = 10


def reliability_figure(curves: pd.DataFrame, names: Sequence[str], name: str) -> Drawing:
    """A panel an initialisation, a line for the smallest and one for the largest fraction.

    Args:
        curves: `Analysis.curves` of one encoder and mode.
        names: initialisations in their order.
        name: of the file.
    """
    present = [known for known in names if (curves["initialisation"] == known).any()]
    ends = sorted(set(curves["fraction"]))
    ends = ends if len(ends) == 1 else [ends[0], ends[-1]]
    columns = min(5, max(3, len(present)))
    rows = math.ceil(len(present) / columns)
    with drawing_style():
        figure, drawn = panels(rows, columns, Grid(29, left=11, top=10, bottom=9, across=3.5, down=9), len(present))
        for number, (axes, chosen) in enumerate(zip(drawn, present, strict=True)):
            axes.plot([0, 1], [0, 1], color="#9aa3af", lw=0.8)
            for end, (colour, marker, line) in zip(ends, ENDS, strict=False):
                bins = curves[(curves["initialisation"] == chosen) & (curves["fraction"] == end)]
                _line(axes, bins.sort_values("confidence"), colour, marker, line, f"{percent_label(end)} of the labels")
            axes.set(title=chosen, xlim=(0, 1.03), ylim=(0, 1.03))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_ticks([0, 0.5, 1], ["0", "0.5", "1"])
            if number % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("share right")
        figure.legend(*drawn[0].get_legend_handles_labels(), loc="upper left", ncols=2, borderaxespad=0.1)
        figure.supxlabel("confidence in the plane named", fontsize=SMALL, y=0.01, color=SOFT)
        return finish(
            figure,
            name,
            f"Share of right answers against confidence, a panel for each of {len(present)} initialisations",
            "On the grey line a classifier is as often right as it says; below it is too sure of itself. Predictions "
            f"of all seeds together, in bins of confidence; hollow: bins of fewer than {FEW} predictions.",
        )


def _line(axes: Axes, bins: pd.DataFrame, colour: str, marker: str, line: Any, label: str) -> None:
    """Bins of few images jump about and are not joined."""
    many, few = bins[bins["images"] >= FEW], bins[bins["images"] < FEW]
    style: Any = {"color": colour, "marker": marker, "markersize": 3, "lw": 1.1}
    axes.plot(many["confidence"], many["accuracy"], linestyle=line, label=label, **style)
    axes.plot(few["confidence"], few["accuracy"], linestyle="", markerfacecolor="white", **style)
