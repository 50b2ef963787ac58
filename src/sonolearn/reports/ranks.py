"""Mean ranks with their critical difference, as Demsar draws them (JMLR 7, 2006), labels in columns at the sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sonolearn.reports.figures import (  # fmt: skip
    DOTS,
    ROOM,
    SMALL,
    TEXT,
    WIDTH,
    Drawing,
    Look,
    drawing_style,
    finish,
    readable,
    shortened,
    text_width,
)
from sonolearn.statistics.ranks import Ranks

INK = "#1f2937"
LINE = 4.2
"""Height of a label, mm."""


def rank_figure(ranks: Mapping[str, Ranks], names: dict[str, Look], name: str) -> Drawing:
    """One scale below the other: best ranks on the left, a bar below the initialisations that are not told apart.

    Args:
        ranks: of each encoder and mode, by its title. Those that the test compares are drawn; without two complete
            units, those of the description.
        names: the look of each initialisation.
        name: of the file.
    """
    heights = [_height(one) for one in ranks.values()]
    total = sum(heights)
    with drawing_style():
        figure = Figure(figsize=(WIDTH / 25.4, total / 25.4), dpi=DOTS)
        top = total
        for (title, one), height in zip(ranks.items(), heights, strict=True):
            axes = figure.add_axes((0, (top - height) / total, 1, height / total))
            axes.set(xlim=(0, WIDTH), ylim=(height, 0))
            axes.axis("off")
            axes.text(0, 3, title, fontsize=TEXT, fontweight="bold", va="center")
            _scale(axes, one, names)
            top -= height
        return finish(
            figure,
            name,
            "Mean ranks of the initialisations; "
            + " ".join(f"{title}: {_in_words(one)}." for title, one in ranks.items()),
            "Mean ranks of the initialisations (1 is best), a rank an independent unit: of the mean macro F1 over "
            "label fractions. CD: critical difference of Nemenyi's test at 5 % (Demšar, JMLR 2006). Initialisations "
            "that share a thick bar are not told apart.",
        )


def drawn_ranks(ranks: Ranks) -> dict[str, float]:
    """Mean ranks by initialisation, the best first."""
    means = ranks.described if math.isnan(ranks.critical_difference) else ranks.tested
    found = {name: float(mean) for name, mean in zip(ranks.names, means, strict=True)}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _height(ranks: Ranks) -> float:
    return 21 + 2.0 * len(ranks.cliques) + LINE * math.ceil(len(ranks.names) / 2)


def _scale(axes: Axes, ranks: Ranks, names: dict[str, Look]) -> None:
    count, line = len(ranks.names), 14.0
    margin = 5 + max(text_width(text, TEXT) for text in _labels(ranks).values())
    left, right = margin, WIDTH - margin

    def place(rank: float) -> float:
        return left + (rank - 1) / (count - 1) * (right - left)

    axes.plot([left, right], [line, line], color=INK, lw=1)
    for rank in range(1, count + 1):
        axes.plot([place(rank)] * 2, [line - 1.2, line], color=INK, lw=0.8)
        axes.text(place(rank), line - 1.6, str(rank), fontsize=SMALL, ha="center", va="bottom")
    distance = ranks.critical_difference
    if not math.isnan(distance):
        _critical_difference(axes, distance, (left, place(min(1 + distance, count))), longer=distance > count - 1)
    for number, clique in enumerate(ranks.cliques):
        inside = [drawn_ranks(ranks)[name] for name in clique]
        ends = [place(min(inside)) - 0.8, place(max(inside)) + 0.8]
        axes.plot(ends, [line + 2.2 + 2.0 * number] * 2, color=INK, lw=2.6, solid_capstyle="butt")
    _names(axes, ranks, names, place, (left - 3, right + 3, line))


def _critical_difference(axes: Axes, distance: float, ends: tuple[float, float], *, longer: bool) -> None:
    """A bar with its length on the right, or within it where the figure ends."""
    axes.plot(ends, [7, 7], color=INK, lw=1.2, marker="|", markersize=5, markevery=[0] if longer else None)
    text = f"CD {distance:.2f}" + (", longer than the scale" if longer else "")
    if ends[1] + 2 + text_width(text, SMALL) < WIDTH - 1:
        axes.text(ends[1] + 2, 7, text, fontsize=SMALL, va="center")
    else:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axes.text((ends[0] + ends[1]) / 2, 7, text, fontsize=SMALL, ha="center", va="center", bbox=box)


def _labels(ranks: Ranks) -> dict[str, str]:
    """Each initialisation with its rank, as they stand at the sides: the better half on the left, the best first."""
    ordered = drawn_ranks(ranks)
    half, found = math.ceil(len(ordered) / 2), {}
    for number, (name, rank) in enumerate(ordered.items()):
        written = f"{rank:.2f}"
        short = shortened(name, TEXT, ROOM - text_width(f"  {written}", TEXT))
        found[name] = f"{short}  {written}" if number < half else f"{written}  {short}"
    return found


def _names(
    axes: Axes, ranks: Ranks, names: dict[str, Look], place: Callable[[float], float], ends: tuple[float, float, float]
) -> None:
    ordered, labels, line = list(drawn_ranks(ranks).items()), _labels(ranks), ends[2]
    half = math.ceil(len(ordered) / 2)
    for number, (name, rank) in enumerate(ordered):
        first = number < half
        # The better half hangs on the left, best on top; the other on the right, worst on top: lines never cross.
        row = number if first else len(ordered) - 1 - number
        height = line + 3.6 + 2.0 * len(ranks.cliques) + LINE * (row + 0.5)
        side, look, x = ends[0] if first else ends[1], names[name], place(rank)
        axes.plot([x, x, side], [line, height, height], color=look.colour, lw=0.8)
        axes.plot([x], [line], look.marker, color=look.colour, markerfacecolor=look.fill, markersize=4.4)
        axes.text(side + (-1 if first else 1), height, labels[name], fontsize=TEXT, va="center",
                  color=readable(look.colour), ha="right" if first else "left")  # fmt: skip


def _in_words(ranks: Ranks) -> str:
    return ", ".join(f"{name} {rank:.2f}" for name, rank in drawn_ranks(ranks).items())
