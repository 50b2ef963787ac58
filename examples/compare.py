"""Prints Markdown tables of `classify` runs: macro F1 of each start, and its difference from the first one.

    python examples/compare.py ImageNet=OUT/imagenet SimCLR=OUT/simclr_0,OUT/simclr_1,OUT/simclr_2

Several runs of a name are several pre-trainings: mean ± SD over their means. Of one run, ± SD over draws of labels.
Differences are paired by draw, with the 95 % interval for other pre-trainings (of three or more), other draws and other
test patients. `--figure FILE` draws the curves, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from sonolearn.planes.metrics import bootstrap_macro_f1, macro_f1_of
from sonolearn.planes.results import confusions, mean_sd
from sonolearn.statistics.estimates import Estimate, estimate, over_patients, over_units
from sonolearn.study.read import ClassifyRun, read_run

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
Floats = NDArray[np.float64]


def scores(runs: list[ClassifyRun], fraction: float) -> tuple[Floats, Floats, int]:
    """(pre-trainings, draws) macro F1, (redraws,) mean of it on redrawn test patients, and the number of those."""
    tables = [confusions(run.predictions[run.predictions["fraction"] == fraction], run.planes) for run in runs]
    redrawn = np.mean([bootstrap_macro_f1(table, seed=0) for table in tables], axis=0)
    return np.stack([macro_f1_of(table.sum(1)) for table in tables]), redrawn, tables[0].shape[1]


def difference(runs: list[ClassifyRun], first: list[ClassifyRun], fraction: float) -> Estimate:
    """Of the means, by all that they depend on."""
    (ours, redrawn, patients), (theirs, others, _) = scores(runs, fraction), scores(first, fraction)
    pairs = ours - theirs.mean(0)
    sources = [over_patients(redrawn - others, patients)]
    if len(pairs) > 2:
        sources.append(over_units(pairs.mean(1)))
    if fraction < 1:  # with all labels there is nothing to draw
        sources.append(over_units(pairs.mean(0)))
    return estimate(float(pairs.mean()), sources)


def draw(groups: dict[str, list[ClassifyRun]], file: str) -> None:
    """Mean of each start against the label fraction; bars are SDs over draws, of all pre-trainings together."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, runs) in enumerate(groups.items()):
        fractions = np.array(runs[0].fractions)
        found = [scores(runs, fraction)[0] for fraction in fractions]
        means, spread = [one.mean() for one in found], [one.std(ddof=1) for one in found]
        shifted = fractions * 1.05 ** (number - (len(groups) - 1) / 2)
        colour, second = divmod(number, 2) if len(groups) > 3 else (number, 1)
        style = {"color": COLOURS[colour], "linestyle": "-" if second else "--", "marker": "os"[second]}
        axes.errorbar(shifted, means, spread, label=name, capsize=3, linewidth=1.6, elinewidth=1, **style)
    images = runs[0].summary["train_images"]
    axes.set(xscale="log", xlabel="labelled images (share of all)", ylabel="macro F1, test patients")
    axes.set_xticks(
        fractions, [f"{n:.0f}\n({100 * f:g} %)" for n, f in zip(images, fractions, strict=True)], minor=False
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="best", frameon=False)
    figure.savefig(file, dpi=110)


def main(words: list[str]) -> None:
    file = words[words.index("--figure") + 1] if "--figure" in words else ""
    words = words[: words.index("--figure")] if file else words
    groups: dict[str, list[ClassifyRun]] = {}
    for word in words:
        name, _, folders = word.partition("=")
        runs = [read_run(Path(folder)) for folder in folders.split(",")]
        groups[name] = [run for run in runs if isinstance(run, ClassifyRun)]
    baseline, *others = groups
    first = groups[baseline][0]
    columns = ["labels", "images", *groups, *(f"{name} minus {baseline}" for name in others)]
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    for fraction, images in zip(first.fractions, first.summary["train_images"], strict=True):
        cells = []
        for runs in groups.values():
            found = scores(runs, fraction)[0]
            cells.append(mean_sd(found.mean(), (found.mean(1) if len(found) > 1 else found[0]).std(ddof=1)))
        for name in others:
            one = difference(groups[name], groups[baseline], fraction)
            cells.append(f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})")
        print(f"| {fraction:.0%} | {images:.0f} |", " | ".join(cells), "|")
    test = first.summary.iloc[0]
    print(f"\n{test['test_images']:.0f} test images of {test['test_patients']:.0f} patients.")
    if file:
        draw(groups, file)


if __name__ == "__main__":
    main(sys.argv[1:])
