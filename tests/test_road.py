"""The complete workflow through the command line on a tiny phantom, and that walking it again changes nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sonolearn import cli
from sonolearn.store.pseudonyms import open_private, read_sources
from sonolearn.store.store import Store

PHANTOM = "--patients 12 --labelled 0.75 --scans 1 --frames 4 --stills 5 --size 128 --workers 1"
PREPARE = "--size 32 --frame_skip 2 --workers 1"
SMALL = "--image_size 32 --workers 0 --accelerator cpu --precision 32-true"
METHOD = "--method barlow_twins --barlow_twins.projector 16 16 --init random --encoder test_resnet"
PRETRAIN = f"{METHOD} {SMALL} --batch_size 4 --max_steps 2 --log_every 1 --valid_patients 0.3"
CLASSIFY = f"{SMALL} --fractions 0.5 1.0 --seeds 2 --epochs 1 --batch_size 8 --neighbours 3"
MODES = ("linear", "knn", "finetune")


def commands(home: Path) -> Iterator[str]:
    """The road, in order."""
    phantom = home / "phantom"
    yield f"phantom {phantom} {PHANTOM}"
    pattern = r"--patient_pattern PH\d+"
    yield f"prepare {phantom / 'scans'} {pattern} {PREPARE} --out {home / 'scans'}"
    yield f"prepare --labels {phantom / 'labels.csv'} {PREPARE} --out {home / 'hearts'}"
    yield f"pretrain {home / 'scans'} {home / 'hearts'} {PRETRAIN} --out {home / 'bt'}"
    for mode in MODES:
        yield f"classify {home / 'hearts'} --mode {mode} --init {home / 'bt'} {CLASSIFY} --out {home / mode}"
    yield f"classify {home / 'hearts'} --mode linear --encoder test_resnet {CLASSIFY} --out {home / 'random'}"
    runs = " ".join(str(home / name) for name in ("bt", *MODES, "random"))
    yield f"report {runs} --out {home / 'report.html'}"


def walk(home: Path) -> None:
    for line in commands(home):
        cli.main(line.split())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("road")
    walk(folder)
    return folder


def contents(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


def test_stores_hold_the_patients_of_the_phantom_and_no_other(home: Path) -> None:
    truth = pd.read_csv(home / "phantom" / "truth" / "frames.csv")
    scans = truth[truth["file"].str.startswith("scans/")]
    stills = truth[truth["file"].str.startswith("stills/")]
    pseudonyms = open_private(home / "sonolearn-private")
    for store, part in ((Store(home / "scans"), scans), (Store(home / "hearts"), stills)):
        assert set(store.scans["patient"]) == {pseudonyms.patient(p) for p in part["patient"]}
        assert len(store.scans) == part["file"].nunique()
    assert (scans["patient"].nunique(), stills["patient"].nunique()) == (3, 9)
    assert len(Store(home / "scans")) == 2 * scans["file"].nunique()  # every second of four frames


def test_labels_are_those_of_the_phantom(home: Path) -> None:
    table = pd.read_csv(home / "phantom" / "labels.csv").set_index("image")["plane"]
    store = Store(home / "hearts")
    sources = read_sources(home / "sonolearn-private").query("outcome == 'stored'").set_index("scan")["path"]
    assert store.labels is not None
    for _, label in store.labels.iterrows():
        scan = store.scans["scan"].iloc[store.scan_of_frame[label["row"]]]
        assert table[f"stills/{Path(sources[scan]).name}"] == label["plane"]
    assert len(store.labels) == len(table) == 45
    assert store.labels.groupby("patient")["split"].nunique().max() == 1


def test_pretraining_saw_the_scans_and_the_training_part_alone(home: Path) -> None:
    labels = Store(home / "hearts").labels
    assert labels is not None
    train = set(labels.loc[labels["split"] == "train", "patient"])
    seen = pd.read_csv(home / "bt" / "patients.csv")
    assert set(seen["patient"]) == train | set(Store(home / "scans").scans["patient"])
    assert seen["patient"].is_unique
    summary = json.loads((home / "bt" / "summary.json").read_text())
    assert summary["patients"] + summary["valid_patients"] == len(seen)
    assert summary["steps"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_gives_every_fraction_and_seed_and_counts_the_patients_of_the_store(home: Path, mode: str) -> None:
    results = pd.read_csv(home / mode / "results.csv")
    assert list(zip(results["fraction"], results["seed"], strict=True)) == [(0.5, 0), (0.5, 1), (1.0, 0), (1.0, 1)]
    labels = Store(home / "hearts").labels
    assert labels is not None
    whole = results[results["fraction"] == 1.0]
    assert set(whole["valid_images"]) == set(whole["valid_patients"]) == {0}  # no label of theirs was used
    for part in ("train", "test"):
        inside = labels[labels["split"] == part]
        assert set(whole[f"{part}_images"]) == {len(inside)}
        assert set(whole[f"{part}_patients"]) == {inside["patient"].nunique()}
    assert results["macro_f1"].between(0, 1).all()
    assert json.loads((home / mode / "overlap.json").read_text())["state"] == "none"


def test_the_page_holds_the_numbers_of_the_tables(home: Path) -> None:
    page = (home / "report.html").read_text()
    shown = re.sub(r"[\s\u00a0]+", " ", page)
    for run in (*MODES, "random"):
        results = pd.read_csv(home / run / "results.csv")
        for _, group in results.groupby("fraction"):
            scores = group["macro_f1"]
            assert f"{scores.mean():.3f} ± {scores.std(ddof=1):.3f}" in shown
    patients = pd.read_csv(home / "linear" / "results.csv")["test_patients"].iloc[0]
    assert re.search(rf"\b{patients} patients?\b", shown)
    assert "http://" not in re.sub(r"xmlns\S+|\"http://www\.w3\.org\S+", "", page)


def test_the_road_walked_again_changes_nothing_and_is_quick(home: Path) -> None:
    before = contents(home)
    started = time.monotonic()
    walk(home)
    assert time.monotonic() - started < 20
    after = contents(home)
    assert set(after) == set(before)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == set()


def test_patients_of_the_test_part_in_the_pretraining_are_reported(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody pre-trains on the labelled patients' files without saying that they are labelled."""
    pattern = r"--patient_pattern PH\d+"
    key = home / "sonolearn-private"
    stills = home / "phantom" / "stills"
    lines = [
        f"prepare {stills} {pattern} {PREPARE} --key {key} --out {tmp_path / 'all'}",
        f"pretrain {tmp_path / 'all'} {PRETRAIN} --out {tmp_path / 'seen'}",
        f"classify {home / 'hearts'} --mode knn --init {tmp_path / 'seen'} {CLASSIFY} --out {tmp_path / 'knn'}",
        f"report {tmp_path / 'knn'} --out {tmp_path / 'page.html'}",
    ]
    for line in lines:
        cli.main(line.split())
    labels = Store(home / "hearts").labels
    assert labels is not None
    tested = set(labels.loc[labels["split"] == "test", "patient"])
    found = json.loads((tmp_path / "knn" / "overlap.json").read_text())
    assert (found["state"], set(found["patients"]["test"])) == ("overlap", tested)
    assert "do not trust its results" in " ".join(capsys.readouterr().err.split())
    assert "do not trust its results" in (tmp_path / "page.html").read_text()
