"""Odd words on the command line, and damaged files of options and plans, up to the point where work would begin."""

from __future__ import annotations

from pathlib import Path

import yaml

from benchmarks.fuzzing.commands import HERE, write_plan
from benchmarks.fuzzing.damage import JSON_VALUES, VALUES, Rng, damaged_bytes, damaged_json, pick
from benchmarks.fuzzing.kind import Kind
from sonolearn.cli import COMMANDS, command_of, parse
from sonolearn.config.study import StudyPlanConfig
from sonolearn.options import make_parser
from sonolearn.study.plan import read_plan

WORDS = (
    *(str(value) for value in (*VALUES, *JSON_VALUES)), "0.5", "3", "[1,2]", "[0.1", "{a: 1}", "1e-3", "adapt", "study",
    "simclr", "vicreg", "ultrasound", "gentle", "knn", "finetune", "cpu", "-5", "--", "-x", "@", "null null", "4 8",
    "=",
)  # fmt: skip
REQUIRED = {
    "out": "out", "paths": "in", "stores": "in", "store": "in", "plan": "cpu", "study": "in", "runs": "in", "run": "in",
    "source": "in",
}  # fmt: skip
OPTIONS = {
    "pretrain": {
        "method": "simclr", "views": {"name": "ultrasound", "rotation": 5}, "optimizer": {"lr": 0.1},
        "pool": {"patients": 3}, **HERE,
    },
    "classify": {"mode": "linear", "fractions": [0.1, 1.0], "views": "gentle", "seeds": 2, "lr": 1e-3},
    "prepare": {"size": 64, "cleaning": {"marks": "keep"}, "columns": {"image": "file"}, "split": [0.6, 0.2, 0.2]},
    "phantom": {"patients": 3, "text": False},
    "predict": {"classifier": "x", "engine": "torch"},
}  # fmt: skip
"""Files of options that are damaged."""


def _nothing(folder: Path) -> None:
    """Words need no files."""


def _words(base: Path, work: Path, rng: Rng) -> None:
    name = pick(rng, sorted(COMMANDS))
    command = COMMANDS[name]
    known = make_parser(name, command).known
    words = [] if command.positional is None or rng.random() < 0.05 else [REQUIRED[command.positional]]
    words += ["--out", "out"] if "out" in known and command.positional != "out" and rng.random() < 0.95 else []
    for _ in range(int(rng.integers(1, 4))):
        option = f"--{pick(rng, known)}"
        if rng.random() < 0.1:
            option = option[: int(rng.integers(len(option) + 1))] + str(pick(rng, ("x", "-", "", ".a", "=")))
        value = str(pick(rng, WORDS))
        words += [f"{option}={value}"] if rng.random() < 0.3 else [option, value][: int(rng.integers(1, 3))]
    if rng.random() < 0.05:
        words.insert(int(rng.integers(len(words) + 1)), str(pick(rng, WORDS)))
    _parsed([*name.split(), *words])


def _parsed(words: list[str]) -> None:
    """Parse them as the command line does; --help and --print_config end it as they should."""
    try:
        parse(*command_of(words))
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise


def _file(base: Path, work: Path, rng: Rng) -> None:
    name = pick(rng, sorted(OPTIONS))
    file = work / "options.yaml"
    _write_yaml(file, OPTIONS[name], rng)
    path = {"phantom": ["out"]}.get(name, ["in", "--out", "out"])
    _parsed([name, *path, "--config", str(file)])


def _write_yaml(file: Path, value: object, rng: Rng) -> None:
    if rng.random() < 0.7:
        text = yaml.safe_dump(damaged_json(value, rng), allow_unicode=True)
        file.write_text(text, encoding="utf-8", errors="replace")
    else:
        file.write_bytes(damaged_bytes(yaml.safe_dump(value).encode(), rng))


def _make_plan(folder: Path) -> None:
    write_plan(folder)


def _plan(base: Path, work: Path, rng: Rng) -> None:
    sound = yaml.safe_load((base / "plan.yaml").read_text(encoding="utf-8"))
    _write_yaml(work / "plan.yaml", sound, rng)
    read_plan(work / "plan.yaml", StudyPlanConfig())


KINDS = (
    Kind("words", "words", _nothing, _words, 8),
    Kind("files of options", "words", _nothing, _file, 4),
    Kind("plans", "plans", _make_plan, _plan, 4),
)
