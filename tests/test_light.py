"""The base alone (`pip install sonolearn`) reads, cleans, stores and predicts; what needs more says how to get it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deploy.conftest import made_classifier
from sonolearn import cli
from sonolearn.deploy.classifier import load_classifier
from sonolearn.deploy.runtime import onnx_bytes
from sonolearn.extras import EXTRAS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which a process, and each that it starts, finds no package of an extra."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({list(EXTRAS)}))\n")
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path}


def call(light: dict[str, str], folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Several command lines in one process, which says the exit code of each on standard output."""
    program = (
        "import sys, shlex\n"
        "from sonolearn import cli\n"
        "for line in sys.argv[1:]:\n"
        "    try: cli.main(shlex.split(line))\n"
        "    except SystemExit as stop: print(stop.code)\n"
        "    else: print(0)\n"
    )
    asked = [sys.executable, "-c", program, *lines]
    return subprocess.run(asked, cwd=folder, env=light, capture_output=True, text=True)


PHANTOM = "phantom phantom --patients 3 --size 112 --frames 12 --scans 1 --stills 1 --workers 1"
PREPARE = "prepare phantom/scans --patient_pattern 'PH\\d+' --size 48 --workers 2 --out scans"
PREDICT = "predict phantom/scans --classifier 1.0_0.safetensors --out"


def test_the_base_makes_a_store_and_predicts_as_torch_does(light: dict[str, str], tmp_path: Path) -> None:
    onnx_bytes(load_classifier(made_classifier(tmp_path)))
    done = call(light, tmp_path, PHANTOM, PREPARE, f"{PREDICT} light")
    assert (done.stdout.split(), "Traceback" in done.stderr) == (["0", "0", "0"], False), done.stderr
    assert (tmp_path / "scans" / "frames.h5").is_file()
    cli.main(["predict", str(tmp_path / "phantom" / "scans"), "--classifier", str(tmp_path / "1.0_0.safetensors"),
              "--engine", "torch", "--accelerator", "cpu", "--out", str(tmp_path / "full")])  # fmt: skip
    ours, full = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("light", "full"))
    assert len(ours) > 3
    assert list(ours["plane"]) == list(full["plane"])
    columns = [column for column in full if column.startswith("p_")]
    np.testing.assert_allclose(ours[columns], full[columns], atol=1e-4)


def test_without_a_graph_the_base_says_where_to_get_one(light: dict[str, str], tmp_path: Path) -> None:
    made_classifier(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    done = call(light, tmp_path, "predict a.png --classifier 1.0_0.safetensors --out out")
    assert done.stdout.split() == ["2"]
    assert "1.0_0.safetensors: its ONNX graph is not beside it" in done.stderr
    assert done.stderr.count("\n") == 1


NEED_MORE = {
    "pretrain s --out o": "train",
    "suggest s --out o": "train",
    "embed s --out o.npz": "train",
    "classify s --out o": "train",
    "report s --out o.html": "train",
    "demo --out o": "train",
    "study plan demo --out o": "train",
    "study run demo --out o": "train",
    "study report o": "train",
    "dicom s --out o": "hospital",
}


def test_a_command_that_needs_more_says_so_in_one_sentence(light: dict[str, str], tmp_path: Path) -> None:
    done = call(light, tmp_path, *NEED_MORE)
    assert done.stdout.split() == ["2"] * len(NEED_MORE), done.stderr
    for line, (words, extra) in zip(done.stderr.splitlines(), NEED_MORE.items(), strict=True):
        sentence = rf"sonolearn: \w+ is not installed: pip install 'sonolearn\[{extra}\]'"
        assert re.fullmatch(sentence, line), words


def test_extras_that_sentences_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)
    assert {"train", "study", "ray", "hospital"} <= set(re.findall(r"\w+", extras["all"][0]))
    assert "sonolearn[all" in extras["dev"][0]
