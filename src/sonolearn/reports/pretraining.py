"""The section of a pre-training run: what it learnt from, its loss, its monitors and its pictures."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sonolearn.console import UserError, duration
from sonolearn.pages import grouped
from sonolearn.planes.initialisation import NAMES
from sonolearn.reports.figures import (
    COLOURS,
    LINES,
    MARKERS,
    SMALL,
    SOFT,
    STYLE,
    Drawing,
    Grid,
    as_svg,
    drawing_style,
    finish,
    panels,
    training_curve,
)
from sonolearn.reports.tables import Table, table_of
from sonolearn.reports.wording import compact, listed, sentence_case, wrapped
from sonolearn.ssl.monitors import COLLAPSED_RANK, COLLAPSED_STD, MONITORS, collapse_in_words
from sonolearn.study.read import REBUILT, VIEWS, PretrainRun, defaults_of

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


SHEET_WIDTH = 1400
"""Widest contact sheet in the page, px."""

RECIPES_IN_WORDS = {
    "adapt": "adapt, a short training that goes on from other weights",
    "study": "that of the study",
    "paper": "that of the method's own paper",
}
VIEWS_IN_WORDS = {
    "study": "those of the study",
    "paper": "those of the method's own paper",
    "gentle": "gentle (slight crops, rotations, and changes of brightness and contrast)",
    "ultrasound": "made for ultrasound (attenuation, gain, speckle, haze, acoustic shadows)",
}
REBUILDING = {
    "autoencoder": "One view of each frame is taken, and rebuilt from its features.",
    "inpainting": "One view of each frame is taken; a rectangle of it is noise, and the whole view is rebuilt.",
}
MEANINGS = {
    "feature_std": "standard deviation, 1 where features point in all directions alike and 0 where all frames give "
    "the same",
    "effective_rank": "effective rank, how many dimensions the features use",
    "alignment": "alignment, the squared distance between the two views of a pair (lower: more alike)",
    "uniformity": "uniformity, how evenly different frames are spread (lower: more evenly)",
    "knn_accuracy": "kNN accuracy, the balanced accuracy of nearest neighbours on the validation part of a labelled "
    "store",
}
ALIGNED_HOLES = (
    "alignment, the squared distance between a view with and without its rectangle of noise (lower: more alike)"
)


def pretrain_section(run: PretrainRun) -> dict[str, Any]:
    """Everything that the template shows of one pre-training."""
    losses = {part: run.metrics.loc[run.metrics["part"] == part, "loss"].dropna() for part in ("train", "valid")}
    monitors = run.summary.get("monitors", {})
    return {
        "folder": run.folder,
        "method": method_name(run),
        "summary": run.summary,
        "warnings": collapse_warnings(run),
        "setting": setting_in_words(run),
        "curve": training_curve(run.metrics),
        "losses": {part: f"{values.iloc[-1]:.4g}" for part, values in losses.items() if len(values)},
        "monitors": monitor_curves(run.metrics),
        "monitors_meaning": monitors_in_words(run),
        "last_monitors": {LABELS[name]: _three_digits(monitors[name]) for name in MONITORS if name in monitors},
        "views": _picture_uri(run.views, VIEWS) if run.views else None,
        "views_caption": views_caption(run),
        "rebuilt": _picture_uri(run.rebuilt, REBUILT) if run.rebuilt else None,
        "rebuilt_caption": rebuilt_caption(run),
        "duration": duration(float(run.summary["seconds"])),
    }


def method_name(run: PretrainRun) -> str:
    """Barlow Twins, Autoencoder: the method as a heading has it."""
    name = NAMES.get(run.summary["method"], str(run.summary["method"]))
    return name[:1].upper() + name[1:]


def collapse_warnings(run: PretrainRun) -> list[str]:
    """What must be known before the encoder is used."""
    if not run.summary.get("collapsed"):
        return []
    # Figures that are not numbers are left out of the summary.
    unknown = {"feature_std": math.nan, "effective_rank": math.nan}
    return [sentence_case(collapse_in_words({**unknown, **run.summary["monitors"]}))]


def setting_in_words(run: PretrainRun) -> str:
    """Recipe, views and positives in sentences; empty for runs of before there were any."""
    summary, sentences = run.summary, list[str]()
    if summary.get("recipe"):
        sentences.append(f"Recipe: {RECIPES_IN_WORDS[summary['recipe']]}.")
    if "views" in summary:
        asked, preset = run.record["config"]["views"], defaults_of(run)["views"]
        changed = [name for name, value in asked.items() if value != preset.get(name)]
        but = f", but for {listed(changed)}" if changed else ""
        sentences.append(f"Views: {VIEWS_IN_WORDS[summary['views']]}{but}.")
    if "positives" in summary:
        sentences.append(REBUILDING.get(summary["method"]) or _pair_in_words(run))
    return " ".join(sentences)


def _pair_in_words(run: PretrainRun) -> str:
    if not _has_neighbours(run):
        return "Pairs: two views of the same frame."
    seconds = run.record["config"]["positives"]["seconds"]
    return f"Pairs: a view of a frame, and one of another frame of its scan at most {seconds:g} s away."


def monitors_in_words(run: PretrainRun) -> str:
    """One sentence on what the panels show, and what they do not tell."""
    meanings = {**MEANINGS, "alignment": ALIGNED_HOLES} if run.summary["method"] == "inpainting" else MEANINGS
    shown = [meanings[name] for name in monitored(run.metrics).columns.drop("step")]
    return (
        f"What the encoder makes of {_watched(run)}: {'; '.join(shown)}. They tell whether frames are still told "
        "apart, not how well planes are. Below a dotted line an encoder counts as collapsed."
    )


def views_caption(run: PretrainRun) -> str:
    """What the rows of views.png are."""
    rows = {
        "autoencoder": "each frame (top) and its view, as the encoder sees it",
        "inpainting": "each frame (top), its view as the encoder sees it, a rectangle of it noise, and the whole view",
    }
    pairs = "each frame (top) and its two views, as the encoder sees them"
    if _has_neighbours(run):
        pairs = "the two frames of each pair (top) and a view of each, as the encoder sees them"
    return f"The first batch: {rows.get(run.summary['method'], pairs)}."


def rebuilt_caption(run: PretrainRun) -> str:
    """What the rows of rebuilt.png are."""
    return (
        f"At the end of the training, {_watched(run)}: the whole view (top), what the encoder was given, and what was "
        "rebuilt of it (bottom)."
    )


def _watched(run: PretrainRun) -> str:
    held_out = run.summary.get("valid_frames")
    return "frames of held-out patients" if held_out else "training frames (no patient was held out)"


def _has_neighbours(run: PretrainRun) -> bool:
    return bool(run.summary.get("positives") == "nearby_frames")


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".").replace("-", "\N{MINUS SIGN}")


def _picture_uri(png: bytes, name: str) -> str:
    """A contact sheet, made smaller if it is large, as a JPEG: speckle makes PNGs of megabytes."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise UserError(f"{name} is not a picture; delete it, or run the pre-training again")
    height, width = picture.shape
    if width > SHEET_WIDTH:
        picture = cv2.resize(picture, (SHEET_WIDTH, round(height * SHEET_WIDTH / width)), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


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
