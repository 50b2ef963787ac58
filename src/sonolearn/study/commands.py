"""The commands that make the runs of a report again, rebuilt from run.json; only names of folders, no paths."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from sonolearn.config import ClassifyConfig, PretrainConfig
from sonolearn.recipes import classify_recipe, recipe
from sonolearn.runs import plain
from sonolearn.study.read import ClassifyRun, PretrainRun


def command_of(run: PretrainRun | ClassifyRun) -> str:
    """One command line with every option that is not the default; of a pre-training, always with its method."""
    kind, config = run.record["command"], run.record["config"]
    words = ["sonolearn", kind, *stores_of(run), *_names(run)]
    for name, value in _differing(config, defaults_of(run)):
        words += [f"--{name}", *_words(PurePath(value).name if name == "init" else value)]
    return shlex.join([*words, "--out", run.folder])


def stores_of(run: PretrainRun | ClassifyRun) -> list[str]:
    """Names of the stores that a run read."""
    if isinstance(run, ClassifyRun):
        return [str(run.store["name"])]
    return [str(store["name"]) for store in run.summary["stores"]]


def defaults_of(run: PretrainRun | ClassifyRun) -> dict[str, Any]:
    """What the options that a command line leaves out come to: those of the recipe and of the presets that it names."""
    # Runs of before there were presets name none.
    names = {group: run.record["config"].get(group, {}).get("name") for group in ("views", "positives")}
    found: dict[str, Any] = plain(_recipe_of(run, **{group: {"name": name} for group, name in names.items() if name}))
    return found


def _recipe_of(run: PretrainRun | ClassifyRun, **presets: dict[str, str]) -> PretrainConfig | ClassifyConfig:
    """The recipe of a run, with other presets; runs of before there were recipes followed the study's."""
    config = run.record["config"]
    if isinstance(run, PretrainRun):
        return recipe(config["method"], config.get("recipe"), **presets)
    return classify_recipe(config.get("recipe", "study"), **presets)


def _names(run: PretrainRun | ClassifyRun) -> Iterator[str]:
    """Method, recipe and presets: what the defaults of all other options hang on."""
    own = _recipe_of(run)
    if isinstance(own, PretrainConfig):
        yield from ("--method", own.method)
    if own.recipe != "adapt":
        yield from ("--recipe", own.recipe or "null")
    for group in ("views", "positives"):
        default = getattr(getattr(own, group, None), "name", None)
        chosen = run.record["config"].get(group, {}).get("name", default)
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
