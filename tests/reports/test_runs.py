"""The page of runs: it stands alone, holds the very numbers of their tables, warns, and says how to make them again."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from planes.labelled_store import tiny, write_store
from sonolearn.commands import report
from sonolearn.console import UserError, duration
from sonolearn.planes.classify import classify
from sonolearn.planes.metrics import SCORES


@pytest.fixture(scope="module")
def page(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text of a page of a pre-training and two classify runs on one store."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert report([runs["bt"], runs["random"], runs["pretrained"]], out) == out
    return text_of(out)


def text_of(out: Path) -> str:
    return html.unescape(out.read_text()).replace("\N{NO-BREAK SPACE}", " ")


def words_of(page: str) -> str:
    """What a reader sees, tags left out."""
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_the_page_needs_no_network_no_script_and_no_other_file(page: str) -> None:
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert "url(" not in page
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', page))


def test_the_page_holds_no_path_of_this_machine(page: str, runs: dict[str, Path]) -> None:
    assert str(runs["bt"].parent) not in page
    for drawing in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page):
        assert str(runs["bt"].parent) not in base64.b64decode(drawing).decode()


@pytest.fixture(scope="module")
def hard(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and page of two runs on labels that nothing can learn, so that scores differ."""
    folder = tmp_path_factory.mktemp("hard")
    store = write_store(folder / "hearts", shuffled=True)
    classify(store, folder / "random", tiny(seeds=3))
    classify(store, folder / "pretrained", tiny(seeds=3, init=str(runs["bt"]), encoder=None))
    return folder, words_of(text_of(report([folder / "random", folder / "pretrained"], folder / "report.html")))


def test_scores_are_those_of_the_result_tables(hard: tuple[Path, str]) -> None:
    folder, words = hard
    for name in ("random", "pretrained"):
        for row in pd.read_csv(folder / name / "summary.csv").to_dict("records"):
            scored = f"{row['macro_f1_mean']:.3f} ± {row['macro_f1_sd']:.3f}"
            assert f"{scored} {row['macro_f1_low']:.3f} to {row['macro_f1_high']:.3f}" in words
            balanced, accuracy = (f"{row[f'{s}_mean']:.3f} ± {row[f'{s}_sd']:.3f}" for s in SCORES[1:])
            assert f"{balanced} {accuracy}" in words


def test_each_plane_has_its_f1_precision_and_recall(hard: tuple[Path, str]) -> None:
    folder, words = hard
    for name in ("random", "pretrained"):
        for _, at in pd.read_csv(folder / name / "per_class.csv").groupby(["fraction", "plane"]):
            f1, precision, recall = (at[column] for column in ("f1", "precision", "recall"))
            assert f"{f1.mean():.3f} ± {f1.std():.3f} {precision.mean():.3f} / {recall.mean():.3f}" in words


def test_gains_are_paired_differences_of_the_result_tables(hard: tuple[Path, str]) -> None:
    folder, words = hard
    ours, theirs = (pd.read_csv(folder / name / "results.csv") for name in ("pretrained", "random"))
    pairs = ours.merge(theirs, on=["fraction", "seed"])
    gains = (pairs["macro_f1_x"] - pairs["macro_f1_y"]).groupby(pairs["fraction"]).mean()
    assert gains.abs().max() > 0
    first, second = (f"{gain:+.3f}".replace("-", "−") for gain in gains)
    table = words.split("paired difference in macro F1 from random. Below:")[1]
    ends = r" [−+]\d\.\d{3} to [−+]\d\.\d{3} "
    assert re.search(rf"Barlow Twins (● )?{re.escape(first)}{ends}(● )?{re.escape(second)}{ends}", table)


def test_warnings_name_shared_patients_and_small_parts(page: str) -> None:
    words = words_of(page)
    assert "1 patient of the validation and test parts took part in the pre-training" in words
    assert "P11" in words
    assert "The test part has 4 patients only" in words
    assert "Training images come from as few as 6 patients at 25 % of the labels" in words
    assert "One encoder each stands behind Barlow Twins: " in words


