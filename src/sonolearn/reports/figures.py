"""Figures of the report as SVG, readable in print and by the colour-blind (Okabe & Ito's palette, markers differ)."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

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


WIDTH = 180.0
"""Width of every figure in mm: what an A4 page leaves between its margins."""

DOTS = 200
"""Dots per inch of PNG files."""

SMALL, TEXT = 7.0, 7.5
"""Sizes of text in pt, as printed: numbers within panels, and all else."""

ROOM = 60.0
"""The most that the name of an initialisation may be wide beside a panel, mm."""

SOFT = "#5b6675"
PAGE_STYLE: Any = {
    **STYLE,
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": TEXT,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.linewidth": 0.6,
    "axes.titlepad": 3.5,
    "axes.titlelocation": "left",
}
LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))


@dataclass(frozen=True)
class Drawing:
    """A finished figure.

    Attributes:
        name: of its files, without an ending.
        svg: text of the SVG file.
        png: bytes of the PNG file, 200 dots per inch.
        alt: what it shows, for those who cannot see it.
        caption: how to read it.
    """

    name: str
    svg: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of an initialisation (or machine), the same in all figures; `fill` is of the marker."""

    colour: str
    marker: str
    line: Any
    fill: str


@dataclass(frozen=True)
class Grid:
    """Where panels stand, in mm.

    Attributes:
        panel: height of a panel.
        left: room on the left of the figure.
        right: room on its right.
        top: room above.
        bottom: room below.
        across: room between columns.
        down: room between rows.
    """

    panel: float
    left: float = 12
    right: float = 2
    top: float = 6
    bottom: float = 10
    across: float = 4
    down: float = 8


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each name; all differ in colour or marker, and after eight names also in line and filling."""
    found = {}
    for number, name in enumerate(dict.fromkeys(names)):
        turn, place = divmod(number, len(COLOURS))
        colour = COLOURS[place]
        marker = MARKERS[(place + 3 * turn) % len(MARKERS)]
        found[name] = Look(colour, marker, LINES[turn % len(LINES)], "white" if turn % 2 else colour)
    return found


def panels(rows: int, columns: int, grid: Grid, count: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure 180 mm wide with `count` panels, row by row; to be used within `mpl.rc_context(PAGE_STYLE)`.

    Columns are counted even where fewer panels are drawn, so that panels of several figures have equal sizes.
    """
    height = grid.top + grid.bottom + rows * grid.panel + (rows - 1) * grid.down
    width = (WIDTH - grid.left - grid.right - (columns - 1) * grid.across) / columns
    figure = Figure(figsize=(WIDTH / 25.4, height / 25.4), dpi=DOTS)
    axes = []
    for number in range(rows * columns if count is None else count):
        row, column = divmod(number, columns)
        x = grid.left + column * (width + grid.across)
        y = height - grid.top - row * (grid.panel + grid.down) - grid.panel
        axes.append(figure.add_axes((x / WIDTH, y / height, width / WIDTH, grid.panel / height)))
    return figure, axes


def finish(figure: Figure, name: str, alt: str, caption: str) -> Drawing:
    """The figure as SVG and PNG, without date or program, so that equal results give equal files."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DOTS, metadata={"Software": None})
    return Drawing(name, as_svg(figure), png.getvalue(), alt, caption)


def drawing_style() -> Any:
    """The context in which all figures of the page are drawn."""
    return mpl.rc_context(PAGE_STYLE)


def spread(wanted: NDArray[np.float64], gap: float, low: float, high: float) -> NDArray[np.float64]:
    """Places for labels, as near as possible (least squares) to where they belong, none nearer to the next than `gap`.

    Args:
        wanted: (n,) where the labels belong, in any order.
        gap: least distance of two labels.
        low: lowest place.
        high: highest place; labels that do not fit between stand as close as they must.

    Returns:
        (n,) places in the order of `wanted`, which they keep.
    """
    order = np.argsort(wanted, kind="stable")
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    steps = gap * np.arange(len(wanted))
    fitted = np.asarray(isotonic_regression(wanted[order] - steps).x, np.float64)
    places = np.clip(fitted, low, high - steps[-1]) + steps
    found = np.empty_like(places)
    found[order] = places
    return found


def numbers(axes: Axes, places: NDArray[np.float64], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Many short texts at once, centred on (n, 2) places in data units: one object, drawn ten times as fast."""
    paths = [_number(text) for text in texts]
    drawn = PathCollection(paths, offsets=places, offset_transform=axes.transData, facecolors=colours, linewidths=0)
    drawn.set_transform(Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans)
    axes.add_collection(drawn, autolim=False)


@cache
def _number(text: str) -> Path:
    """The outline of a text in pt, its middle at 0."""
    outline = TextPath((0, 0), text, size=SMALL, prop=FontProperties(family=["sans-serif"], size=SMALL))
    low, high = outline.get_extents().get_points()
    return Path(outline.vertices - (low + high) / 2, outline.codes)


@cache
def text_width(text: str, size: float) -> float:
    """How wide a text of `size` pt is drawn, mm."""
    outline = TextPath((0, 0), text, size=size, prop=FontProperties(family=["sans-serif"], size=size))
    return float(outline.get_extents().width) * 25.4 / 72


def shortened(text: str, size: float, room: float) -> str:
    """The text where it is at most `room` mm wide; else both its ends: what tells names apart is often the last."""
    if text_width(text, size) <= room:
        return text
    cut = [f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}" for kept in range(len(text))]
    return cut[max(bisect_right(cut, room, key=lambda shorter: text_width(shorter, size)) - 1, 0)]


def end_labels(axes: Axes, labels: Sequence[tuple[str, float, str]], size: float = SMALL) -> None:
    """Names at the right of a panel, each beside the end of its line, never over one another.

    Args:
        axes: the panel; its limits are final.
        labels: text, height in data units, colour.
        size: of the text, pt.
    """
    if not labels:
        return
    low, high = axes.get_ylim()
    panel = axes.get_position().height * axes.figure.get_figheight() * 72  # type: ignore[union-attr]
    shares = np.array([(y - low) / (high - low) for _, y, _ in labels])
    places = spread(shares, 1.12 * size / panel, -0.02, 1.02)
    for (text, _, colour), share, place in zip(labels, shares, places, strict=True):
        axes.plot([1, 1.035], [share, place], color=colour, lw=0.7, transform=axes.transAxes, clip_on=False)
        axes.text(1.045, place, text, fontsize=size, color=readable(colour), va="center", transform=axes.transAxes)


def readable(colour: str) -> str:
    """A colour for text: the same hue, darkened until it stands out on white (contrast of 4.5 to 1, WCAG 2.1)."""
    channels = np.array(mpl.colors.to_rgb(colour))
    while 1.05 / (_luminance(channels) + 0.05) < 4.5:
        channels = channels * 0.94
    return str(mpl.colors.to_hex(tuple(channels)))


def _luminance(channels: NDArray[np.float64]) -> float:
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def fraction_axis(axes: Axes, fractions: Sequence[float], below: Sequence[str] | None = None) -> None:
    """A logarithmic axis with a tick a label fraction in per cent, and a text below each."""
    texts = [f"{100 * f:g}" for f in fractions]
    if below is not None:
        texts = [f"{text}\n{more}" for text, more in zip(texts, below, strict=True)]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(fractions)))
    axes.set_xticks(list(fractions), texts)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(fractions) / 1.3, max(fractions) * 1.3)
    axes.grid(visible=False, axis="x")
