"""The commands that make the runs of a report again, rebuilt from run.json; only names of folders, no paths."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from sonolearn.config import ClassifyConfig, PretrainConfig
from sonolearn.recipes import recipe
from sonolearn.runs import plain
from sonolearn.study.read import ClassifyRun, PretrainRun


def command_of(run: PretrainRun | ClassifyRun) -> str:
    """One command line with every option that is not the default; of a pre-training, always with its method."""
    kind, config = run.record["command"], run.record["config"]
    words = ["sonolearn", kind, *stores_of(run)]
    if isinstance(run, PretrainRun):
        words += _names(config)
    for name, value in _differing(config, defaults_of(run)):
        words += [f"--{name}", *_words(PurePath(value).name if name == "init" else value)]
    return shlex.join([*words, "--out", run.folder])


def stores_of(run: PretrainRun | ClassifyRun) -> list[str]:
    """Names of the stores that a run read."""
    if isinstance(run, ClassifyRun):
        return [str(run.store["name"])]
    return [str(store["name"]) for store in run.summary["stores"]]


def defaults_of(run: PretrainRun | ClassifyRun) -> dict[str, Any]:
    """What the options that a command line leaves out come to: of a pre-training, its recipe's and its presets'."""
    config = run.record["config"]
    defaults: ClassifyConfig | PretrainConfig = ClassifyConfig()
    if isinstance(run, PretrainRun):
        # Runs of before there were presets name none.
        names = {group: config.get(group, {}).get("name") for group in ("views", "positives")}
        presets = {group: {"name": name} for group, name in names.items() if name}
        defaults = recipe(config["method"], config.get("recipe"), **presets)
    found: dict[str, Any] = plain(defaults)
    return found


def _names(config: dict[str, Any]) -> Iterator[str]:
    """Method, recipe and presets: what the defaults of all other options hang on."""
    method, name = config["method"], config.get("recipe")
    yield from ("--method", method)
    if name:
        yield from ("--recipe", name)
    own = recipe(method, name)
    for group, default in (("views", own.views.name), ("positives", own.positives.name)):
        chosen = config.get(group, {}).get("name", default)
        if chosen != default:
            yield from (f"--{group}", chosen)


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
