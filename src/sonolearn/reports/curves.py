"""Macro F1 against the label fraction: all initialisations in one panel, and each one alone against the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sonolearn.reports.figures import (  # fmt: skip  # fmt: skip
    COLOURS,
    LINES,
    MARKERS,
    SMALL,
    SOFT,
    Drawing,
    Grid,
    Look,
    drawing_style,
    end_labels,
    finish,
    fraction_axis,
    panels,
)
from sonolearn.reports.wording import compact, mode_title, percent_label, setting_title

ALONE_FROM = 5
"""From this number of initialisations on, each also gets a panel of its own: bands of many lines cover each other."""


def overview(scores: pd.DataFrame, names: dict[str, Look]) -> Drawing:
    """A panel a mode (rows) and encoder (columns; one encoder: two modes a row), a line an initialisation, bars of SD.

    Args:
        scores: `Analysis.scores`.
        names: the look of each initialisation.
    """
    encoders, modes = list(dict.fromkeys(scores["encoder"])), list(dict.fromkeys(scores["mode"]))
    cells = [(encoder, mode) for mode in modes for encoder in encoders]
    columns = min(2, len(cells))
    if len(encoders) > 2:
        cells = [(encoder, mode) for encoder in encoders for mode in modes]
    rows = math.ceil(len(cells) / columns)
    room = 6 + 1.22 * max(len(name) for name in names)
    grid = Grid(50, left=13, right=room, top=6, bottom=15, across=room + 4, down=21)
    with drawing_style():
        figure, drawn = panels(rows, columns, grid, len(cells))
        limits = common_limits(scores)
        for axes, (encoder, mode) in zip(drawn, cells, strict=True):
            here = scores[(scores["encoder"] == encoder) & (scores["mode"] == mode)]
            axes.set_ylim(*limits)
            _lines(axes, here, names)
            axes.set(title=setting_title(encoder, mode, len(encoders)))
            first = axes.get_position().x0 < 0.2
            axes.set_ylabel("macro F1" if first else "")
            axes.tick_params(labelleft=first)
        return finish(
            figure,
            "curves",
            f"Macro F1 against label fraction, a line for each of {len(names)} initialisations; "
            "the tables below hold its figures",
            "Macro F1 of the test part against the label fraction (logarithmic axis). Markers: mean; bars: ± SD over "
            "independent trainings. Under the axis: per cent of the labels, training images, and their patients (the "
            f"fewest of any run).{' The vertical axis does not start at 0.' if limits[0] > 0 else ''}",
        )


def _lines(axes: Axes, here: pd.DataFrame, names: dict[str, Look]) -> None:
    present = [name for name in names if (here["initialisation"] == name).any()]
    ends = []
    for number, name in enumerate(present):
        rows = here[here["initialisation"] == name].sort_values("fraction")
        look = names[name]
        # Lines are set a little apart, else bars of equal fractions would cover each other.
        places = rows["fraction"] * 1.03 ** (number - (len(present) - 1) / 2)
        axes.errorbar(
            places, rows["mean"], yerr=rows["sd"].fillna(0), color=look.colour, linestyle=look.line, linewidth=1.1,
            marker=look.marker, markersize=4.2, markerfacecolor=look.fill, markeredgecolor=look.colour,
            markeredgewidth=0.6, elinewidth=0.6,
        )  # fmt: skip
        ends.append((name, float(rows["mean"].iloc[-1]), look.colour))
    fractions, below = under_the_axis(here)
    fraction_axis(axes, fractions, below)
    axes.set_xlim(min(fractions) / 1.35, max(fractions) * 1.35)
    axes.text(-0.02, -0.035, "%\nimages\npatients", transform=axes.transAxes, ha="right", va="top", fontsize=SMALL,
              color=SOFT, linespacing=1.2)  # fmt: skip
    end_labels(axes, ends)


def each_alone(scores: pd.DataFrame, names: dict[str, Look], name: str) -> Drawing | None:
    """A panel an initialisation of one encoder and mode: its mean and band of SD in colour, all others in grey."""
    present = [known for known in names if (scores["initialisation"] == known).any()]
    if len(present) < ALONE_FROM:
        return None
    columns = 5 if len(present) > 4 else len(present)
    rows = math.ceil(len(present) / columns)
    fractions, _ = under_the_axis(scores)
    with drawing_style():
        figure, drawn = panels(rows, columns, Grid(27, left=11, top=5, bottom=9, across=3.5, down=9), len(present))
        limits = common_limits(scores)
        for number, (axes, chosen) in enumerate(zip(drawn, present, strict=True)):
            for other in present:
                line = scores[scores["initialisation"] == other].sort_values("fraction")
                if other != chosen:
                    axes.plot(line["fraction"], line["mean"], color="#cbd2da", lw=0.7)
            _alone(axes, scores[scores["initialisation"] == chosen].sort_values("fraction"), names[chosen])
            axes.set(title=chosen, ylim=limits)
            fraction_axis(axes, fractions, None)
            axes.set_xticks(fractions, _sparse(fractions))
            if number % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("macro F1")
        figure.supxlabel("per cent of the labels", fontsize=SMALL, y=0.01, color=SOFT)
        return finish(
            figure,
            name,
            f"Macro F1 against label fraction, each of {len(present)} initialisations in a panel of its own",
            "Each initialisation against all others (grey): mean (line) and ± SD over independent trainings (band).",
        )


def _alone(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    spread = rows["sd"].fillna(0)
    low, high = rows["mean"] - spread, rows["mean"] + spread
    axes.fill_between(rows["fraction"], low, high, color=look.colour, alpha=0.25, linewidth=0)
    axes.plot(
        rows["fraction"], rows["mean"], color=look.colour, linestyle=look.line, linewidth=1.3, marker=look.marker,
        markersize=3.6, markerfacecolor=look.fill, markeredgecolor=look.colour, markeredgewidth=0.7,
    )  # fmt: skip


def under_the_axis(scores: pd.DataFrame) -> tuple[list[float], list[str]]:
    """Label fractions, rising, and below each its training images and the fewest patients of any run."""
    found = scores.groupby("fraction").agg(images=("train_images", "max"), patients=("train_patients_least", "min"))
    texts = [f"{compact(images)}\n{int(patients)}" for images, patients in found.itertuples(index=False, name=None)]
    return [float(fraction) for fraction in found.index], texts


def common_limits(scores: pd.DataFrame) -> tuple[float, float]:
    """One axis for all panels that are compared: a round number below every bar, and one above."""
    spread = scores["sd"].fillna(0)
    lowest, highest = float((scores["mean"] - spread).min()), float((scores["mean"] + spread).max())
    return max(0.0, math.floor((lowest - 0.02) * 10) / 10), min(1.01, math.ceil((highest + 0.02) * 20) / 20)


def _sparse(fractions: Sequence[float]) -> list[str]:
    """Ticks that fit under a narrow panel: a fraction less than a third of a decade above the last stays without."""
    texts, last = [], -np.inf
    for fraction in fractions:
        shown = math.log10(fraction) - last > 0.33
        texts.append(f"{100 * fraction:g}" if shown else "")
        last = math.log10(fraction) if shown else last
    return texts


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
