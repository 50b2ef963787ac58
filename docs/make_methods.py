"""Draw docs/images/methods_monitors.png: loss and monitors of healthy runs against runs that went wrong on purpose.

    python docs/make_methods.py GRID OUT

GRID is the folder of `examples/methods.py`: its runs of seed 0 are the healthy ones. Those that go wrong are made in
OUT, with the same data and settings but for what `WRONG` says and for their number of steps. Called again, it goes on
where it was. The table of values in docs/methods.md is written, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.axes import Axes

from sonolearn.config import PretrainConfig
from sonolearn.console import UserError, say
from sonolearn.ssl.monitors import COLLAPSED_RANK, COLLAPSED_STD
from sonolearn.ssl.pretrain import pretrain

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "methods_monitors.png"
PAGE = DOCS / "methods.md"
TABLE = re.compile(r"(<!-- monitors -->\n).*?(<!-- /monitors -->)", re.DOTALL)

# Learning rates far too high; under LARS mostly for biases and norm parameters as well.
WRONG: dict[str, dict[str, float | None]] = {
    "autoencoder": {"lr": 0.1},
    "inpainting": {"lr": 0.1},
    "simclr": {"lr": 1000.0, "lr_biases": None},
    "moco": {"lr": 300.0, "lr_biases": None},
    "byol": {"lr": 300.0, "lr_biases": None},
    "barlow_twins": {"lr": 300.0, "lr_biases": None},
    "vicreg": {"lr": 300.0},
}
NAMES = {
    "autoencoder": "Autoencoder", "inpainting": "Inpainting", "simclr": "SimCLR", "moco": "MoCo", "byol": "BYOL",
    "barlow_twins": "Barlow Twins", "vicreg": "VICReg",
}  # fmt: skip
STEPS = 150
HEALTHY, WENT_WRONG = "#0072B2", "#D55E00"


def example() -> ModuleType:
    """The module examples/methods.py."""
    spec = importlib.util.spec_from_file_location("examples_methods", DOCS.parent / "examples" / "methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def go_wrong(grid: Path, out: Path, method: str) -> None:
    """Train so that it goes wrong; a loss that is not finite ends the run, and is what was to be shown."""
    plan = example().Plan(grid, grid / "labelled", [grid / "scans"], STEPS, 128, 48, 1, ())
    right: PretrainConfig = plan.config(method, 0)
    optimizer = replace(right.optimizer, **WRONG[method])  # type: ignore[arg-type]
    config = replace(right, optimizer=optimizer, valid_every=1, log_every=5, knn_store=None)
    try:
        pretrain([grid / "scans"], out / method, config)
    except UserError as error:
        say(f"{method}: {error}")


@dataclass(frozen=True)
class Pair:
    """A healthy run and one that went wrong: their metrics.csv, and the configuration of the healthy one."""

    healthy: pd.DataFrame
    wrong: pd.DataFrame
    config: dict[str, Any]

    @classmethod
    def read(cls, healthy: Path, wrong: Path) -> Pair:
        """Read two run folders."""
        config = json.loads((healthy / "run.json").read_text(encoding="utf-8"))["config"]
        return cls(pd.read_csv(healthy / "metrics.csv"), pd.read_csv(wrong / "metrics.csv"), config)


def collapsed_loss(config: dict[str, Any]) -> float | None:
    """The loss of an encoder that gives all frames the same, where it is known and not 0."""
    match config["method"]:
        case "simclr":
            return math.log(2 * config["batch_size"] - 1)
        case "moco":
            return math.log(config["moco"]["queue"] + 1)
        case "barlow_twins":
            return float(config["barlow_twins"]["projector"][-1])
        case "vicreg":
            return float(config["vicreg"]["variance"]) * (1 - math.sqrt(1e-4))
    return None


def draw(runs: dict[str, Pair]) -> None:
    """One row a method; loss, standard deviation and effective rank over the steps."""
    figure, axes = plt.subplots(len(runs), 3, figsize=(8.6, 1.35 * len(runs) + 0.7), sharex=True, squeeze=False)
    for row, (method, pair) in zip(axes, runs.items(), strict=True):
        for name, metrics, colour in (("healthy", pair.healthy, HEALTHY), ("went wrong", pair.wrong, WENT_WRONG)):
            monitors, training = (metrics[metrics["part"] == part] for part in ("monitor", "train"))
            # The last, smaller batch of an epoch has a row of its own before a validation, and another loss.
            training = training[training["step"] % training["step"].iloc[0] == 0]
            row[0].plot(training["step"], training["loss"], color=colour, label=name)
            for axis, column in zip(row[1:], ("feature_std", "effective_rank"), strict=True):
                axis.plot(monitors["step"], monitors[column], color=colour, marker="o", markersize=3)
        level = collapsed_loss(pair.config)
        limit_loss(row[0], pair, level)
        row[1].set_ylim(-0.02, 0.75)
        row[2].set_yscale("log")
        row[2].set_ylim(0.9, 100)
        row[2].minorticks_off()
        row[2].set_yticks([1, 10, 100], ["1", "10", "100"])
        for axis, threshold in zip(row, (level, COLLAPSED_STD, COLLAPSED_RANK), strict=True):
            if threshold is not None:
                axis.axhline(threshold, color="0.45", linestyle=":", linewidth=1)
        row[0].set_ylabel(NAMES[method], fontsize=9, fontweight="bold")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, color="0.6")
        axis.spines[["left", "bottom"]].set_color("0.6")
        axis.grid(axis="y", color="0.92", linewidth=0.8)
    for axis, title in zip(axes[0], ("loss", "standard deviation", "effective rank"), strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("optimiser steps", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center", ncols=2, frameon=False, fontsize=9)
    figure.tight_layout(pad=0.5, h_pad=0.6, rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    figure.savefig(PICTURE, dpi=110)


def limit_loss(axis: Axes, pair: Pair, level: float | None) -> None:
    """Show the healthy loss, the usual one of the other run, and the level of a collapse; peaks leave the picture."""
    healthy, wrong = (m.loc[m["part"] == "train", "loss"] for m in (pair.healthy, pair.wrong))
    shown = [*healthy, *wrong.quantile([0.05, 0.75]), *([] if level is None else [level])]
    margin = 0.12 * (max(shown) - min(shown))
    axis.set_ylim(max(0.0, min(shown) - margin), max(shown) + margin)


def table(runs: dict[str, Pair]) -> Iterator[str]:
    """The rows of the table in docs/methods.md; of what went wrong also the check with the lowest deviation."""
    columns = ("random (step 0)", "healthy, end", "went wrong, lowest", "went wrong, end")
    yield f"| method | what went wrong | {' | '.join(columns)} | warnings |\n|" + "---|" * 7 + "\n"
    for method, pair in runs.items():
        good, bad = (metrics[metrics["part"] == "monitor"] for metrics in (pair.healthy, pair.wrong))
        lowest = bad.loc[bad["feature_std"].idxmin()]
        shown = " | ".join(values(check) for check in (good.iloc[0], good.iloc[-1], lowest, bad.iloc[-1]))
        checks = bad[bad["step"] > 0].drop_duplicates("step")
        collapsed = (checks["feature_std"] < COLLAPSED_STD) | (checks["effective_rank"] < COLLAPSED_RANK)
        made = setting(method, pair.config["optimizer"])
        yield f"| {NAMES[method]} | {made} | {shown} | {collapsed.sum()} of {len(checks)} |\n"


def setting(method: str, right: dict[str, Any]) -> str:
    """What a run that went wrong had, instead of what is right."""
    changes = (f"`{name}` {word(value)} for {word(right[name])}" for name, value in WRONG[method].items())
    return ", ".join(changes)


def word(value: float | None) -> str:
    """A number as one writes it; none for None."""
    return "none" if value is None else f"{value:g}"


def values(check: pd.Series[Any]) -> str:
    """Standard deviation and effective rank of a check."""
    return f"{check['feature_std']:.2g} / {check['effective_rank']:.1f}"


def main() -> None:
    """Make what is missing, draw, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(WRONG), choices=list(WRONG), help="what to make; none: draw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for method in options.only:
        go_wrong(options.grid, options.out, method)
    runs = {
        method: Pair.read(options.grid / f"{method}_0", options.out / method)
        for method in WRONG
        if (options.out / method / "metrics.csv").exists()
    }
    draw(runs)
    text = "".join(table(runs))
    PAGE.write_text(TABLE.sub(lambda found: found[1] + text + found[2], PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
