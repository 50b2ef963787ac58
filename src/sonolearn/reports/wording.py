"""Numbers and names as the page writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import SupportsFloat

import pandas as pd

from sonolearn.planes.results import mean_sd
from sonolearn.study.read import ClassifyRun, Difference, baseline_of, differing_settings, paired_differences

MODES = {
    "finetune": "Full fine-tuning",
    "linear": "Linear evaluation",
    "knn": "Nearest neighbours",
}
EXPLAINED = {
    "finetune": "Every weight of the encoder and a linear head learn from the labelled images.",
    "linear": "The encoder is frozen; only a linear head learns from the labelled images.",
    "knn": "The encoder is frozen and nothing is trained: the most similar labelled images vote. "
    "With all labels, seeds differ only where the encoder does.",
}
FEW_PATIENTS, FEW_SEEDS, FEW_IMAGES = 10, 3, 10


def summary_of(runs: list[ClassifyRun]) -> str:
    """A few sentences on the runs of one store and mode: the smallest and the largest label fraction."""
    everywhere = sorted({fraction for run in runs for fraction in run.fractions})
    ends = list(dict.fromkeys((everywhere[0], everywhere[-1])))
    return " ".join(sentence for fraction in ends for sentence in _at(runs, fraction))


def _at(runs: list[ClassifyRun], fraction: float) -> list[str]:
    """Scores and comparisons at one label fraction."""
    present = [run for run in runs if fraction in run.fractions]
    rows = [run.summary[run.summary["fraction"] == fraction].iloc[0] for run in present]
    least = min(int(row["train_patients_min"]) for row in rows)
    most = max(int(row["train_patients_max"]) for row in rows)
    means = [mean_sd(row["macro_f1_mean"], row["macro_f1_sd"]) for row in rows]
    reached = listed([f"{mean} for {run.name}" for run, mean in zip(present, means, strict=True)])
    images = counted(int(rows[0]["train_images"]), None, "image")
    seeds = {int(row["seeds"]) for row in rows}
    spread = "one seed" if seeds == {1} else f"mean ± SD over {counted(min(seeds), max(seeds), 'seed')}"
    labels = f"{percent(fraction)} of the labels ({images} of {counted(least, most, 'patient')})"
    sentences = [f"With {labels} the macro F1 was {reached} ({spread})."]
    baseline = baseline_of(runs)
    for run in present:
        if baseline is None or run is baseline:
            continue
        found = [difference for difference in paired_differences(run, baseline) if difference.fraction == fraction]
        sentences += [_verdict(run.name, baseline.name, difference) for difference in found]
    return sentences


def _verdict(name: str, baseline: str, difference: Difference) -> str:
    if math.isnan(difference.low):
        pairs = counted(difference.seeds, None, "pair")
        return f"{name} is not shown to differ from {baseline}: {pairs} of trainings give no interval."
    interval = f"95 % interval {signed(difference.low)} to {signed(difference.high)}"
    if not difference.shown:
        numbers = f"paired difference {signed(difference.mean)}, {interval}"
        return f"{name} is not shown to differ from {baseline} ({numbers})."
    word = "higher" if difference.mean > 0 else "lower"
    pairs = counted(difference.seeds, None, "pair")
    return f"{name} was {word} than {baseline} by {abs(difference.mean):.3f} ({pairs}, {interval})."


def warnings_of(runs: list[ClassifyRun]) -> list[str]:
    """What a reader must know before believing the figures of one store."""
    found = [sentence_case(run.overlap["sentence"]) for run in runs if run.overlap["sentence"]]
    first = runs[0]
    patients = int(first.summary["test_patients"].iloc[0])
    if patients < FEW_PATIENTS:
        tested = counted(patients, None, "patient")
        found.append(f"The test part has {tested} only: other patients may give quite different figures.")
    for plane, images in first.store["parts"]["test"]["planes"].items():
        if not first.store["parts"]["train"]["planes"][plane]:
            found.append(f"The training part has no image of {plane}, so that it cannot be learnt.")
        if images < FEW_IMAGES:
            found.append(f"The test part has {counted(images, None, 'image')} of {plane}.")
    few = pd.concat([run.summary for run in runs]).groupby("fraction")["train_patients_min"].min()
    few = few[few < FEW_PATIENTS]
    for fraction, count in zip(few.index.to_numpy(float), few, strict=True):
        patients_there = counted(count, None, "patient")
        found.append(f"At {percent(fraction)} of the labels the training images come from as few as {patients_there}.")
    for run in runs:
        if run.summary["seeds"].min() < FEW_SEEDS:
            seeds = counted(int(run.summary["seeds"].min()), None, "seed")
            found.append(f"{run.folder} has {seeds} only: the spread over seeds is hardly known.")
    for mode in dict.fromkeys(run.mode for run in runs):
        found += _comparability(mode, [run for run in runs if run.mode == mode])
    return list(dict.fromkeys(found))


def _comparability(mode: str, runs: list[ClassifyRun]) -> list[str]:
    baseline = baseline_of(runs)
    if baseline is None:
        return [f"{MODES[mode]}: no run starts from random weights, so no gain can be told."]
    differing = [(run, differing_settings(run, baseline)) for run in runs if run is not baseline]
    return [
        f"{MODES[mode]}: {run.name} and {baseline.name} differ in more than the initialisation ({', '.join(names)})."
        for run, names in differing
        if names
    ]


def percent(fraction: float) -> str:
    """0.01 as 1 %."""
    return f"{100 * fraction:g} %"


def signed(value: float) -> str:
    """A difference with its sign; the minus is a real one."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def counted(least: int, most: int | None, noun: str) -> str:
    """1 patient, 5 patients, 5 to 6 patients."""
    if most is not None and most != least:
        return f"{least} to {most} {noun}s"
    return f"{least:,} {noun}{'' if least == 1 else 's'}".replace(",", " ")


