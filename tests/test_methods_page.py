"""docs/methods.md tells the settings that the code has, and the runs that went wrong as they were made."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
import typing
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sonolearn.config import Method, PretrainConfig, Recipe
from sonolearn.recipes import ADAPT, PAPER, STUDY, recipe
from sonolearn.ssl.methods import METHODS
from sonolearn.ssl.monitors import COLLAPSED_RANK, COLLAPSED_STD, MONITORS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")

Cells = dict[str, list[str]]

# Method and recipe, or preset, behind each column of the table of views.
VIEWS: list[list[tuple[Method, str]]] = [
    [("autoencoder", "study"), ("autoencoder", "adapt")],
    [("inpainting", "study"), ("inpainting", "adapt")],
    [("simclr", "study"), ("simclr", "paper"), ("moco", "study"), ("byol", "study")],
    [("moco", "paper")],
    [
        ("barlow_twins", "study"),
        ("barlow_twins", "paper"),
        ("vicreg", "study"),
        ("vicreg", "paper"),
        ("byol", "paper"),
    ],
    [
        *((method, "ultrasound") for method in typing.get_args(Method)),
        *((method, "adapt") for method in ("simclr", "moco", "byol", "barlow_twins", "vicreg")),
    ],
    [(method, "gentle") for method in typing.get_args(Method)],
]


def table_under(header: str) -> Cells:
    """The rows of the table whose header line starts so, by the option in their first cell."""
    found = re.search(rf"^{re.escape(header)}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert found, header
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]
    return {row[0].strip("`").removeprefix("--"): row[1:] for row in rows}


def shown(value: Any) -> str:
    """A setting as the page writes it: four digits, lists with spaces."""
    if isinstance(value, tuple):
        return " ".join(map(shown, value))
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def setting(config: PretrainConfig, option: str) -> str:
    return shown(reduce(getattr, option.split("."), config))


def recipes_of(method: Method) -> list[Recipe]:
    return ["adapt", "study", "paper"] if method in PAPER else ["adapt", "study"]


@pytest.mark.parametrize("method", METHODS)
def test_settings_are_those_of_the_recipes(method: Method) -> None:
    configs = [recipe(method, name) for name in recipes_of(method)]
    table = table_under(f"| `{method}` | adapt | study |")
    assert table == {option: [setting(config, option) for config in configs] for option in table}


@pytest.mark.parametrize("method", METHODS)
def test_tables_leave_no_setting_out(method: Method) -> None:
    table = table_under(f"| `{method}` | adapt | study |")
    own = {f"{method}.{field.name}" for field in dataclasses.fields(getattr(PretrainConfig(), method))}
    layers = [layers[method] for layers in (ADAPT, STUDY, PAPER) if method in layers]
    chosen = {option for layer in layers for option in layered(layer)}
    assert own | chosen <= set(table)


def layered(layer: dict[str, Any]) -> Iterator[str]:
    """Options that a recipe sets; those of views stand in another table."""
    for name, value in layer.items():
        if name != "views":
            yield from (f"{name}.{inner}" for inner in value) if isinstance(value, dict) else (name,)


def views_of(method: Method, name: str) -> PretrainConfig:
    """A configuration with the views of a recipe, or of a preset that is the same for all methods."""
    if name in ("ultrasound", "gentle"):
        return recipe(method, None, views={"name": name})
    return recipe(method, typing.cast(Recipe, name))


def test_views_are_those_of_the_recipes() -> None:
    table = table_under("| | autoencoder | inpainting |")
    for column, members in enumerate(VIEWS):
        for member in members:
            config = views_of(*member)
            values = {option: setting(config, option) for option in table}
            assert values == {option: cells[column] for option, cells in table.items()}, member


def test_the_table_of_views_has_all_recipes_and_all_that_differs_between_them() -> None:
    members = {member for column in VIEWS for member in column}
    assert {(m, r) for m in METHODS for r in recipes_of(typing.cast(Method, m))} <= members
    views = [dataclasses.asdict(views_of(*member).views) for member in members]
    differing = {f"views.{name}" for name in views[0] if len({shown(v[name]) for v in views}) > 1}
    assert differing - {"views.name"} <= set(table_under("| | autoencoder | inpainting |"))


def test_the_method_that_is_taken_without_asking_is_named() -> None:
    assert f"- `--method` chooses the loss. Without it: `{recipe().method}`." in PAGE


def test_figures_and_monitors_are_named() -> None:
    for method in METHODS.values():
        for figure in getattr(method, "figures", ()):
            assert f"`{figure}`" in PAGE
    assert set(MONITORS) == set(table_under("| column | formula |"))


def test_thresholds_are_those_of_the_code() -> None:
    assert f"`feature_std` is below {COLLAPSED_STD} or `effective_rank` below {COLLAPSED_RANK}" in PAGE


def test_runs_that_went_wrong_are_named_with_their_settings() -> None:
    maker = make_methods()
    for name, cells in table_under("| method | what went wrong |").items():
        wrong = next(maker.WRONG[method] for method in METHODS if maker.NAMES[method] == name)
        told = dict(re.findall(r"`(\w+)` (\S+) for \S+", cells[0]))
        assert told == {option: maker.word(value) for option, value in wrong.items()}


def make_methods() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_methods", DOCS / "make_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