def test_pretraining_shows_what_stands_behind_it(page: str) -> None:
    words = words_of(page)
    assert "Barlow Twins" in words
    assert "Patients 32" in words
    assert "Scans 64" in words
    assert "Voluson E8" in words
    assert "Last valid loss 0.5" in words
    assert "data:image/jpeg;base64," in page


def test_commands_make_the_runs_again(page: str, runs: dict[str, Path]) -> None:
    words = words_of(page)
    pretraining = "sonolearn pretrain scans --method barlow_twins --recipe null --encoder test_resnet --epochs 20"
    assert f"{pretraining} --image_size 32 --out bt" in words
    record = json.loads((runs["pretrained"] / "run.json").read_text())
    command = "sonolearn classify hearts --init bt --mode linear --fractions 0.25 1.0 --image_size 32"
    assert f"{command} --epochs 3 --min_steps 0 --batch_size 16 --precision 32-true --out pretrained" in words
    assert record["hash"] in words
    assert record["data"]["store"] in words


def test_equal_runs_give_equal_pages(runs: dict[str, Path], tmp_path: Path) -> None:
    pages = [report([runs["bt"], runs["random"]], tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_one_run_has_no_baseline_and_one_seed_no_spread(runs: dict[str, Path], tmp_path: Path) -> None:
    words = words_of(text_of(report([runs["other"]], tmp_path / "page.html")))
    assert "(one training)" in words
    assert "Gain" not in words
    assert "Some figures rest on 1 seed only" in words
    assert "± nan" not in words


def test_a_pretraining_alone_says_nothing_about_planes(runs: dict[str, Path], tmp_path: Path) -> None:
    words = words_of(text_of(report([runs["bt"]], tmp_path / "page.html")))
    assert "Pre-training with Barlow Twins" in words
    assert "says nothing about how well planes are told apart" in words
    assert "Macro F1" not in words


def test_runs_on_different_labelled_stores_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other: was measured on another labelled store \(clinic, .*own page$"):
        report([runs["random"], runs["other"]], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_runs_of_equal_names_are_told_apart_by_their_folders(runs: dict[str, Path], tmp_path: Path) -> None:
    classify(runs["random"].parent / "hearts", tmp_path / "again", tiny(seeds=3, dropout=0.1))
    words = words_of(text_of(report([runs["random"], tmp_path / "again"], tmp_path / "page.html")))
    assert "random (random)" in words
    assert "random (again)" in words
    assert "differ in more than the initialisation (dropout)" in words
    assert "Over random (random)" in words


def test_a_plane_called_na_is_a_plane(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", planes=("NA", "4CH"))
    classify(store, tmp_path / "run", tiny("knn", fractions=(1.0,)))
    words = words_of(text_of(report([tmp_path / "run"], tmp_path / "page.html")))
    assert "NA 8 images" in words
    assert "nan" not in words


def test_names_from_data_are_escaped(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", planes=("<b>4CH</b>", "LVOT"))
    classify(store, tmp_path / "run", tiny("knn", fractions=(1.0,), name="<script>alert(1)</script>"))
    raw = report([tmp_path / "run"], tmp_path / "page.html").read_text()
    assert "<script" not in raw
    assert "<b>4CH" not in raw


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("run.json", "random: is not a run"),
        ("summary.csv", "random: is not finished; run its `classify` command again"),
        ("results.csv", "random: is damaged"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_named(
    harm: str, sentence: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs["random"], tmp_path / "random")
    (tmp_path / "random" / harm).unlink()
    with pytest.raises(UserError, match=sentence):
        report([tmp_path / "random"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_no_runs_a_folder_as_page_and_another_commands_run_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one run"):
        report([], tmp_path / "page.html")
    with pytest.raises(UserError, match=r"is a folder; name a file, such as .*report\.html"):
        report([runs["random"]], tmp_path)
    (tmp_path / "run.json").write_text('{"command": "prepare"}')
    with pytest.raises(UserError, match="is a run of `prepare`"):
        report([tmp_path], tmp_path / "page.html")


def test_durations_are_short() -> None:
    assert [duration(s) for s in (45, 754.2, 9000)] == ["45 s", "13 min", "2.5 h"]
