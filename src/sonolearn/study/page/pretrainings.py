"""The pre-trainings of a study: their monitors as small multiples, a line a seed, and a table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sonolearn.pages import grouped
from sonolearn.study.figures import COLOURS, MARKERS
from sonolearn.study.monitor_figures import LABELS, LIMITS, monitored
from sonolearn.study.page.canvas import LINES, SMALL, SOFT, Drawing, Grid, drawing_style, finish, panels
from sonolearn.study.page.tables import Table, table_of
from sonolearn.study.page.wording import compact, wrapped
from sonolearn.study.read import PretrainRun
from sonolearn.study.words import duration

COLUMNS = 7
"""More panels side by side would be too narrow for their numbers."""


def pretraining_table(runs: pd.DataFrame, pretrained: Mapping[str, PretrainRun]) -> pd.DataFrame:
    """A row a pre-training that downstream runs started from, in their order.

    Returns:
        initialisation, encoder, pool, pretrain_seed, patients, scans, frames, steps, epochs, seconds, effective_rank,
        feature_std (NaN where not monitored), collapsed, pretrain (its hash).
    """
    rows = []
    for run in runs[runs["pretrain"].isin(list(pretrained))].drop_duplicates("pretrain").to_dict("records"):
        summary = pretrained[run["pretrain"]].summary
        monitors = summary.get("monitors", {})
        rows.append({
            "initialisation": run["initialisation"], "encoder": run["encoder"], "pool": run["pool"],
            "pretrain_seed": None if pd.isna(run["pretrain_seed"]) else int(run["pretrain_seed"]),
            **{name: summary[name] for name in ("patients", "scans", "frames", "steps", "epochs", "seconds")},
            **{name: monitors.get(name, np.nan) for name in ("effective_rank", "feature_std")},
            "collapsed": bool(summary.get("collapsed", False)), "pretrain": run["pretrain"],
        })  # fmt: skip
    return pd.DataFrame(rows)


def pretrainings_shown(table: pd.DataFrame) -> Table:
    """The table as the page shows it."""
    several = (table["pool"] != "").any()
    shown = pd.DataFrame({
        "Initialisation": table["initialisation"], "Encoder": table["encoder"],
        **({"Pool": table["pool"].replace("", "all frames")} if several else {}),
        "Seed": ["" if pd.isna(seed) else str(int(seed)) for seed in table["pretrain_seed"]],
        **{name.capitalize(): [grouped(int(n)) for n in table[name]] for name in ("patients", "frames", "steps")},
        "Time": [duration(float(seconds)) for seconds in table["seconds"]],
        "Effective rank": ["" if pd.isna(rank) else f"{rank:.1f}" for rank in table["effective_rank"]],
        "Collapsed": ["yes" if collapsed else "no" for collapsed in table["collapsed"]],
    })  # fmt: skip
    caption = (
        "Pre-trainings: the data they learnt from, their length, and the effective rank of the features at the end."
    )
    return table_of("pretrainings", caption, shown, 3 if several else 2)


def monitor_figures(table: pd.DataFrame, pretrained: Mapping[str, PretrainRun]) -> list[Drawing]:
    """A figure an encoder: monitors as rows, initialisations as columns (seven at most), lines the seeds.

    Args:
        table: rows of `pretraining_table` of one pool.
        pretrained: the pre-trainings by hash.
    """
    drawings: list[Drawing] = []
    for encoder, rows in table.groupby("encoder", sort=False):
        names = list(dict.fromkeys(rows["initialisation"]))
        for start in range(0, len(names), COLUMNS):
            part = names[start : start + COLUMNS]
            chosen = rows[rows["initialisation"].isin(part)]
            drawing = _figure(chosen, part, pretrained, f"monitors_{len(drawings) + 1}", str(encoder))
            drawings += [drawing] if drawing else []
    return drawings


def _figure(
    rows: pd.DataFrame, names: Sequence[str], pretrained: Mapping[str, PretrainRun], name: str, title: str
) -> Drawing | None:
    measured = {key: monitored(pretrained[key].metrics) for key in rows["pretrain"]}
    shown = [label for label in LABELS if any(label in frame for frame in measured.values())]
    if not shown:
        return None
    seeds = sorted(rows["pretrain_seed"].dropna().unique())
    limits = {label: _limits(label, measured) for label in shown}
    columns = max(len(names), 4)
    grid = Grid(19, left=15, top=12, bottom=9, across=2.5, down=3)
    with drawing_style():
        figure, drawn = panels(len(shown), columns, grid, len(shown) * columns)
        for number, axes in enumerate(drawn):
            row, column = divmod(number, columns)
            if column >= len(names):
                axes.remove()
                continue
            of_name = rows[rows["initialisation"] == names[column]]
            for pretrain, seed in zip(of_name["pretrain"], of_name["pretrain_seed"], strict=True):
                _line(axes, measured[pretrain], shown[row], 0 if pd.isna(seed) else seeds.index(seed), seed)
            axes.set_ylim(*limits[shown[row]])
            if shown[row] in LIMITS:
                axes.axhline(LIMITS[shown[row]], color="#6b7280", linestyle=":", lw=0.9)
            _ticks(axes, first=column == 0, last=row == len(shown) - 1)
            if row == 0:
                axes.set_title(wrapped(names[column], 15), fontsize=SMALL)
            if column == 0:
                axes.set_ylabel(LABELS[shown[row]].replace("standard deviation", "standard\ndeviation"), fontsize=SMALL)
        figure.supxlabel("optimiser step", fontsize=SMALL, y=0.008, color=SOFT)
        handles = dict(zip(*reversed(drawn[0].get_legend_handles_labels()), strict=True))
        if len(handles) > 1:
            figure.legend(
                list(handles.values()), list(handles), loc="upper right", ncols=len(handles), borderaxespad=0.1
            )
        return finish(
            figure, name,
            f"Monitors of the pre-trainings ({title}) against the optimiser step; the table holds the last figures",
            f"{title}. Monitors while the encoder learnt, a line a seed. Below a dotted line it counts as collapsed.",
        )  # fmt: skip


def _line(axes: Axes, frame: pd.DataFrame, label: str, number: int, seed: object) -> None:
    if label not in frame:
        return
    points = frame[["step", label]].dropna()
    axes.plot(
        points["step"], points[label], color=COLOURS[number % len(COLOURS)], linestyle=LINES[number % len(LINES)],
        marker=MARKERS[number % len(MARKERS)], markersize=2.4, lw=0.9, markevery=max(1, len(points) // 5),
        label=f"seed {seed}",
    )  # fmt: skip


def _limits(label: str, measured: Mapping[str, pd.DataFrame]) -> tuple[float, float]:
    values = np.concatenate([frame[label].dropna().to_numpy(float) for frame in measured.values() if label in frame])
    low = float(values.min()) if label == "uniformity" else min(float(values.min()), 0.0)
    high = max(float(values.max()), 0.0)
    room = 0.06 * ((high - low) or 1)
    return (low - (room if low < 0 else 0), high + room)


def _ticks(axes: Axes, *, first: bool, last: bool) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: compact(value))
    axes.tick_params(labelleft=first, labelbottom=last)
