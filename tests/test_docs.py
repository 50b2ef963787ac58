"""The documentation is true: its commands run or parse, its links lead somewhere, and what it prints is printed."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from sonolearn import cli
from sonolearn.config.data import REASONS
from sonolearn.store.cleaned_scan import REJECTED_COLUMNS, SCAN_COLUMNS
from sonolearn.store.duplicates import DUPLICATE_COLUMNS
from sonolearn.store.pseudonyms import SOURCE_COLUMNS
from sonolearn.store.write import LABEL_COLUMNS
from sonolearn.study.plan import read_plan
from sonolearn.study.results import RESULTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PYTHON = ("src", "tests", "benchmarks", "examples", "docs")
TUTORIAL = DOCS / "tutorial.md"
PROGRESS = re.compile(r"about \d+:\d\d:\d\d left$")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


@dataclass(frozen=True)
class Shown:
    """A command of the documentation, and the lines that it is said to print."""

    page: Path
    command: str
    output: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """Its words from `sonolearn` on; none where it is another program."""
        words = shlex.split(self.command, comments=True)
        return words[words.index("sonolearn") :] if "sonolearn" in words else []

    def __str__(self) -> str:
        return f"{self.page.name}: {self.command[:60]}"


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def shown_commands(page: Path) -> Iterator[Shown]:
    """The commands behind `$` in console blocks with what follows them; every line of bash and sh blocks."""
    for text in blocks(page, "console"):
        for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, *output = part.splitlines()
            yield Shown(page, command, tuple(line for line in output if line.strip()))
    for text in blocks(page, "bash", "sh"):
        yield from (Shown(page, line) for line in text.replace("\\\n", " ").splitlines())


ALL_COMMANDS = [shown for page in PAGES for shown in shown_commands(page)]
SONOLEARN_COMMANDS = [shown for shown in ALL_COMMANDS if shown.words]


@pytest.mark.parametrize("shown", SONOLEARN_COMMANDS, ids=str)
def test_every_command_shown_is_understood_by_the_command_line(shown: Shown) -> None:
    cli.parse(*cli.command_of(shown.words[1:]))  # values that make no sense are refused, too


def test_the_road_in_the_readme_is_six_commands_from_scans_to_a_report() -> None:
    road = [shown.words[1] for shown in SONOLEARN_COMMANDS if shown.page == ROOT / "README.md"]
    road = [name for name in road if name != "study"]
    assert road == ["prepare", "prepare", "pretrain", "classify", "classify", "report"]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder in which the tutorial is walked; one process, as importing torch for each command takes long."""
    folder, before = tmp_path_factory.mktemp("tour"), Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def walked(tour: Path) -> list[tuple[Shown, str]]:
    """Every command of the tutorial with what it really printed."""
    return [(shown, printed_by(shown, tour)) for shown in shown_commands(TUTORIAL)]


def printed_by(shown: Shown, folder: Path) -> str:
    out = folder.parent / f"{folder.name}-output.txt"
    with pytest.MonkeyPatch.context() as patch, out.open("w", encoding="utf-8") as file:
        patch.setenv("COLUMNS", "80")
        patch.setattr("sys.stdout", file)
        patch.setattr("sys.stderr", file)
        if shown.words:
            cli.main(shown.words[1:])
        else:
            subprocess.run(shown.command, shell=True, check=True, stdout=file, cwd=folder)
    return out.read_text(encoding="utf-8")


def as_pattern(line: str) -> re.Pattern[str]:
    """A shown line as a pattern: `...` is anything, pseudonyms and measured figures differ, spaces are spaces."""
    line = re.escape(" ".join(line.split()))
    line = line.replace(re.escape("..."), ".*")
    line = re.sub(r"([PS])\\-[0-9a-f]{12,16}", r"\1-[0-9a-f]+", line)
    if re.search(r"\d\\\.\d", line):
        line = re.sub(r"\d[\d.\\\-]*", r"[\\d.-]+", line)
    return re.compile(line)


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands_and_prints_what_it_shows(walked: list[tuple[Shown, str]]) -> None:
    for shown, printed in walked:
        lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
        lines = [line for line in lines if not PROGRESS.search(line)]  # how many depends on the machine
        assert len(lines) == len(shown.output), f"{shown}\n{printed}"
        for expected, line in zip(shown.output, lines, strict=True):
            assert as_pattern(expected).fullmatch(line), f"{shown}\nshown:   {expected}\nprinted: {line}"


