"""Reliability curves: how often a classifier is right when it is so confident, a panel an initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from sonolearn.study.page.canvas import SMALL, SOFT, Drawing, Grid, drawing_style, finish, panels
from sonolearn.study.page.wording import percent_label

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
