"""The scripts in examples/ run as they stand, on a little of the real data they are for."""

from __future__ import annotations

import csv
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sonolearn.config.data import REASONS
from sonolearn.config.study import StudyDataConfig
from sonolearn.study.plan import METHODS, read_plan
from stores import write_store

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, data: Path, out: Path, executable: Path = Path(sys.executable), **settings: str) -> str:
    path = os.pathsep.join([str(executable.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
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


def test_hc18_compares_initialisations_and_draws_of_labels(
    little_data: Path, executable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"SIZE": "32", "STEPS": "2", "BATCH": "8", "DRAWS": "2", "PRETRAININGS": "2", "FRACTIONS": "0.5 1.0"}
    run("hc18.sh", little_data, tmp_path / "out", executable, **small)
    labels = pd.read_csv(tmp_path / "out" / "stores" / "hc18" / "labels.csv")
    for seed in range(2):
        learnt_from = pd.read_csv(tmp_path / "out" / f"simclr_{seed}" / "patients.csv")["patient"]
        assert not set(learnt_from) & set(labels.loc[labels["split"] != "train", "patient"])
    for draw in ("random", "suggested"):
        for init in ("random", "imagenet", "simclr_0", "simclr_1"):
            results = pd.read_csv(tmp_path / "out" / draw / init / "results.csv")
            assert list(zip(results["fraction"], results["seed"], strict=True)) == [(0.5, 0), (0.5, 1), (1, 0), (1, 1)]
            assert results["macro_f1"].between(0, 1).all()
        page = (tmp_path / "out" / f"{draw}.html").read_text()
        assert all(name in page for name in ("ImageNet", "SimCLR", "random"))

    script = runpy.run_path(str(EXAMPLES / "compare.py"))
    first, *others = [tmp_path / "out" / "random" / init for init in ("imagenet", "simclr_0", "simclr_1")]
    capsys.readouterr()
    script["main"]([f"ImageNet={first}", f"SimCLR={others[0]},{others[1]}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| labels | images | ImageNet | SimCLR | SimCLR minus ImageNet |"
    for row, fraction in ((2, 0.5), (3, 1.0)):
        tables = [pd.read_csv(folder / "results.csv").query(f"fraction == {fraction}") for folder in (first, *others)]
        base, *means = [table["macro_f1"].mean() for table in tables]
        expected = sum(means) / 2 - base
        assert float(lines[row].split("|")[5].split()[0]) == pytest.approx(expected, abs=6e-4)


def test_every_real_file_is_stored_or_rejected_with_a_reason(
    shared_data: Path, executable: Path, tmp_path: Path
) -> None:
    printed = run("real_files.sh", shared_data, tmp_path / "out", executable)
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


# The evidence on a GPU

IMAGENET = "tf_efficientnet_lite0.in1k.fp16.safetensors"


@pytest.mark.parametrize("name", ["hc18", "covid_blues", "phantom_resnet18", "phantom_resnet50"])
def test_a_plan_of_the_evidence_compares_all_methods_over_pretrainings_and_draws(name: str) -> None:
    plan = read_plan(EXAMPLES / "evidence" / f"{name}.yaml", StudyDataConfig(Path("labelled"), ("scans",)))
    assert set(METHODS) <= {config.method for method in plan.methods.values() for config in method.configs.values()}
    assert plan.pretrain_seeds >= 3
    assert set(plan.modes) == {"linear", "finetune", "knn"}


def test_ssl_of_the_evidence_continues_from_imagenet_and_on_the_phantom_from_nothing() -> None:
    here = StudyDataConfig(Path("labelled"), ("scans",), ("ImageNet=weights.safetensors",))
    for name in ("hc18", "covid_blues", "covid_blues_pools"):
        plan = read_plan(EXAMPLES / "evidence" / f"{name}.yaml", here)
        assert {config.init for made in plan.methods.values() for config in made.configs.values()} == {
            here.weights[0][9:]
        }
    for name in ("phantom_resnet18", "phantom_resnet50"):
        plan = read_plan(EXAMPLES / "evidence" / f"{name}.yaml", StudyDataConfig(Path("labelled"), ("scans",)))
        assert {config.init for made in plan.methods.values() for config in made.configs.values()} == {"random"}


STAND_IN = """
import pathlib, sys, time
words = sys.argv[1:]
with open("said.txt", "a") as said:
    said.write(" ".join(words) + "\\n")
out = pathlib.Path(words[words.index("--out") + 1]) if "--out" in words else pathlib.Path(words[1])
out.mkdir(exist_ok=True)
(out / "results.csv").write_text("run\\n")
if out.name == "zone" and not (out / "begun").exists():
    (out / "begun").touch()
    time.sleep(600)
"""


def test_the_evidence_keeps_to_its_time_and_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    settings = {"SONOLEARN": f"{sys.executable} {tmp_path / 'stand_in.py'}", "TIME_LIMIT": "160"}
    stages = "zone:1 b_lines:12 phantom_resnet18:12"
    printed = run("gpu_evidence.sh", tmp_path / "out", tmp_path, **settings, STAGES=stages)
    said = (tmp_path / "out" / "said.txt").read_text().splitlines()
    studies = [line.split()[line.split().index("--out") + 1] for line in said if line.startswith("study run")]
    # Zone was stopped after its share, and had its turn again.
    assert studies == ["zone", "b_lines", "phantom_resnet18", "zone"]
    begun = {name: next(line for line in said if f"--out {name} " in line) for name in studies}
    assert f"--labelled {tmp_path}/stores/b_lines" in begun["b_lines"]
    assert f"--weights ImageNet={tmp_path}/weights/{IMAGENET}" in begun["zone"]
    made = [line for line in said if not line.startswith("study run")]
    assert [line.split()[0] for line in made] == ["phantom", "prepare", "prepare"]
    (tmp_path / "out" / "zone" / "pretrain" / "made").touch()
    assert (tmp_path / "out" / "b_lines" / "pretrain" / "made").exists()
    times = pd.read_csv(tmp_path / "out" / "stages.csv").groupby("stage")["code"].apply(list)
    assert times["zone"] == [124, 0]
    assert times["phantom_resnet18"] == [0]
    assert "zone" in printed
    run("gpu_evidence.sh", tmp_path / "out", tmp_path, **settings, STAGES=stages)
    assert (tmp_path / "out" / "said.txt").read_text().splitlines() == said


def test_both_tasks_of_covid_blues_have_one_split_and_ssl_sees_none_of_its_test(
    shared_data: Path, tmp_path: Path
) -> None:
    script = EXAMPLES / "evidence" / "covid_split.py"
    subprocess.run([sys.executable, script, shared_data / "covid_blues", tmp_path], check=True)
    tables = [pd.read_csv(tmp_path / f"labels_{task}.csv") for task in ("zone", "b_lines")]
    splits = [table.groupby("patient")["split"].unique() for table in tables]
    assert all(len(parts) == 1 for split in splits for parts in split)
    pd.testing.assert_series_equal(*(split.str[0] for split in splits))
    assert splits[0].str[0].value_counts().to_dict() == {"train": 26, "test": 16, "valid": 6}
    cines = {path.name.split("_")[1] for path in (tmp_path / "training_cines").iterdir()}
    assert cines == {str(patient) for patient, part in splits[0].str[0].items() if part == "train"}
    assert all(Path(image).exists() for image in tables[0]["image"])
