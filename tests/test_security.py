"""Text from files is text: no markup in a real browser, no formula in a table, no LaTeX, no path, no terminal code."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from jinja2 import Environment, PackageLoader

from browser import Shown, needs_browser, shown
from media import speckle, write_dicom, write_still
from planes.labelled_store import tiny
from reports.fake_study import Wish, study_of
from sonolearn import commands
from sonolearn.config import PredictConfig, PrepareConfig
from sonolearn.console import for_terminal, no_formula, one_line
from sonolearn.reports.figures import STYLE
from sonolearn.reports.page import write_page
from sonolearn.store.review import write_review
from sonolearn.store.store import Store

MARKUP = """<img src=x onerror="document.title='owned'"><i data-owned>"""
PLANES = (f"={MARKUP}", f"../../@{MARKUP} $x_$ \\input", "+cmd|'x'!A1 \x1b[31m", "4CH")
STORED = tuple(sorted(no_formula(one_line(plane)) for plane in PLANES))


# The pieces


@pytest.mark.parametrize("text", ["=1", "+a", "-a", "@a", " =1+1", "\t=1", "-1+1", "=-1"])
def test_what_begins_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert no_formula(text) == f"'{text}"
    assert no_formula(no_formula(text)) == no_formula(text)


@pytest.mark.parametrize("text", ["4CH", "-1", "+1.5", "-.5e-3", "a=1", "", "P-1"])
def test_numbers_and_names_stay(text: str) -> None:
    assert no_formula(text) == text


def test_a_terminal_gets_no_control_characters() -> None:
    assert for_terminal("a\x1b[2J\x07\x9b1m\x7f\tb\nc ü") == "a\ufffd[2J\ufffd\ufffd1m\ufffd\tb\nc ü"


def test_dollars_in_names_are_no_formulas_of_figures() -> None:
    assert STYLE["text.parse_math"] is False


# The complete workflow with hostile names


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stills of hostile planes, prepared, classified, predicted and reported; and a DICOM file of a hostile machine."""
    folder = tmp_path_factory.mktemp("road")
    rows = ["image,plane,patient,machine,split"]
    for patient, part in enumerate(("train", "train", "valid", "test")):
        for number, plane in enumerate(PLANES):
            image = write_still(folder / "in" / f"{patient}{number}.png", 10 * patient + number)
            quoted = plane.replace('"', '""')
            rows.append(f'{image.name},"{quoted}",Ann{patient},"={MARKUP.replace(chr(34), chr(34) * 2)}",{part}')
    (folder / "in" / "labels.csv").write_text("\n".join(rows) + "\n")
    cleaning = PrepareConfig(size=32, workers=1)
    commands.prepare([], folder / "store", folder / "in" / "labels.csv", cleaning)
    scan = folder / "scans" / f"{MARKUP.replace('/', '')}.dcm"
    scan.parent.mkdir()
    write_dicom(scan, speckle(2), Manufacturer="=cmd", ManufacturerModelName=MARKUP, PatientID=MARKUP)
    commands.prepare([folder / "scans"], folder / "unlabelled", config=cleaning)
    run = tiny(save_classifiers=True, fractions=(1.0,), seeds=1)
    commands.classify(folder / "store", folder / "run", run)
    commands.predict([folder / "scans"], folder / "predicted", PredictConfig(folder / "run", engine="torch"))
    commands.report([folder / "run"], folder / "page" / "report.html")
    return folder


def test_planes_are_stored_as_text(road: Path) -> None:
    assert Store(road / "store").planes == STORED
    assert all(plane.isprintable() for plane in STORED)


def test_no_cell_of_a_table_is_a_formula(road: Path) -> None:
    tables = [path for path in road.rglob("*.csv") if path.parent.name != "in"]
    assert {"labels.csv", "scans.csv", "predictions.csv", "results.csv", "sources.csv"} <= {p.name for p in tables}
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                assert no_formula(cell) == cell, f"{path.name}: {cell}"


def test_no_name_becomes_a_path(road: Path) -> None:
    made = {path.relative_to(road).parts[0] for path in road.iterdir()}
    assert made == {"in", "scans", "store", "unlabelled", "run", "predicted", "page", "sonolearn-private"}
    names = [path.name for path in road.rglob("*") if path.is_file() and path.parent.name not in ("in", "scans")]
    assert not [name for name in names if re.search(r"[<>=@ ]|img|owned|4CH", name)]
    beside = {path.name for path in road.parent.iterdir()}
    assert not [name for name in beside if "owned" in name]


