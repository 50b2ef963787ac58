"""`predict` end to end: its tables, what it does not do twice, what it refuses, and what it keeps to itself."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from deploy.conftest import PLANES, made_classifier
from identities import HEADER, assert_no_secret
from media import fan, write_dicom, write_video
from planes.labelled_store import write_store
from sonolearn import cli
from sonolearn.config import CleaningConfig, PredictConfig, PrepareConfig
from sonolearn.console import Interrupted, UserError
from sonolearn.deploy import predict as room
from sonolearn.deploy import runtime
from sonolearn.deploy.classifier import Classifier, load_classifier
from sonolearn.deploy.predict import predict
from sonolearn.ssl.features import read_images
from sonolearn.store.prepare import prepare
from sonolearn.store.pseudonyms import read_sources

P = [f"p_{plane}" for plane in PLANES]


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("labelled") / "store")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with two videos, a DICOM cine of 7 frames, a copy and two bad files."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, count in enumerate((23, 9)):
        write_video(folder / f"v{number}.mp4", fan(count, seed=number))
    write_dicom(folder / "c.dcm", fan(7, seed=5), PatientID="7")
    shutil.copy(folder / "v0.mp4", folder / "w.mp4")
    (folder / "cut.mp4").write_bytes((folder / "v1.mp4").read_bytes()[:3000])
    (folder / "empty.png").write_bytes(b"")
    return folder


def asked(classifier: Path, **options: object) -> PredictConfig:
    settings = {"accelerator": "cpu", "engine": "torch", "frame_skip": 2, "threads": 2, **options}
    return PredictConfig(classifier=classifier, **settings)  # type: ignore[arg-type]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each call of a network got."""
    calls: list[int] = []
    original = room.make_runtime

    def counting(classifier: Classifier, config: PredictConfig) -> runtime.Runtime:
        made = original(classifier, config)
        return dataclasses.replace(made, classify=lambda frames: calls.append(len(frames)) or made.classify(frames))

    monkeypatch.setattr(room, "make_runtime", counting)
    return calls


