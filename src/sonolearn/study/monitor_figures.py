"""The monitors of a pre-training over its optimiser steps, as small multiples in one SVG."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sonolearn.ssl.monitors import COLLAPSED_RANK, COLLAPSED_STD, MONITORS
from sonolearn.study.figures import COLOURS, MARKERS, STYLE, as_svg

LABELS = {
    "feature_std": "standard deviation",
    "effective_rank": "effective rank",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "knn_accuracy": "kNN accuracy",
}
"""How monitors are written in figures and lists."""

PANELS = (("feature_std",), ("effective_rank",), ("alignment", "uniformity"), ("knn_accuracy",))
LIMITS = {"feature_std": COLLAPSED_STD, "effective_rank": COLLAPSED_RANK}
LINE_STYLES = ("-", "--")


def monitored(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of the monitors, with a column for each that was ever measured; empty for runs of before there were any."""
    rows = metrics[metrics["part"] == "monitor"]
    present = [name for name in MONITORS if name in rows and rows[name].notna().any()]
    return rows[["step", *present]]


def monitor_curves(metrics: pd.DataFrame) -> str | None:
    """A panel a monitor, alignment and uniformity in one; None where nothing was monitored."""
    rows = monitored(metrics)
    panels = [[name for name in panel if name in rows] for panel in PANELS]
    panels = [panel for panel in panels if panel]
    if not panels:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 2.3), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)
        for axes, panel in zip(grid[0], panels, strict=True):
            _panel(axes, rows, panel)
        figure.supxlabel("optimiser step", fontsize=9.5, color=STYLE["axes.labelcolor"])
        return as_svg(figure)


def _panel(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    for number, name in enumerate(names):
        measured = rows[["step", name]].dropna()
        axes.plot(
            measured["step"], measured[name], LINE_STYLES[number], color=COLOURS[number], label=LABELS[name],
            marker=MARKERS[number], markersize=4, linewidth=1.6,
        )  # fmt: skip
    axes.set_title(" and ".join(LABELS[name] for name in names), fontsize=9.5, color=STYLE["axes.labelcolor"])
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(names) > 1:
        axes.legend(fontsize=8.5)
    elif names[0] == "knn_accuracy":
        axes.set_ylim(0, 1.05)
    elif names[0] in LIMITS:
        axes.set_ylim(0, 1.08 * max(2 * LIMITS[names[0]], rows[names[0]].max()))
        axes.axhline(LIMITS[names[0]], color="#6b7280", linestyle=":", linewidth=1.2)