def test_predictions_are_named_by_their_files_and_not_by_what_these_say(road: Path, tmp_path: Path) -> None:
    """A row that names another file does not lead there."""
    from sonolearn.deploy.results import write_tables
    from sonolearn.runs import write_json

    (tmp_path / "scans").mkdir()
    (tmp_path / "secret.csv").write_text("head\nsecret\n")
    write_json(tmp_path / "scans" / "S-1.json", {"scan": "../secret", "frames": 1, "kind": "still"})
    with pytest.raises(OSError, match=r"S-1\.csv"):
        write_tables(tmp_path, ("a", "b"))
    assert (
        "secret" not in (tmp_path / "predictions.csv").read_text() if (tmp_path / "predictions.csv").exists() else True
    )


# Pages, in a browser

PAGE = '{% extends "page.html.j2" %}{% block content %}{{ bad }}{% endblock %}'


def harmless(page: Shown) -> bool:
    """Whether no element came from text."""
    owned = [(tag, given) for tag, given in page.elements if "data-owned" in given or "onerror" in given]
    assert owned == []
    assert page.title != "owned"
    assert page.refused == []
    return True


@needs_browser
@pytest.mark.slow
def test_the_browser_runs_what_a_page_without_our_care_would_let_in(tmp_path: Path) -> None:
    """So the other tests would see it; and the policy of our pages stops it even where escaping was forgotten."""
    environment = Environment(loader=PackageLoader("sonolearn"))
    environment.globals["version"] = "0"
    text = environment.from_string(PAGE).render(title="fine", bad=MARKUP)
    (tmp_path / "policy.html").write_text(text)
    (tmp_path / "without.html").write_text(re.sub(r"<meta http-equiv[^>]*>", "", text))
    without, policy = (shown(tmp_path / name, tmp_path / "profile") for name in ("without.html", "policy.html"))
    assert without.title == "owned"
    assert policy.title == "fine"
    assert policy.refused


@needs_browser
@pytest.mark.slow
def test_the_page_of_a_store_shows_text_as_text_and_can_be_searched(road: Path, tmp_path: Path) -> None:
    page = shown(road / "unlabelled" / "report.html", tmp_path)
    assert harmless(page)
    assert "<img src=x" in page.text
    (form,) = [given for tag, given in page.elements if given.get("id") == "find"]
    assert "hidden" not in form  # by the page's own script, which its policy lets run


@needs_browser
@pytest.mark.slow
def test_the_page_of_runs_shows_text_as_text(road: Path, tmp_path: Path) -> None:
    page = shown(road / "page" / "report.html", tmp_path)
    assert harmless(page)
    assert all(" ".join(plane.split()) in page.text for plane in STORED)


@needs_browser
@pytest.mark.slow
def test_the_page_of_predictions_shows_text_as_text(road: Path, tmp_path: Path) -> None:
    page = shown(road / "predicted" / "report.html", tmp_path)
    assert harmless(page)
    assert all(" ".join(plane.split()) in page.text for plane in STORED)


@needs_browser
@pytest.mark.slow
def test_the_private_page_shows_text_as_text(tmp_path: Path) -> None:
    write_review(tmp_path / "review.html", [(f"S-{MARKUP}", MARKUP, b"no picture")])
    page = shown(tmp_path / "review.html", tmp_path / "profile")
    assert harmless(page)
    assert MARKUP in page.text


@needs_browser
@pytest.mark.slow
def test_the_page_of_a_study_shows_text_as_text_and_so_do_its_figures(tmp_path: Path) -> None:
    planes = (MARKUP, "$x_$ \\input{x}", "4CH")
    wish = Wish(planes=planes, machines=(MARKUP, "$a_$"), title=MARKUP, warnings=(MARKUP,), failures=1, cams=1)
    write_page(study_of(wish), tmp_path / "report")
    page = shown(tmp_path / "report" / "index.html", tmp_path / "profile")
    assert harmless(page)
    assert MARKUP in page.text
    for figure in (tmp_path / "report" / "figures").glob("*.svg"):
        parts = list(ElementTree.parse(figure).iter())
        assert not [part for part in parts if str(part.tag).endswith(("script", "foreignObject", "}a"))]
        pictures = [given for part in parts for name, given in part.attrib.items() if name.endswith("href")]
        assert all(given.startswith(("data:image/png", "#")) for given in pictures)
        assert not [name for part in parts for name in part.attrib if name.lower().startswith("on")]
    for table in (tmp_path / "report" / "tables").glob("*.tex"):
        assert "\\input{x}" not in table.read_text()
