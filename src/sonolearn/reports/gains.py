"""What an initialisation gains over a baseline at each label fraction: dots with intervals, one baseline a figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sonolearn.reports.figures import (  # fmt: skip
    DOTS,
    ROOM,
    SMALL,
    SOFT,
    TEXT,
    WIDTH,
    Drawing,
    Look,
    drawing_style,
    finish,
    shortened,
    text_width,
)
from sonolearn.reports.wording import mode_title, percent_label

ROW, GAP, TITLE = 3.5, 2.5, 4.0
"""Height of a row of dots, room between columns, and the line that a mode's title has to itself, mm."""


@dataclass(frozen=True)
class Scale:
    """Differences as places: `reach` on either side of 0 fills a column of `width` mm that begins at `left`."""

    left: float
    width: float
    reach: float

    def at(self, value: float) -> float:
        """Place in mm; what lies outside of the column stands at its edge."""
        return self.left + self.width * (min(max(value / self.reach, -1), 1) + 1) / 2


def gain_figure(gains: pd.DataFrame, names: dict[str, Look], name: str) -> Drawing:
    """Modes as blocks of rows, label fractions as columns, an initialisation a row.

    Args:
        gains: `Analysis.gains` of one encoder and baseline; a fraction of NaN is all fractions together.
        names: the look of each initialisation.
        name: of the file.
    """
    modes, fractions = list(dict.fromkeys(gains["mode"])), sorted(set(gains["fraction"].dropna()))
    rows = [known for known in names if (gains["initialisation"] == known).any()]
    columns = [*fractions, math.nan] if len(fractions) > 1 else fractions
    labels = [shortened(known, SMALL, ROOM) for known in rows]
    left = 4 + max(text_width(label, SMALL) for label in labels)
    width, reach = (WIDTH - left - 1 - GAP * (len(columns) - 1)) / len(columns), reach_of(gains)
    block = TITLE + ROW * len(rows) + 8.5
    height, baseline = 4 + block * len(modes) + 5, gains["other"].iloc[0]
    with drawing_style():
        # One axes in mm: an axes a panel would take five times as long to draw.
        figure = Figure(figsize=(WIDTH / 25.4, height / 25.4), dpi=DOTS)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.axis("off")
        for row, mode in enumerate(modes):
            top = 4 + TITLE + block * row
            axes.text(0, top - TITLE - 1, mode_title(mode), fontsize=TEXT, fontweight="bold", va="center")
            for number, label in enumerate(labels):
                axes.text(left - 2, top + ROW * (number + 0.75), label, fontsize=SMALL, ha="right", va="center")
            for column, fraction in enumerate(columns):
                scale = Scale(left + column * (width + GAP), width, reach)
                at = gains["fraction"].isna() if math.isnan(fraction) else gains["fraction"] == fraction
                _column(
                    axes,
                    scale,
                    (top, top + ROW * len(rows) + 1),
                    "together" if math.isnan(fraction) else percent_label(fraction),
                )
                for found in gains[(gains["mode"] == mode) & at].to_dict("records"):
                    place = top + ROW * (rows.index(found["initialisation"]) + 0.75)
                    _dot(axes, scale, place, found, names[found["initialisation"]])
        axes.text(
            left + (WIDTH - left) / 2, height - 2, f"difference in macro F1 from {baseline}", ha="center", va="center"
        )
        return finish(
            figure,
            name,
            f"Difference in macro F1 from {baseline} of each initialisation at each label fraction; the tables below "
            "hold its figures",
            f"Paired difference in macro F1 from {baseline} at each label fraction (per cent of the labels) and at all "
            "together, with its 95 % interval for other trainings and other test patients. Filled: shown at 5 % after "
            "Holm's correction; hollow: not shown. Right of 0 is better. An arrow: the interval goes on.",
        )


def reach_of(gains: pd.DataFrame) -> float:
    """A round number beyond every difference and most ends: an interval of two pre-trainings may be as wide as 1."""
    ends = np.abs(gains[["low", "high"]].to_numpy(float)).ravel()
    means = np.abs(gains["mean"].dropna().to_numpy(float))
    wanted = max([0.02, 1.1 * means.max(initial=0), *np.nanquantile(ends, [0.9])] if np.isfinite(ends).any() else
                 [0.02, 1.1 * means.max(initial=0)])  # fmt: skip
    return float(next(step for step in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0) if step >= min(wanted, 2)))


def _column(axes: Axes, scale: Scale, ends: tuple[float, float], title: str) -> None:
    """Title, the line of no difference, and ticks at half of the reach."""
    axes.text(scale.at(0), ends[0] - 1, title, fontsize=SMALL, color=SOFT, ha="center", va="center")
    for value in (-scale.reach / 2, 0.0, scale.reach / 2):
        colour, width = ("#374151", 0.8) if value == 0 else ("#e5e7eb", 0.6)
        axes.plot([scale.at(value)] * 2, ends, color=colour, lw=width, zorder=1)
        if value >= 0:
            axes.text(
                scale.at(value), ends[1] + 0.6, f"{value:g}", fontsize=SMALL, ha="center", va="top", color="#374151"
            )
    axes.plot([scale.at(-scale.reach), scale.at(scale.reach)], [ends[1]] * 2, color="#6b7280", lw=0.6)


def _dot(axes: Axes, scale: Scale, place: float, row: dict[str, Any], look: Look) -> None:
    if not math.isnan(row["low"]):
        axes.plot([scale.at(row["low"]), scale.at(row["high"])], [place] * 2, color=look.colour, lw=1.1,
                  solid_capstyle="butt")  # fmt: skip
        for end, arrow in ((row["low"], "<"), (row["high"], ">")):
            if abs(end) > scale.reach:
                axes.plot([scale.at(end)], [place], arrow, color=look.colour, markersize=3, markeredgewidth=0)
    if not math.isnan(row["mean"]):
        axes.plot(
            [scale.at(row["mean"])], [place], look.marker, color=look.colour, markersize=4.4, markeredgewidth=0.9,
            markerfacecolor=look.colour if row["shown"] else "white",
        )  # fmt: skip
