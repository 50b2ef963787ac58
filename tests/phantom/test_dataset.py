"""A whole phantom folder: complete, repeatable, resumable, and refused where it would destroy something."""

from __future__ import annotations

import csv
import errno
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from sonolearn.config import PhantomConfig
from sonolearn.console import Interrupted, UserError
from sonolearn_phantom import PLANES, generate
from sonolearn_phantom.dataset import is_labelled, write_patient

CONFIG = PhantomConfig(
    patients=3, scans=2, frames=3, stills=5, size=48, callipers=0.5, doppler=0.5, split=0.5, workers=1
)
WRITER = "sonolearn_phantom.dataset"


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("phantom") / "out", CONFIG)


def test_folder_holds_scans_stills_labels_and_truth(made: Path) -> None:
    names = set(contents(made))
    assert {"phantom.json", "labels.csv", "truth/frames.csv"} < names
    assert {name for name in names if name.startswith("scans/")} == {
        "scans/PH0001_1.dcm", "scans/PH0001_2.mp4", "scans/PH0003_1.mp4", "scans/PH0003_2.dcm"
    }  # fmt: skip
    assert {name for name in names if name.startswith("stills/")} == {f"stills/PH0002_{k}.png" for k in range(1, 6)}
    assert json.loads((made / "phantom.json").read_text())["config"]["seed"] == 0


def test_labels_name_stills_of_balanced_planes_relative_to_the_table(made: Path) -> None:
    rows = table(made / "labels.csv")
    assert list(rows[0]) == ["image", "plane", "patient", "machine"]
    assert all((made / row["image"]).exists() for row in rows)
    assert Counter(row["plane"] for row in rows) == dict.fromkeys(PLANES, 1)


def test_truth_has_a_row_for_every_frame_and_masks_of_the_screen(made: Path) -> None:
    rows = table(made / "truth/frames.csv")
    frames = Counter(row["file"] for row in rows)
    scans = ("PH0001_1.dcm", "PH0001_2.mp4", "PH0003_1.mp4", "PH0003_2.dcm")
    stills = {f"stills/PH0002_{number}.png": 1 for number in range(1, 6)}
    assert frames == {**{f"scans/{name}": 3 for name in scans}, **stills}
    assert {row["plane"] for row in rows} <= {*PLANES, ""}
    data = pydicom.dcmread(made / "scans/PH0001_1.dcm")
    assert data.PatientID == "PH0001"
    with np.load(made / "truth/masks/PH0001_1.npz") as masks:
        assert set(masks) == {"sector", "text", "callipers", "colour", "second_view"}
        assert {masks[name].shape for name in masks} == {(data.Rows, data.Columns)}
        assert {masks[name].dtype for name in masks} == {np.dtype(bool)}


def test_files_do_not_depend_on_the_number_of_workers(made: Path, tmp_path: Path) -> None:
    assert contents(generate(tmp_path / "two", replace(CONFIG, workers=2))) == contents(made)


def test_more_patients_leave_earlier_ones_as_they_are(made: Path, tmp_path: Path) -> None:
    tables = {"phantom.json", "labels.csv", "truth/frames.csv"}
    more, before = contents(generate(tmp_path / "more", replace(CONFIG, patients=4))), contents(made)
    assert {name for name, data in before.items() if more[name] != data} == tables
    assert any("PH0004" in name for name in more)


def test_other_seeds_give_other_files(made: Path, tmp_path: Path) -> None:
    other, before = contents(generate(tmp_path / "other", replace(CONFIG, patients=1, seed=1))), contents(made)
    assert other["scans/PH0001_1.dcm"] != before["scans/PH0001_1.dcm"]


@pytest.mark.parametrize(("share", "labelled"), [(0.0, 0), (0.25, 2), (0.5, 5), (1.0, 10)])
def test_share_of_labelled_patients_is_kept_and_spread(share: float, labelled: int) -> None:
    config = PhantomConfig(labelled=share)
    assert sum(is_labelled(index, config) for index in range(10)) == labelled


def test_same_config_again_renders_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, scans=1)
    out = generate(tmp_path / "out", config)
    before = contents(out)
    (out / "scans/PH0003_1.mp4").unlink()
    (out / "truth/frames.csv").unlink()
    rendered: list[int] = []
    monkeypatch.setattr(f"{WRITER}.write_patient", _spy(rendered))
    generate(out, replace(config, workers=1))
    assert rendered == [2]
    assert contents(out) == before


def test_interrupted_run_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, scans=1)
    with monkeypatch.context() as patch:
        patch.setattr(f"{WRITER}.write_patient", _spy([], stop_at=1))
        with pytest.raises(Interrupted, match="run the same command"):
            generate(tmp_path / "out", config)
    assert (tmp_path / "out/scans/PH0001_1.dcm").exists()
    assert not (tmp_path / "out/labels.csv").exists()
    assert contents(generate(tmp_path / "out", config)) == contents(generate(tmp_path / "straight", config))


def test_folder_of_another_config_is_refused_by_name(made: Path) -> None:
    with pytest.raises(UserError, match=r"out holds a phantom made with another frames, seed: give"):
        generate(made, replace(CONFIG, seed=9, frames=4))


def test_a_folder_that_was_killed_at_its_first_write_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / ".phantom.json.123.tmp").touch()
    assert (generate(tmp_path, CONFIG) / "labels.csv").is_file()


def test_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine")
    with pytest.raises(UserError, match="something other than a phantom"):
        generate(tmp_path, CONFIG)
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose a folder"):
        generate(tmp_path / "file" / "out", CONFIG)


def test_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"{WRITER}.write_dicom", full)
    with pytest.raises(UserError, match="disk is full"):
        generate(tmp_path / "out", CONFIG)
    assert set(contents(tmp_path / "out")) == {"phantom.json"}


def _spy(rendered: list[int], stop_at: int | None = None) -> Callable[[Path, PhantomConfig, int], None]:
    def write(out: Path, config: PhantomConfig, index: int) -> None:
        if index == stop_at:
            raise KeyboardInterrupt
        rendered.append(index)
        write_patient(out, config, index)

    return write
