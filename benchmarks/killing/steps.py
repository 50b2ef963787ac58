"""The steps of the road, at sizes that take seconds, each with what it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.commands import CLASSIFY, PHANTOM, PREDICT, PREPARE, SMALL, SSL, write_plan

Words = list[Any]


@dataclass(frozen=True)
class Step:
    """A command, and what it writes.

    Attributes:
        name: for people.
        outs: files and folders that it writes.
        words: the command in a folder.
        share: of all kills, relative to other steps.
    """

    name: str
    outs: tuple[str, ...]
    words: Callable[[Path], Words]
    share: int


def _study(folder: Path) -> Words:
    write_plan(folder)
    return ["study", "run", folder / "plan.yaml", "--workers", "2", "--threads", "1", "--out", folder / "study"]


STEPS = (
    Step("phantom", ("phantom",), lambda d: ["phantom", d / "phantom", *PHANTOM, "--workers", "2"], 4),
    Step(
        "prepare scans", ("scans",),
        lambda d: ["prepare", d / "phantom/scans", *PREPARE[:-1], "2", "--out", d / "scans"], 8,
    ),
    Step(
        "prepare labels", ("labelled",),
        lambda d: ["prepare", "--labels", d / "phantom/labels.csv", *PREPARE, "--out", d / "labelled"], 22,
    ),
    Step(
        "pretrain", ("pretrained",),
        lambda d: [
            "pretrain", d / "scans", *SSL, *SMALL, "--log_every", "1", "--max_steps", "40", "--epochs", "100",
            "--valid_patients", "0.5", "--checkpoint_minutes", "0.00001", "--out", d / "pretrained",
        ],
        20,
    ),
    Step(
        "classify, linear", ("linear",),
        lambda d: [
            "classify", d / "labelled", *CLASSIFY[:-1], "12", "--mode", "linear", "--init", d / "pretrained",
            "--out", d / "linear",
        ],
        16,
    ),
    Step(
        "classify, finetune", ("tuned",),
        lambda d: [
            "classify", d / "labelled", *CLASSIFY[:-1], "4", "--epochs", "2", "--min_steps", "0",
            "--save_classifiers", "true", "--out", d / "tuned",
        ],
        16,
    ),
    Step(
        "predict", ("predicted",),
        lambda d: [
            "predict", d / "phantom/scans", *PREDICT, "--engine", "onnx", "--classifier", d / "tuned",
            "--out", d / "predicted",
        ],
        10,
    ),
    Step(
        "report", ("report",),
        lambda d: ["report", d / "pretrained", d / "linear", d / "tuned", "--out", d / "report/page.html"], 6,
    ),
    Step("study run", ("study",), _study, 5),
    Step("study report", ("study/report",), lambda d: ["study", "report", d / "study"], 5),
)  # fmt: skip
