"""The page: sections have material, figures are those of the tables, names are escaped, nothing tells who made it."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support

from reports.fake_study import Wish, study_of
from sonolearn.console import UserError
from sonolearn.reports.page import write_page
from sonolearn.study.results import StudyResults

ODD = ("<b>&_%", "4CH", "$x^2#{}~\\")
POOLS = (("few", 10, 40, 500), ("many", 40, 160, 500))
RICH = Wish(pools=POOLS, planes=ODD, missing=1, failures=2, cams=1, patients=9, images=45)


@dataclasses.dataclass(frozen=True)
class Page:
    """A written page."""

    results: StudyResults
    out: Path

    @property
    def raw(self) -> str:
        return (self.out / "index.html").read_text()

    @property
    def text(self) -> str:
        return words_of(self.raw)

    def csv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.out / "tables" / f"{name}.csv")


def words_of(raw: str) -> str:
    """What a reader sees, tags left out."""
    plain = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", raw, flags=re.DOTALL))
    return re.sub(r"\s+", " ", plain.replace("\N{NO-BREAK SPACE}", " "))


def made(wish: Wish, out: Path) -> Page:
    results = study_of(wish)
    write_page(results, out)
    return Page(results, out)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return made(RICH, tmp_path_factory.mktemp("rich"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """One initialisation, no pre-training, no probabilities, one machine."""
    wish = Wish(initialisations=1, modes=("linear",), embeddings=False, machines=("V830",))
    results = study_of(wish)
    probabilities = [column for column in results.predictions if column.startswith("p_")]
    predictions = results.predictions.assign(**dict.fromkeys(probabilities, np.nan))
    out = tmp_path_factory.mktemp("bare")
    write_page(dataclasses.replace(results, predictions=predictions), out)
    return Page(results, out)


SECTIONS = {
    "Gain over ImageNet and over random weights": "gains.csv",
    "Variance against size": "pools.csv",
    "Ranks": "ranks.csv",
    "Calibration": "calibration.csv",
    "Pre-trainings": "pretrainings.csv",
    "Features of the test images": None,
    "What the classifiers look at": None,
    "Failures": None,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_appears_when_and_only_when_there_is_material(heading: str, rich: Page, bare: Page) -> None:
    assert f"<h2>{heading}</h2>" in rich.raw
    assert f"<h2>{heading}</h2>" not in bare.raw
    if file := SECTIONS[heading]:
        assert (rich.out / "tables" / file).is_file()
        assert not (bare.out / "tables" / file).exists()


@pytest.mark.parametrize(
    "heading", ["Macro F1 against the label fraction", "Confusion", "Data", "How to make it again"]
)
def test_what_every_study_has_is_always_there(heading: str, rich: Page, bare: Page) -> None:
    assert f"<h2>{heading}</h2>" in rich.raw
    assert f"<h2>{heading}</h2>" in bare.raw


def test_the_page_needs_no_network_no_script_and_no_other_file(rich: Page) -> None:
    assert not re.search(r"https?:|<script|<link|url\(", rich.raw)
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', rich.raw))


def test_every_picture_says_what_it_shows(rich: Page) -> None:
    pictures = re.findall(r"<img [^>]*>", rich.raw)
    assert len(pictures) > 8
    assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)


def test_scores_in_the_page_are_those_of_the_csv_and_of_the_runs(rich: Page) -> None:
    scores = rich.csv("scores")
    assert len(scores) == 3 * 2 * 2
    for row in scores.to_dict("records"):
        assert f"{row['mean']:.3f} ± {row['sd']:.3f} {row['low']:.3f} to {row['high']:.3f}" in rich.text
    runs = rich.results.runs[rich.results.runs["pool"] == ""]
    cell = ["initialisation", "mode", "fraction"]
    expected = runs.groupby(cell)["macro_f1"].mean()
    assert scores.set_index(cell)["mean"].sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy())


def test_the_highest_mean_of_each_column_is_marked_best(rich: Page) -> None:
    for _, column in rich.csv("scores").groupby(["mode", "fraction"]):
        assert column.loc[column["mark"] == "best", "mean"].item() == column["mean"].max()


def test_what_is_shown_to_be_below_the_best_is_never_marked_equal(rich: Page) -> None:
    pairs = rich.csv("all_pairs").query("fraction.notna()")
    for (mode, fraction), column in rich.csv("scores").groupby(["mode", "fraction"]):
        best = column.loc[column["mark"] == "best", "initialisation"].item()
        own = pairs[(pairs["mode"] == mode) & (pairs["fraction"] == fraction) & pairs["shown"]]
        told = {*own.loc[own["initialisation"] == best, "other"], *own.loc[own["other"] == best, "initialisation"]}
        equal = set(column.loc[column["mark"] == "equal", "initialisation"])
        assert equal == {*column["initialisation"]} - told - {best}


def test_planes_are_told_as_scikit_learn_counts_them(rich: Page) -> None:
    runs, predictions = rich.results.runs.query("pool == ''"), rich.results.predictions
    cells = rich.csv("planes").groupby(["mode", "initialisation", "fraction"], sort=False)
    for key, cell in cells:
        own = runs[(runs[["mode", "initialisation", "fraction"]] == list(key)).all(axis=1)]
        tables = [predictions[predictions["run"] == run] for run in own["run"]]
        told = [precision_recall_fscore_support(t["plane"].astype(str), t["predicted"].astype(str), labels=ODD,
                                                zero_division=0) for t in tables]  # fmt: skip
        found = cell[["precision", "recall", "f1", "support"]].to_numpy().T
        assert found == pytest.approx(np.mean(told, axis=0))


def test_calibration_in_the_page_is_that_of_the_csv(rich: Page) -> None:
    for row in rich.csv("calibration").to_dict("records"):
        assert f"{row['ece']:.3f} {row['brier']:.3f}" in rich.text


def test_the_data_card_counts_patients_and_images(rich: Page) -> None:
    assert "Patients 90 20 9" in rich.text
    assert "Images 1 200 200 45" in rich.text
    assert "fingerprint 0123456789ab" in rich.text


def test_warnings_name_what_is_missing_failed_few_and_shared(tmp_path: Path) -> None:
    shared = ("2 patients of the test part",)
    wish = Wish(seeds=2, patients=9, missing=1, failures=2, modes=("linear",), warnings=shared, embeddings=False)
    words = made(wish, tmp_path).text.split("Before you believe it")[1].split("Macro F1 against")[0]
    assert "2 patients of the test part." in words
    assert "1 planned run is missing" in words
    assert "2 tasks failed" in words
    assert "The test part has 9 patients only" in words
    assert "rest on 1 seed only" in words


def test_no_difference_is_claimed_between_equal_initialisations(tmp_path: Path) -> None:
    results = study_of(Wish(initialisations=2, modes=("linear",)))
    alike = results.runs.groupby(["fraction", "seed"])
    first = dict(zip(results.runs["run"], alike["run"].transform("first"), strict=True))
    tables = dict(list(results.predictions.groupby("run", observed=True)))
    predictions = pd.concat([tables[one].assign(run=run) for run, one in first.items()], ignore_index=True)
    runs = results.runs.assign(macro_f1=alike["macro_f1"].transform("first"))
    write_page(dataclasses.replace(results, runs=runs, predictions=predictions), tmp_path)
    words = Page(results, tmp_path).text
    assert "no difference is shown between" in words
    assert "is shown to" not in words


def test_variance_against_size_has_a_paragraph_a_mode_in_the_order_of_the_page(tmp_path: Path) -> None:
    modes = {"finetune": "Full fine-tuning", "linear": "Linear evaluation", "knn": "Nearest neighbours"}
    page = made(Wish(modes=tuple(modes), pools=POOLS, pooled_modes=3, embeddings=False), tmp_path)
    part = page.raw.split("<h2>Variance against size</h2>")[1].split("<img")[0]
    _, *paragraphs = re.findall(r"<p>(.*?)</p>", part, re.DOTALL)
    assert [paragraph.split(".")[0] for paragraph in paragraphs] == list(modes.values())
    assert all(paragraph.count("More patients") == 1 for paragraph in paragraphs)
    assert list(dict.fromkeys(page.csv("pools")["mode"])) == list(modes)
    assert list(dict.fromkeys(page.csv("pool_effects")["mode"])) == list(modes)


def test_names_from_data_are_escaped(rich: Page) -> None:
    assert "<b>&_%" not in rich.raw
    assert "&lt;b&gt;&amp;_%" in rich.raw
    assert "<lost>" not in rich.raw


def test_no_file_tells_folders_of_the_machine(rich: Page) -> None:
    pictures = re.findall(r"base64,([^\"]+)", rich.raw)
    decoded = "".join(base64.b64decode(picture).decode("latin-1") for picture in pictures)
    files = "".join(p.read_text("latin-1") for p in rich.out.rglob("*") if p.is_file())
    for secret in ("anna", "/home", str(rich.out)):
        assert secret not in rich.raw + decoded + files
    assert "store: hearts" in rich.text


def test_equal_results_give_equal_files_whatever_an_earlier_page_left(tmp_path: Path) -> None:
    wish = Wish(initialisations=3, modes=("linear",), pools=POOLS)
    for earlier in ("tables/scores_old.csv", "tables/scores_old.tex", "figures/curves_old.svg", "figures/old.png"):
        (tmp_path / "b" / earlier).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / earlier).touch()
    first, second = made(wish, tmp_path / "a").out, made(wish, tmp_path / "b").out
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".html", ".csv", ".tex", ".svg", ".png"}
    assert [(first / file).read_bytes() for file in files] == [(second / file).read_bytes() for file in files]


@pytest.mark.parametrize("count", [1, 2, 12])
def test_any_number_of_initialisations_can_be_shown(count: int, tmp_path: Path) -> None:
    page = made(Wish(initialisations=count, modes=("linear",), embeddings=False, images=30), tmp_path)
    for name in set(page.results.runs["initialisation"]):
        assert f'<th scope="row">{name}</th>' in page.raw
    assert (tmp_path / "figures" / "curves_resnet18_linear.png").exists() == (count >= 5)


def test_many_fractions_are_split_into_tables_that_fit_a_page(tmp_path: Path) -> None:
    fractions = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    page = made(Wish(initialisations=2, modes=("linear",), fractions=fractions, embeddings=False, images=30), tmp_path)
    heads = [len(re.findall("<th[ >]", head)) for head in re.findall(r"<thead>.*?</thead>", page.raw, flags=re.DOTALL)]
    assert max(heads) <= 7
    assert (tmp_path / "tables" / "scores_resnet18_linear_2.tex").is_file()


def test_figures_are_180_mm_wide(rich: Page) -> None:
    import cv2

    for svg in (rich.out / "figures").glob("*.svg"):
        assert 'width="510.23622pt"' in svg.read_text()  # 180 mm = 510.236 pt
        assert cv2.imread(str(svg.with_suffix(".png"))).shape[1] == 1417


def test_a_study_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    results = study_of(Wish(initialisations=1, modes=("linear",), embeddings=False))
    with pytest.raises(UserError, match="no run of the study is finished"):
        write_page(dataclasses.replace(results, runs=results.runs.iloc[:0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_sheet_is_named(tmp_path: Path) -> None:
    results = study_of(Wish(initialisations=1, modes=("linear",), embeddings=False))
    with pytest.raises(UserError, match="Grad-CAM sheet of MoCo is not a picture"):
        write_page(dataclasses.replace(results, cams={"MoCo": b"no picture"}), tmp_path)
