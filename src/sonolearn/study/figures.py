"""Figures of the report as SVG, readable in print and by the colour-blind (Okabe & Ito's palette, markers differ)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from sonolearn.study.read import ClassifyRun

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.labelcolor": "#1f2937",
    "xtick.color": "#374151",
    "ytick.color": "#374151",
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "sonolearn",
    "text.parse_math": False,  # names of classes may hold dollar signs
}


def label_curves(runs: Sequence[ClassifyRun], styles: dict[str, int], floor: float) -> str:
    """Macro F1 against label fraction (logarithmic), a line an initialisation: mean, SD, each seed as a dot.

    Args:
        runs: of one store and mode.
        styles: number of the colour and marker of each name, the same in all figures of a page.
        floor: lower end of the axis, the same in all figures that are compared.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        images = {f: int(n) for run in runs for f, n in zip(run.fractions, run.summary["train_images"], strict=True)}
        for number, run in enumerate(runs):
            # Lines are set a little apart, else bars of equal fractions would cover each other.
            shift = 1.035 ** (number - (len(runs) - 1) / 2)
            _label_curve(axes, run, styles[run.name], shift)
        axes.set_xscale("log")
        axes.set_xticks(sorted(images), [f"{100 * f:g} %\n{images[f]}" for f in sorted(images)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlim=(min(images) / 1.25, max(images) * 1.25), ylim=(floor, 1.01), ylabel="macro F1, test part")
        axes.set_xlabel("label fraction, and number of training images")
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside right upper", fontsize=9)
        return as_svg(figure)


def _label_curve(axes: Axes, run: ClassifyRun, style: int, shift: float) -> None:
    colour, marker = COLOURS[style % len(COLOURS)], MARKERS[style % len(MARKERS)]
    means, spread = run.summary["macro_f1_mean"], run.summary["macro_f1_sd"].fillna(0)
    fractions = np.array(run.fractions) * shift
    axes.errorbar(
        fractions, means, yerr=spread, label=run.name, color=colour, marker=marker, markersize=6.5, linewidth=1.6,
        capsize=3, elinewidth=1.1, markeredgecolor="white", markeredgewidth=0.7,
    )  # fmt: skip
    # The dots stand a little left of the bar, which would hide them.
    dots = run.results["fraction"] * shift / 1.03
    axes.scatter(dots, run.results["macro_f1"], s=12, color=colour, alpha=0.6, linewidths=0)


def lower_end(runs: Sequence[ClassifyRun]) -> float:
    """A round number, a multiple of 0.1, below every macro F1 and its bar."""
    bars = [(run.summary["macro_f1_mean"] - run.summary["macro_f1_sd"].fillna(0)).min() for run in runs]
    lowest = min([*bars, *(run.results["macro_f1"].min() for run in runs)])
    return max(0.0, float(np.floor((lowest - 0.02) * 10) / 10))


def training_curve(metrics: pd.DataFrame) -> str:
    """Training and validation loss of a pre-training against its optimiser steps."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for part, name, colour, line, marker in (
            ("train", "training frames", COLOURS[0], "-", ""),
            ("valid", "held-out patients", COLOURS[1], "--", "o"),
        ):
            rows = metrics[metrics["part"] == part]
            if len(rows):
                axes.plot(rows["step"], rows["loss"], line, color=colour, label=name, marker=marker, markersize=4)
        axes.set(xlabel="optimiser step", ylabel="SSL loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper right", fontsize=9)
        return as_svg(figure)


def as_svg(figure: Figure) -> str:
    """The figure as SVG text, without date or program, so that equal results give equal files."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # Paths are most of a page: a hundredth of a point is finer than any print.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text.getvalue())
