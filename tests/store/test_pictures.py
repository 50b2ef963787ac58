"""What `prepare` shows of a store: a picture of each scan, a page to accept it by, readable text to its owner only."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from media import fan, speckle, write_dicom, write_still, write_video, written
from sonolearn.config import CleaningConfig, PrepareConfig
from sonolearn.scans.find import open_scan
from sonolearn.store.prepare import prepare

CONFIG = PrepareConfig(size=64, frame_skip=1, workers=1)
NAME = "D O E  J A N E"


def pictures(store: Path) -> set[str]:
    return {path.name for path in (store / "report").iterdir()}


def shown(store: Path) -> set[str]:
    """The pictures that the page shows."""
    page = (store / "report.html").read_text(encoding="utf-8")
    return {html.unescape(name) for name in re.findall(r'<img src="report/([^"]+)"', page)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good scans, one that shows nothing, one that ends early and one that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_dicom(folder / "a.dcm", fan(6, seed=1), Manufacturer="GE", FrameTime=50)
    write_video(folder / "b.mp4", fan(5, seed=2))
    write_dicom(folder / "blank.dcm", np.full((3, 240, 320), 7, np.uint8))
    write_dicom(folder / "cut.dcm", fan(4, seed=3))
    (folder / "cut.dcm").write_bytes((folder / "cut.dcm").read_bytes()[:200_000])
    (folder / "none.mp4").write_text("no video")
    return folder


def test_each_scan_that_could_be_looked_at_has_its_picture_on_the_page(folder: Path, tmp_path: Path) -> None:
    store = prepare([folder], tmp_path / "store", None, CONFIG)
    rejected = pd.read_csv(store.path / "rejected.csv", keep_default_na=False)
    with_picture = dict(zip(rejected["reason"], rejected["picture"] != "", strict=True))
    assert with_picture == {"blank": True, "truncated": False, "unreadable": False}
    named = {*store.scans["picture"], *rejected["picture"]} - {""}
    assert named == pictures(store.path) == shown(store.path)
    assert set(store.scans["picture"]) == {f"{scan}.jpg" for scan in store.scans["scan"]}
    for name in named:
        with Image.open(store.path / "report" / name) as picture:
            assert picture.format == "JPEG"
            assert not picture.getexif()


def test_the_table_says_what_was_kept_and_what_was_painted_over(tmp_path: Path) -> None:
    frames = written(fan(12), NAME, 110, 150, 0.5)
    frames[4:6] = 0
    write_dicom(tmp_path / "a.dcm", frames)
    row = prepare([tmp_path / "a.dcm"], tmp_path / "store", None, CONFIG).scans.iloc[0]
    assert row["frames"] + sum(json.loads(row["refused_frames"]).values()) == row["taken"] == 12
    assert set(json.loads(row["refused_frames"])) <= {"blank", "menu", "dark", "frozen"}
    assert row["frames"] >= 9
    assert (row["shape"], row["sector_from"]) == ("fan", "image")
    assert 0 <= float(row["sector_cost"]) < 0.02
    assert 0.001 < row["marks"] < 0.1
    assert row["texts"] >= 1


def test_the_reason_of_a_rejected_scan_comes_with_its_share_of_the_frames(folder: Path, tmp_path: Path) -> None:
    prepare([folder], tmp_path / "store", None, CONFIG)
    rejected = pd.read_csv(tmp_path / "store" / "rejected.csv").set_index("reason")
    assert rejected.loc["blank", "share"] == 1
    assert np.isnan(rejected.loc["truncated", "share"])


def test_pictures_stay_while_a_store_grows_and_go_with_their_scans(folder: Path, tmp_path: Path) -> None:
    prepare([folder / "a.dcm", folder / "blank.dcm"], tmp_path / "store", None, CONFIG)
    first = {name: (tmp_path / "store/report" / name).read_bytes() for name in pictures(tmp_path / "store")}
    prepare([folder / "b.mp4"], tmp_path / "store", None, CONFIG)
    assert len(first) == 2
    assert len(pictures(tmp_path / "store")) == 3
    assert {n: (tmp_path / "store/report" / n).read_bytes() for n in first} == first
    assert shown(tmp_path / "store") == pictures(tmp_path / "store")


def test_a_labelled_store_loses_the_picture_with_the_row(tmp_path: Path) -> None:
    rows = [f"{n}.png,{'4CH' if n % 2 else 'LVOT'},P{n // 2}" for n in range(8)]
    for number in range(8):
        write_still(tmp_path / f"in/{number}.png", number)
    table = tmp_path / "in/labels.csv"
    for lines in (rows, rows[2:]):
        table.write_text("\n".join(["image,plane,patient", *lines]))
        store = prepare([], tmp_path / "store", table, CONFIG)
        assert pictures(store.path) == set(store.scans["picture"])
        assert len(store.scans) == len(lines)


def test_pictures_of_a_store_are_no_scans(folder: Path, tmp_path: Path) -> None:
    first = prepare([tmp_path], folder / "store", None, CONFIG)
    again = prepare([tmp_path], folder / "store", None, CONFIG)
    other = prepare([tmp_path], tmp_path / "other", None, CONFIG)
    assert len(first.scans) == len(again.scans) == len(other.scans) == 2


def test_readable_text_is_shown_in_the_private_folder_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dicom(tmp_path / "a.dcm", written(fan(12), NAME, 110, 150, 0.5))
    store = prepare([tmp_path / "a.dcm"], tmp_path / "store", None, CONFIG)
    page = tmp_path / "sonolearn-private" / "review.html"
    assert "data:image/jpeg;base64" in page.read_text(encoding="utf-8")
    assert store.scans["scan"][0] in page.read_text(encoding="utf-8")
    assert f"scans with text on the picture: 1; see whether names are among it: {page}" in capsys.readouterr().err
    assert not list(store.path.rglob("*review*"))
    assert all(file.stat().st_mode & 0o077 == 0 for file in page.parent.rglob("*") if file.suffix in (".html", ".json"))
    # Cleaned anew without looking for marks, it holds no text that was found.
    shutil.rmtree(store.path)
    keep = PrepareConfig(size=64, frame_skip=1, workers=1, cleaning=CleaningConfig(marks="keep"))
    prepare([tmp_path / "a.dcm"], tmp_path / "store", None, keep)
    assert "data:image/jpeg;base64" not in page.read_text(encoding="utf-8")


def test_the_summary_counts_frames_and_names_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = fan(10, seed=5)
    frames[3:5] = 0
    write_dicom(folder / "d.dcm", frames)
    store = prepare([folder], folder.parent / "store", None, CONFIG)
    said = capsys.readouterr().err
    out = sum(sum(json.loads(text).values()) for text in store.scans["refused_frames"])
    assert f"frames kept: {len(store)}\n" in said
    assert out >= 2
    assert re.search(rf"frames left out: {out} \(\d+ \w+", said)
    assert f"{store.path / 'report.html'}\n" in said
    assert len(store) == sum(open_scan(folder / n).count or 0 for n in ("a.dcm", "b.mp4", "d.dcm")) - out


def test_speckle_without_a_scan_around_it_is_a_picture_too(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", speckle(5))
    store = prepare([tmp_path / "a.mp4"], tmp_path / "store", None, CONFIG)
    assert len(pictures(store.path)) == 1