def test_the_two_commands_of_the_how_to_lead_from_labels_to_tables(
    store_path: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    small = (
        "--encoder test_resnet --image_size 32 --fractions 0.5 1.0 --seeds 1 --epochs 1 --workers 0 --accelerator cpu"
    )
    cli.main(["classify", str(store_path), "--save_classifiers", "true", *small.split(), "--out", str(run)])
    cli.main(["predict", str(scans), "--classifier", str(run), "--engine", "torch", "--out", str(out)])
    assert len(pd.read_csv(out / "predictions.csv")) == 5 + 2 + 2
    said = capsys.readouterr().err
    assert "3 scans classified" in said
    assert "rejected 2 (1 empty_file, 1 unreadable)" in said
    assert str(tmp_path / "sonolearn-private" / "sources.csv") in said


def test_every_frame_has_the_probabilities_of_the_stores_frame(
    scans: Path, classifier_path: Path, tmp_path: Path, computed: list[int]
) -> None:
    predict([scans], tmp_path / "out", asked(classifier_path))
    found = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index(["scan", "frame"])
    store = prepare([scans], tmp_path / "store", None, PrepareConfig(size=48, frame_skip=2, workers=1))
    network = load_classifier(classifier_path).network
    with torch.inference_mode():
        expected = network(torch.from_numpy(read_images(store, np.arange(len(store)), 32))).numpy()
    rows = [(store.scans["scan"][scan], 2 * n) for scan, count in enumerate((4, 12, 5)) for n in range(count)]
    assert sorted(rows) == sorted(found.index)  # pseudonyms are those of the store
    assert found.loc[rows, P].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert list(found.loc[rows, "plane"]) == [PLANES[i] for i in expected.argmax(1)]
    assert sum(computed) == len(store)


def test_a_scan_has_the_mean_of_its_frames_and_their_majority(
    scans: Path, classifier_path: Path, tmp_path: Path
) -> None:
    table = predict([scans], tmp_path / "out", asked(classifier_path)).set_index("scan")
    frames = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(frames["plane"].unique()) > 1
    for name, group in frames.groupby("scan"):
        row, means = table.loc[name], group[P].mean()
        assert list(row[P].astype(float)) == pytest.approx(list(means), abs=1e-6)
        assert row["plane"] == PLANES[int(means.argmax())]
        assert row["majority"] in group["plane"].mode().tolist()
        assert row["share"] == pytest.approx((group["plane"] == row["plane"]).mean(), abs=1e-5)
        assert row["frames"] == row["taken"] == len(group)
    assert pd.read_csv(tmp_path / "out" / "scans.csv").set_index("scan").index.equals(table.index)


def test_bad_files_are_rejected_as_prepare_rejects_them_and_the_others_go_on(
    scans: Path, classifier_path: Path, tmp_path: Path
) -> None:
    table = predict([scans], tmp_path / "out", asked(classifier_path))
    prepare([scans], tmp_path / "store", None, PrepareConfig(size=48, frame_skip=2, workers=1))
    expected = pd.read_csv(tmp_path / "store" / "rejected.csv").sort_values("scan")
    rejected = table[table["reason"].notna()]
    assert len(rejected) == 2
    for column in ("scan", "reason", "message"):
        assert list(rejected[column]) == list(expected[column])
    assert len(table) == 5


def test_the_linking_table_says_which_file_is_which(scans: Path, classifier_path: Path, tmp_path: Path) -> None:
    table = predict([scans], tmp_path / "out", asked(classifier_path)).set_index("scan")
    sources = read_sources(tmp_path / "sonolearn-private")
    named = {Path(row["path"]).name: row for row in sources.to_dict("records")}
    assert {name: row["outcome"] for name, row in named.items()} == {
        "v0.mp4": "classified", "v1.mp4": "classified", "c.dcm": "classified", "w.mp4": "duplicate",
        "cut.mp4": "rejected", "empty.png": "rejected",
    }  # fmt: skip
    assert table.loc[named["c.dcm"]["scan"], "taken"] == 4
    assert table.loc[named["c.dcm"]["scan"], "patient"] == named["c.dcm"]["patient"]
    assert named["w.mp4"]["scan"] == named["v0.mp4"]["scan"]


def test_the_same_command_classifies_nothing_again_and_another_path_adds_to_it(
    scans: Path, classifier_path: Path, tmp_path: Path, computed: list[int]
) -> None:
    out = tmp_path / "out"
    predict([scans / "v0.mp4"], out, asked(classifier_path))
    first, calls = (out / "predictions.csv").read_text(), len(computed)
    again = predict([scans / "v0.mp4"], out, asked(classifier_path, batch=3, threads=1))
    assert len(computed) == calls
    assert (out / "predictions.csv").read_text() == first
    assert len(again) == 1
    assert len(predict([scans / "v1.mp4"], out, asked(classifier_path))) == 2
    assert sum(computed) == 12 + 5


def test_an_interrupted_run_goes_on_with_the_scans_that_are_missing(
    scans: Path, classifier_path: Path, tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, original = asked(classifier_path, threads=1), room.write_scan
    predict([scans], tmp_path / "whole", config)
    whole = sum(computed)
    computed.clear()
    written: list[object] = []

    def stop_at_third(*arguments: object) -> object:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "write_scan", stop_at_third)
    with pytest.raises(Interrupted, match="run the same command again"):
        predict([scans], tmp_path / "stopped", config)
    monkeypatch.setattr(room, "write_scan", original)
    computed.clear()
    predict([scans], tmp_path / "stopped", config)
    assert sum(computed) < whole
    for name in ("predictions.csv", "scans.csv"):
        tables = [
            pd.read_csv(tmp_path / run / name).drop(columns="seconds", errors="ignore") for run in ("whole", "stopped")
        ]
        pd.testing.assert_frame_equal(*tables)


def test_results_do_not_depend_on_threads(scans: Path, classifier_path: Path, tmp_path: Path) -> None:
    texts = []
    for threads in (1, 3):
        out = tmp_path / str(threads)
        predict([scans], out, asked(classifier_path, threads=threads))
        texts.append((out / "predictions.csv").read_text())
    assert texts[0] == texts[1]


def test_thread_settings_of_a_notebook_are_as_before(scans: Path, classifier_path: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(2)
        cv2.setNumThreads(2)
        predict([scans / "v1.mp4"], tmp_path / "out", asked(classifier_path))
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_a_run_is_not_mixed_with_other_classifiers_or_options(
    scans: Path, classifier_path: Path, tmp_path: Path
) -> None:
    video = [scans / "v1.mp4"]
    predict(video, tmp_path / "out", asked(classifier_path))
    with pytest.raises(UserError, match=r"frame_skip differs"):
        predict(video, tmp_path / "out", asked(classifier_path, frame_skip=1))
    with pytest.raises(UserError, match=r"classifier differs"):
        predict(video, tmp_path / "out", asked(made_classifier(tmp_path / "other", fraction=0.5)))


def test_other_cleaning_than_in_training_is_said(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaning = dataclasses.asdict(CleaningConfig()) | {"reject": list(CleaningConfig().reject)}
    file = made_classifier(tmp_path / "c", cleaning=cleaning)
    predict([scans / "v1.mp4"], tmp_path / "a", asked(file))
    assert "warning" not in capsys.readouterr().err
    predict([scans / "v1.mp4"], tmp_path / "b", asked(file, cleaning=CleaningConfig(marks="keep")))
    assert "learnt from frames that were cleaned with other --cleaning.marks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.mp4", "--classifier", "CLASSIFIER"], "nowhere.mp4: no such file or folder"),
        (["SCANS"], "--classifier is missing: give a run"),
        (["SCANS", "--classifier", "nowhere"], "--classifier nowhere: no such file or folder"),
        (["SCANS", "--classifier", "SCANS"], "holds no classifier of seed 0"),
        (["EMPTY", "--classifier", "CLASSIFIER"], "no DICOM file, video or image there"),
        (["SCANS", "--classifier", "CLASSIFIER", "--batch", "0"], "--batch 0: give at least 1"),
        (["SCANS", "--classifier", "CLASSIFIER", "--engine", "tensorrt"], "give auto, onnx or torch"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(
    words: list[str], sentence: str, scans: Path, classifier_path: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "EMPTY").mkdir()
    paths = {"SCANS": str(scans), "CLASSIFIER": str(classifier_path), "EMPTY": str(tmp_path / "EMPTY")}
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", *(paths.get(word, word) for word in words), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("sonolearn: ")
    assert said.count("\n") == 1
    assert sentence in said
    assert not (tmp_path / "out").exists()


def test_what_may_be_shared_names_no_patient_and_no_file(
    classifier_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "hospital"
    home.mkdir()
    write_dicom(home / "fetus_of_Wilhelmina.dcm", fan(4), **HEADER)
    (home / "Cholmondeley.mp4").write_bytes(b"no video of NHS4857773456")
    predict([home], tmp_path / "out", asked(classifier_path))
    for file in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert_no_secret(file.read_bytes(), file, tmp_path)
        assert_no_secret(str(file.relative_to(tmp_path)).encode(), "a name", tmp_path)
    assert_no_secret(capsys.readouterr().err.replace(str(tmp_path), "").encode(), "the terminal", tmp_path)
