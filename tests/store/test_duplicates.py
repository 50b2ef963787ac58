"""Stills that are nearly the same picture: refused across the parts of a split, else counted and listed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from media import fan, write_dicom, write_video
from sonolearn.config import PrepareConfig
from sonolearn.console import UserError
from sonolearn.store.prepare import prepare
from sonolearn.store.pseudonyms import read_sources

CONFIG = PrepareConfig(size=128, frame_skip=1, workers=1)
PARTS = ("train", "train", "valid", "test")


def still(path: Path, seed: int, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(fan(1, seed=seed)[0]).save(path, **options)
    return path


def labelled(folder: Path, *more: str) -> Path:
    """Four patients with two stills each, and more rows."""
    rows = ["image,plane,patient,split"]
    for patient, part in enumerate(PARTS):
        for number, plane in enumerate(("4CH", "LVOT")):
            still(folder / f"{patient}{number}.png", 10 * patient + number)
            rows.append(f"{patient}{number}.png,{plane},P{patient},{part}")
    (folder / "labels.csv").write_text("\n".join([*rows, *more]))
    return folder / "labels.csv"


def listed(store: Path) -> list[set[str]]:
    table = pd.read_csv(store / "duplicates.csv", dtype=str)
    return [{row["scan"], row["other"]} for _, row in table.iterrows()]


def scans_of(private: Path, *names: str) -> set[str]:
    """Pseudonyms of files."""
    table = read_sources(private)
    return {str(r["scan"]) for _, r in table.iterrows() if Path(r["path"]).name in names}


def test_in_two_parts_of_a_split_they_are_refused_with_both_names(tmp_path: Path) -> None:
    table = labelled(tmp_path / "in", "again.jpg,4CH,P3,test")
    still(tmp_path / "in/again.jpg", 0, quality=95)
    with pytest.raises(UserError) as refused:
        prepare([], tmp_path / "store", table, CONFIG)
    assert str(refused.value) == (
        f"{table}: 00.png and again.jpg are nearly the same picture, but in different parts of the split "
        "(train and test); keep one of them, or give both to one patient"
    )
    assert not (tmp_path / "store/frames.h5").exists()


def test_in_one_part_they_are_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = labelled(tmp_path / "in", "again.jpg,4CH,P1,train")
    still(tmp_path / "in/again.jpg", 0, quality=95)
    store = prepare([], tmp_path / "store", table, CONFIG)
    assert len(store) == 9
    said = capsys.readouterr().err
    assert (
        f"warning: 1 pairs of scans show the same picture, or nearly; {store.path / 'duplicates.csv'} lists them"
        in said
    )
    assert listed(store.path) == [scans_of(tmp_path / "sonolearn-private", "00.png", "again.jpg")]


def test_in_an_unlabelled_store_they_are_found_across_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare([still(tmp_path / "a.png", 1), still(tmp_path / "b.png", 2)], tmp_path / "store", None, CONFIG)
    assert listed(tmp_path / "store") == []
    assert "show the same" not in capsys.readouterr().err
    prepare([still(tmp_path / "c.jpg", 2, quality=95)], tmp_path / "store", None, CONFIG)
    assert listed(tmp_path / "store") == [scans_of(tmp_path / "sonolearn-private", "b.png", "c.jpg")]
    assert "1 pairs of scans show" in capsys.readouterr().err


def test_frames_of_recordings_are_not_compared(tmp_path: Path) -> None:
    still(tmp_path / "in/a.png", 1)
    write_video(tmp_path / "in/b.mp4", fan(3, seed=1))
    prepare([tmp_path / "in"], tmp_path / "store", None, CONFIG)
    assert listed(tmp_path / "store") == []


def test_pseudonyms_alone_are_listed(tmp_path: Path) -> None:
    still(tmp_path / "in/secret.png", 1)
    still(tmp_path / "in/other secret.jpg", 1, quality=95)
    prepare([tmp_path / "in"], tmp_path / "store", None, CONFIG)
    text = (tmp_path / "store/duplicates.csv").read_text()
    assert text.count("S-") == 2
    assert "secret" not in text


@pytest.mark.parametrize("name", ["b.bmp", "b.dcm", "b.tif"])
def test_a_still_in_another_format_is_found_in_every_store(tmp_path: Path, name: str) -> None:
    still(tmp_path / "in/a.png", 3)
    if name.endswith("dcm"):
        write_dicom(tmp_path / "in" / name, fan(1, seed=3))
    else:
        still(tmp_path / "in" / name, 3)
    still(tmp_path / "in/c.png", 4)
    prepare(tmp_path / "in", tmp_path / "store", None, CONFIG)
    assert listed(tmp_path / "store") == [scans_of(tmp_path / "sonolearn-private", "a.png", name)]


def test_a_recording_in_another_container_or_with_another_header_is_found(tmp_path: Path) -> None:
    frames, private = fan(6, seed=5), tmp_path / "sonolearn-private"
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in/a.dcm", frames)
    write_dicom(tmp_path / "in/b.dcm", frames, FrameTime="50", PatientID="other")
    write_video(tmp_path / "in/c.avi", frames)
    write_video(tmp_path / "in/d.mkv", frames)
    prepare([tmp_path / "in"], tmp_path / "store", None, CONFIG)
    assert listed(tmp_path / "store") == [scans_of(private, "a.dcm", "b.dcm"), scans_of(private, "c.avi", "d.mkv")]


def test_recordings_that_share_frames_may_not_be_in_two_parts(tmp_path: Path) -> None:
    table = labelled(tmp_path / "in", "a.dcm,4CH,P0,train", "b.dcm,4CH,P3,test")
    for name, frames in (("a.dcm", fan(4, seed=50)), ("b.dcm", fan(4, seed=50))):
        write_dicom(tmp_path / "in" / name, frames, FrameTime="40" if name == "a.dcm" else "50")
    with pytest.raises(UserError, match=r"a\.dcm and b\.dcm are nearly the same picture, but in different parts"):
        prepare([], tmp_path / "store", table, CONFIG)
