"""What stands around the code is true: workflows call what exists, and every file names the same version."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sonolearn
from sonolearn import cli

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml"))


def read(file: Path) -> dict[Any, Any]:
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def steps(file: Path) -> Iterator[dict[str, Any]]:
    for job in read(file)["jobs"].values():
        yield from job["steps"]


def commands() -> list[str]:
    """Every shell line of every workflow."""
    return [line for file in WORKFLOWS for step in steps(file) for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_do_no_more_than_it_needs_and_ends(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, f"{name} may run for six hours"
        assert set(job.get("permissions", {})) <= {"id-token", "pages"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_their_major_version(file: Path) -> None:
    used = [step["uses"] for step in steps(file) if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", action)] == []


def test_a_password_is_named_in_no_workflow() -> None:
    assert [file.name for file in WORKFLOWS if "secrets." in file.read_text(encoding="utf-8")] == []


def test_workflows_call_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = {word for line in commands() for word in re.findall(r"\bmake ([a-z]+)", line)}
    assert {"lint", "test", "docs"} <= called <= targets


def test_workflows_give_commands_options_that_exist() -> None:
    called = [shlex.split(line) for line in commands() if line.startswith("sonolearn ")]
    assert [words[1] for words in called] == ["doctor", "phantom", "prepare", "prepare", "classify", "predict"]
    for words in called:
        cli.parse(*cli.command_of(words[1:]))


def test_what_workflows_keep_and_constrain_is_in_the_checkout() -> None:
    named = {word for line in commands() for word in re.findall(r"\S+\.(?:txt|py)\b", line.replace("'", " "))}
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_tests_run_on_the_oldest_and_the_newest_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    tested = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]["strategy"]["matrix"]["python-version"]
    assert tested == [named[0], named[-1]]
    assert project["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.name)
def test_a_form_asks_for_what_has_a_name_and_never_for_patient_data(file: Path) -> None:
    form = read(file)
    asked = [part for part in form.get("body", []) if part["type"] != "markdown"]
    assert all(part["id"] and part["attributes"]["label"] for part in asked)
    if file.name == "bug.yml":
        assert "No patient data" in file.read_text(encoding="utf-8")


def test_the_citation_names_the_version_and_licence_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == sonolearn.__version__
    assert citation["license"] == project["license"]


def test_the_changelog_has_one_section_a_version_the_newest_on_top() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == sonolearn.__version__
    assert len(versions) == len(set(versions))