def listed(items: list[str]) -> str:
    """A, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence_case(text: str) -> str:
    """First letter large, full stop at the end."""
    return text[0].upper() + text[1:].rstrip(".") + "."


MORE_MODES = {"logistic": "Logistic regression on features"}
MINUS, DASH, NARROW = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"


def mode_title(mode: str) -> str:
    """Full fine-tuning, Linear evaluation: a mode as headings have it."""
    return {**MORE_MODES, **MODES}.get(mode, mode)


def compact(number: SupportsFloat) -> str:
    """A count as short as a tick needs it: 940, 12.4k."""
    value = float(number)
    return f"{value:.0f}" if value < 10000 else f"{value / 1000:.3g}k"


def span(least: SupportsFloat, most: SupportsFloat) -> str:
    """8 or 8-11, with a dash of its own width."""
    low, high = round(float(least)), round(float(most))
    return f"{low}" if low == high else f"{low}{DASH}{high}"


def three(value: float) -> str:
    """Three decimals with a real minus; nothing where there is no number."""
    return "" if math.isnan(value) else f"{value:.3f}".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """0.712 to 0.834; nothing where there is none."""
    return "" if math.isnan(low) or math.isnan(high) else f"{three(low)} to {three(high)}"


def percent_label(fraction: float) -> str:
    """0.01 as 1 %, with a space that does not break."""
    return f"{100 * fraction:g}{NARROW}%"


def slugs(names: Sequence[Sequence[str]]) -> list[str]:
    """A different file name for each of `names`, of small letters, digits and underscores."""
    found = list[str]()
    for parts in names:
        slug = re.sub(r"[^a-z0-9]+", "_", "_".join(parts).lower()).strip("_") or "name"
        found.append(slug if slug not in found else f"{slug}_{len(found) + 1}")
    return found


def setting_title(encoder: str, mode: str, encoders: int) -> str:
    """Full fine-tuning; with the encoder where there are several."""
    return mode_title(mode) if encoders == 1 else f"{mode_title(mode)}, {encoder}"


def wrapped(text: str, letters: float) -> str:
    """Two lines, broken at the space nearest to the middle, where the text is longer than `letters`."""
    if len(text) <= letters or " " not in text:
        return text
    middle = min((i for i, letter in enumerate(text) if letter == " "), key=lambda i: abs(i - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"
