"""The scripts in examples/ run as they stand, on a little of the real data they are for."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sonolearn.config.cleaning import REASONS
from stores import write_store

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, data: Path, out: Path, **settings: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(EXAMPLES / script), str(data), str(out)]
    done = subprocess.run(command, env={**os.environ, "PATH": path, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def little_data(shared_data: Path, tmp_path: Path) -> Path:
    """48 labelled heads of the three trimesters, 8 unlabelled ones and 2 clips, under the names of the real folders."""
    table = pd.read_csv(shared_data / "hc18" / "labels.csv").groupby("trimester").head(16)
    wanted = [f"hc18/{image}" for image in table["image"]]
    wanted += [f"hc18/unlabelled/{p.name}" for p in sorted((shared_data / "hc18" / "unlabelled").iterdir())[:8]]
    wanted += [f"lung_clips/{p.name}" for p in sorted((shared_data / "lung_clips").glob("Reg_pat*1.mpeg"))[:2]]
    wanted += [f"weights/{p.name}" for p in (shared_data / "weights").iterdir()]
    for name in wanted:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).symlink_to(shared_data / name)
    table.to_csv(tmp_path / "data" / "hc18" / "labels.csv", index=False)
    return tmp_path / "data"


def test_hc18_compares_three_initialisations_of_one_encoder_in_two_modes(little_data: Path, tmp_path: Path) -> None:
    small = {"SIZE": "32", "STEPS": "2", "BATCH": "8", "SEEDS": "2", "EPOCHS": "1", "FINETUNE_STEPS": "1"}
    run("hc18.sh", little_data, tmp_path / "out", **small, FRACTIONS="0.5 1.0")
    for mode in ("linear", "finetune"):
        for init in ("random", "barlow_twins", "imagenet"):
            results = pd.read_csv(tmp_path / "out" / f"{mode}_{init}" / "results.csv")
            assert sorted(zip(results["fraction"], results["seed"], strict=True)) == [
                (0.5, 0),
                (0.5, 1),
                (1, 0),
                (1, 1),
            ]
            assert results["macro_f1"].between(0, 1).all()
    labels = pd.read_csv(tmp_path / "out" / "labelled" / "labels.csv")
    learnt_from = pd.read_csv(tmp_path / "out" / "barlow_twins" / "patients.csv")["patient"]
    assert not set(learnt_from) & set(labels.loc[labels["split"] != "train", "patient"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(name in page for name in ("ImageNet", "Barlow Twins", "random"))


def test_every_real_file_is_stored_or_rejected_with_a_reason(shared_data: Path, tmp_path: Path) -> None:
    printed = run("real_files.sh", shared_data, tmp_path / "out")
    media = {".dcm", ".mpeg", ".mp4", ".mov", ".png", ".jpg"}
    files = [p for f in ("dicom", "lung_clips", "screens") for p in (shared_data / f).iterdir() if p.suffix in media]
    with (tmp_path / "out" / "sonolearn-private" / "sources.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert sorted(row["path"] for row in rows) == sorted(str(p.resolve()) for p in files)
    # All of these can be read; some show colour Doppler or the like.
    assert {row["reason"] for row in rows} <= {"", *REASONS}
    assert sum(row["outcome"] == "stored" for row in rows) >= 0.8 * len(rows)
    assert len(printed.splitlines()) == len(files)


def test_the_comparison_of_methods_makes_its_table_and_goes_on(tmp_path: Path) -> None:
    labelled = write_store(tmp_path / "labelled", planes=("3VV/3VT", "4CH"), patients=8)
    scans = write_store(tmp_path / "scans", seed=1)
    stores = ["--labelled", str(labelled), "--scans", str(labelled), str(scans)]
    small = ["--steps", "2", "--seeds", "2", "--jobs", "1", "--image_size", "32", "--batch_size", "16", "--only"]
    names = "simclr, nearby frames"
    script = [sys.executable, str(EXAMPLES / "methods.py"), str(tmp_path / "out")]
    table = subprocess.run([*script, *stores, *small, names], capture_output=True, text=True, check=True).stdout
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["start", "random", names]
    assert "16 test images of 2 patients" in table
    assert "Mean over 2 pre-training seeds x 3 draws of labels ± SD over pre-training seeds" in table
    again = subprocess.run([*script, *stores, *small, names], capture_output=True, text=True, check=True).stdout
    assert again == table
