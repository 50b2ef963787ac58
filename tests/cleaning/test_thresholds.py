"""Thresholds of cleaning: each says its unit, its source and its effect, and none hides in another file."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

from sonolearn import cleaning
from sonolearn.cleaning.thresholds import SOURCES, THRESHOLDS, Thresholds

FOLDER = Path(str(cleaning.__file__)).parent
# Pictures and examples of the report decide nothing, and the bits of a print are its format.
ELSEWHERE = {"thresholds.py", "pictures.py"}
NO_THRESHOLDS = {"_BITS", "_SHOWN", "_APART"}
DIRECTIONS = ("higher", "lower", "more", "fewer", "wider", "shorter", "further", "other values", "changes only")
GROUPS = {group.name: fields(getattr(THRESHOLDS, group.name)) for group in fields(Thresholds)}
ALL = [(f"{name}.{one.name}", one) for name, group in GROUPS.items() for one in group]


def test_a_threshold_says_its_unit_its_source_and_what_changes_with_it() -> None:
    for name, threshold in ALL:
        about = threshold.metadata
        assert set(about) == {"unit", "source", "meaning", "effect"}, name
        assert about["source"] in SOURCES, name
        assert about["unit"], name
        assert about["meaning"], name
        assert about["effect"].startswith(DIRECTIONS), name


def test_no_two_effects_are_copied_from_one_another_within_a_group() -> None:
    for group in GROUPS.values():
        said = [(one.metadata["meaning"], one.metadata["effect"]) for one in group]
        assert len(set(said)) == len(said)


def test_every_threshold_is_used_and_cleaning_has_no_other_constant_number() -> None:
    files = [file for file in sorted(FOLDER.glob("*.py")) if file.name not in ELSEWHERE]
    used = set()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant | ast.Tuple):
                names = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                numbers = [n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
                assert not any(isinstance(n, int | float) for n in numbers) or names <= NO_THRESHOLDS, (
                    f"{file.name}: {names}"
                )
    assert {one.name for _, one in ALL} <= used
