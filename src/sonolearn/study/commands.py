"""The commands that make the runs of a report again, rebuilt from run.json; only names of folders, no paths."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from sonolearn.config import ClassifyConfig, PretrainConfig
from sonolearn.runs import plain
from sonolearn.study.read import ClassifyRun, PretrainRun

DEFAULTS: dict[str, dict[str, Any]] = {"pretrain": plain(PretrainConfig()), "classify": plain(ClassifyConfig())}


def command_of(run: PretrainRun | ClassifyRun) -> str:
    """One command line with every option that is not the default."""
    kind = run.record["command"]
    words = ["sonolearn", kind, *stores_of(run)]
    for name, value in _differing(run.record["config"], DEFAULTS[kind]):
        words += [f"--{name}", *_words(PurePath(value).name if name == "init" else value)]
    return shlex.join([*words, "--out", run.folder])


def stores_of(run: PretrainRun | ClassifyRun) -> list[str]:
    """Names of the stores that a run read."""
    if isinstance(run, ClassifyRun):
        return [str(run.store["name"])]
    return [str(store["name"]) for store in run.summary["stores"]]


def _differing(config: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        default = defaults.get(name)
        if isinstance(value, dict) and isinstance(default, dict) and default:
            yield from _differing(value, default, f"{prefix}{name}.")
        elif value != default:
            yield prefix + name, value


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [value if isinstance(value, str) else json.dumps(value)]
