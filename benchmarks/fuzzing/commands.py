"""Commands in this process, and the small sound folders that they make of one another."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sonolearn import cli
from sonolearn.cli import EXIT_USER_ERROR
from sonolearn.console import UserError

SMALL = ["--image_size", "32", "--batch_size", "8", "--workers", "0", "--accelerator", "cpu", "--precision", "32-true"]
PHANTOM = ["--patients", "8", "--labelled", "0.75", "--stills", "5", "--scans", "2", "--frames", "8", "--size", "96"]
PREPARE = ["--size", "32", "--frame_skip", "1", "--workers", "1"]
SSL = ["--recipe", "null", "--method", "barlow_twins", "--barlow_twins.projector", "16", "--encoder", "test_resnet"]
PRETRAIN = [*SSL, *SMALL, "--log_every", "1", "--max_steps", "2", "--valid_patients", "0.5"]
CLASSIFY = ["--encoder", "test_resnet", *SMALL, "--fractions", "1.0", "--seeds", "1"]
LINEAR = [*CLASSIFY, "--mode", "linear"]
PREDICT = ["--frame_skip", "1", "--accelerator", "cpu", "--threads", "1"]
HERE = {"workers": 0, "accelerator": "cpu", "precision": "32-true"}


class NoSentence(Exception):  # noqa: N818 - what is wrong with a refusal
    """A command ended with an error, but not in one sentence."""


def called(*words: object) -> None:
    """Call a command.

    Raises:
        UserError: it was refused with exit code 2 and one sentence, at the end of what it said.
        NoSentence: it ended otherwise.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            cli.main([str(word) for word in words])
    except SystemExit as stop:
        if stop.code in (0, None):
            return
        raise refusal(int(str(stop.code)), errors.getvalue()) from None


def refusal(code: int, said: str) -> Exception:
    """The error that stands for what a command said when it ended with an exit code."""
    lines = said.strip().splitlines()
    named = [line for line in lines if line.startswith("sonolearn: ")]
    if code != EXIT_USER_ERROR or "Traceback" in said or len(named) != 1 or lines[-1] != named[0]:
        return NoSentence(f"exit code {code}: {said[-2000:]!r}")
    return UserError(named[0].removeprefix("sonolearn: "))


def road(folder: Path) -> Mapping[str, list[Any]]:
    """The commands from nothing to predictions and a study, by the folder that each writes; in their order."""
    labelled, scans = folder / "labelled", folder / "scans"
    return {
        "phantom": ["phantom", folder / "phantom", *PHANTOM, "--workers", "1"],
        "scans": ["prepare", folder / "phantom" / "scans", *PREPARE, "--out", scans],
        "labelled": ["prepare", "--labels", folder / "phantom" / "labels.csv", *PREPARE, "--out", labelled],
        "pretrained": ["pretrain", scans, *PRETRAIN, "--out", folder / "pretrained"],
        "classified": ["classify", labelled, *LINEAR, "--save_classifiers", "true", "--out", folder / "classified"],
        "predicted": [
            "predict", folder / "phantom" / "scans", *PREDICT, "--classifier", folder / "classified",
            "--out", folder / "predicted",
        ],
        "study": ["study", "run", folder / "plan.yaml", "--workers", "1", "--threads", "1", "--out", folder / "study"],
    }  # fmt: skip


def write_plan(folder: Path) -> None:
    """The plan of a study of a few runs on the stores of the road."""
    plan = {
        "title": "Small", "data": {"labelled": str(folder / "labelled"), "unlabelled": [str(folder / "scans")]},
        "encoders": {"small": {"encoder": "test_resnet"}}, "image_size": 32,
        "pretrain": {"recipe": None, "batch_size": 8, "max_steps": 2, "log_every": 1, **HERE},
        "methods": {"barlow_twins": {"barlow_twins": {"projector": [16]}}}, "initialisations": {"random": {}},
        "classify": {"batch_size": 8, "epochs": 1, "min_steps": 0, **HERE},
        "modes": {"finetune": {}, "linear": {}, "knn": {"neighbours": 3}}, "fractions": [1.0], "seeds": 1,
    }  # fmt: skip
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")


def walked(folder: Path, steps: Sequence[str] = (), call: Callable[..., None] = called) -> None:
    """Go the road, or some steps of it, in a folder."""
    write_plan(folder)
    for name, words in road(folder).items():
        if not steps or name in steps:
            call(*words)
