"""Variance against size: what more patients and what more frames of the same patients bring, pool by pool."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sonolearn.study.figures import COLOURS, MARKERS
from sonolearn.study.page.canvas import (
    LINES,
    SMALL,
    SOFT,
    Drawing,
    Grid,
    drawing_style,
    end_labels,
    finish,
    panels,
)  # fmt: skip
from sonolearn.study.page.wording import compact, mode_title, percent_label


def size_figure(pools: pd.DataFrame) -> Drawing:
    """A panel a setting (initialisation, encoder, mode), columns the smallest and the largest fraction.

    Frames are on the axis, pools of as many patients share a line: climbing along a line is what more frames bring,
    the distance between lines what more patients bring.

    Args:
        pools: `Analysis.pools`.
    """
    settings = list(dict.fromkeys(zip(pools["initialisation"], pools["encoder"], pools["mode"], strict=True)))
    ends = sorted(set(pools["fraction"]))
    ends = ends if len(ends) == 1 else [ends[0], ends[-1]]
    cells = [(*setting, end) for setting in settings for end in ends]
    counts = sorted(set(pools["patients"]))
    several = [len({setting[i] for setting in settings}) > 1 for i in range(3)]
    columns = 2
    rows = math.ceil(len(cells) / columns)
    with drawing_style():
        figure, drawn = panels(rows, columns, Grid(31, left=13, right=19, bottom=11, across=32, down=11), len(cells))
        for number, (axes, cell) in enumerate(zip(drawn, cells, strict=True)):
            of_cell = (pools["initialisation"] == cell[0]) & (pools["encoder"] == cell[1]) & (pools["mode"] == cell[2])
            _panel(axes, pools[of_cell & (pools["fraction"] == cell[3])], counts)
            parts = [cell[0], *[cell[i] if i == 1 else mode_title(cell[i]).lower() for i in (1, 2) if several[i]]]
            axes.set_title(f"{', '.join(parts)}, {percent_label(cell[3])}")
            if number % columns == 0:
                axes.set_ylabel("macro F1")
            if number >= len(cells) - columns:
                axes.set_xlabel("frames of the pre-training", fontsize=SMALL, color=SOFT)
        return finish(
            figure,
            "variance_against_size",
            "Macro F1 against the number of frames of the pre-training, a line for each number of patients; "
            "pools.csv holds its figures",
            "Each marker is a pool of scans that an encoder was pre-trained on; bars: 95 % bootstrap interval over "
            "test patients. Along a line the patients stay as many and the frames grow; between lines the patients "
            "grow. Vertical axes differ.",
        )


def _panel(axes: Axes, here: pd.DataFrame, counts: Sequence[int]) -> None:
    frames = sorted(set(here["frames"]))
    ends = []
    for number, patients in enumerate(counts):
        line = here[here["patients"] == patients].sort_values("frames")
        if line.empty:
            continue
        colour = COLOURS[number % len(COLOURS)]
        places = line["frames"] * 1.04 ** (number - (len(counts) - 1) / 2)
        reach = np.maximum(np.array([line["mean"] - line["low"], line["high"] - line["mean"]]), 0)
        axes.errorbar(
            places, line["mean"], yerr=np.nan_to_num(reach), color=colour, marker=MARKERS[number % len(MARKERS)],
            linestyle=LINES[number % len(LINES)], lw=1.1, markersize=4.2, elinewidth=0.6, capsize=2,
        )  # fmt: skip
        ends.append((f"{patients} patient{'s' if patients > 1 else ''}", float(line["mean"].iloc[-1]), colour))
    if min(frames) > 0:
        axes.set_xscale("log")
        axes.set_xlim(min(frames) / 1.4, max(frames) * 1.4)
    axes.set_xticks(frames, [compact(count) for count in frames])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(visible=False, axis="x")
    end_labels(axes, ends)
