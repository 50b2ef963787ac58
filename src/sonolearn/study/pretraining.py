"""The section of a pre-training run: what it learnt from, its loss, its monitors and its pictures."""

from __future__ import annotations

import base64
import math
from typing import Any

import cv2
import numpy as np

from sonolearn.console import UserError
from sonolearn.planes.initialisation import NAMES
from sonolearn.ssl.monitors import MONITORS, collapse_in_words
from sonolearn.study.commands import defaults_of
from sonolearn.study.figures import training_curve
from sonolearn.study.monitor_figures import LABELS, monitor_curves, monitored
from sonolearn.study.read import REBUILT, VIEWS, PretrainRun
from sonolearn.study.words import duration, listed, sentence_case

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