@pytest.mark.slow
def test_the_tutorial_ends_with_a_report(walked: list[tuple[Shown, str]], tour: Path) -> None:
    assert walked
    assert "</html>" in (tour / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("run", ["barlow_twins", "linear_random"])
def test_the_reference_names_every_file_and_column_of_a_run(
    walked: list[tuple[Shown, str]], tour: Path, run: str
) -> None:
    page = (DOCS / "reference" / "runs.md").read_text(encoding="utf-8")
    for path in (tour / run).iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        assert f"`{name}`" in page, f"{name} is not described"
        columns = list(pd.read_csv(path, nrows=1).columns) if path.suffix == ".csv" else []
        missing = [c for c in columns if f"`{c}`" not in page and not c.startswith("p_")]
        assert not missing, f"columns {missing} of {name} are not described"


@pytest.mark.slow
def test_the_reference_names_every_file_of_a_store(walked: list[tuple[Shown, str]], tour: Path) -> None:
    page = (DOCS / "reference" / "store.md").read_text(encoding="utf-8")
    for path in [*(tour / "stills").iterdir(), *(tour / "sonolearn-private").glob("[!.]*")]:
        assert path.name in page, f"{path.name} is not described"


@pytest.mark.parametrize(
    "columns", [SCAN_COLUMNS, LABEL_COLUMNS, REJECTED_COLUMNS, SOURCE_COLUMNS, DUPLICATE_COLUMNS], ids=len
)
def test_the_reference_names_every_column_of_a_store(columns: tuple[str, ...]) -> None:
    page = (DOCS / "reference" / "store.md").read_text(encoding="utf-8")
    assert [column for column in columns if f"`{column}`" not in page] == []


def test_the_reference_names_every_reason_for_a_rejection() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "sonolearn").rglob("*.py")]
    reasons = {reason for source in sources for reason in re.findall(r'Rejected\(\s*"(\w+)"', source)}
    reasons |= {"no_patient", *REASONS}  # given without their names in the exception
    page = (DOCS / "reference" / "store.md").read_text(encoding="utf-8")
    assert reasons == set(re.findall(r"^\| `(\w+)` \|", page.split("## rejected.csv")[1], re.MULTILINE))


def test_the_reference_of_commands_is_what_the_code_says() -> None:
    committed = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert committed == reference_maker().page(), "run `python docs/make_reference.py`"


def test_the_reference_of_plans_is_what_the_code_says() -> None:
    committed = (DOCS / "reference" / "study.md").read_text(encoding="utf-8")
    assert committed == reference_maker().study_page(committed), "run `python docs/make_reference.py`"


def test_the_reference_of_studies_names_every_column_of_their_table() -> None:
    page = (DOCS / "reference" / "study.md").read_text(encoding="utf-8")
    assert [column for column in RESULTS if f"`{column}`" not in page] == []


def test_the_plan_in_the_how_to_is_a_plan(tmp_path: Path) -> None:
    (text,) = blocks(DOCS / "how-to" / "study.md", "yaml")
    (tmp_path / "plan.yaml").write_text(text)
    plan = read_plan(tmp_path / "plan.yaml")
    assert list(plan.methods) == ["simclr", "SimCLR, nearby frames"]
    assert plan.methods["SimCLR, nearby frames"].configs["resnet18"].positives.name == "nearby_frames"


def reference_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_notebook_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(DOCS / "how-to" / "notebook.md", "python"):
        exec(block, names)
    assert getattr(names["frames"], "shape", None) == (3, 64, 64)
    assert len(getattr(names["results"], "index", ())) == 4
    assert getattr(names["features"], "shape", (0,))[0] == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_and_image_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}, which has no such heading"


def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index)}
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md"} <= linked


def test_images_are_small() -> None:
    assert all(image.stat().st_size <= 400_000 for image in (DOCS / "images").iterdir())


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_source_file_that_a_page_names_exists(page: Path) -> None:
    """`views/plain.py` may be any file whose path ends so."""
    named = re.findall(r"`((?:\w+/)*[a-z_0-9]+\.py)[`#]", page.read_text(encoding="utf-8"))
    files = [f"/{file.relative_to(ROOT).as_posix()}" for part in PYTHON for file in (ROOT / part).rglob("*.py")]
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
