"""`suggest`: its sheet, the way back through `prepare --labels`, what it does not depend on, and its refusals."""

from __future__ import annotations

import base64
import csv
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest

import sonolearn
from media import write_still
from planes.labelled_store import write_store as write_labelled_store
from sonolearn import cli
from sonolearn.config import PrepareConfig, SuggestConfig
from sonolearn.console import UserError
from sonolearn.planes.suggest import candidates, suggest
from sonolearn.ssl.frames import all_frames
from sonolearn.store.store import Store
from stores import write_store

OPTIONS = ["--encoder", "test_resnet", "--image_size", "32", "--accelerator", "cpu", "--precision", "32-true"]


def tiny(encoder: Path, **options: object) -> SuggestConfig:
    settings: dict[str, object] = {"init": str(encoder), "accelerator": "cpu", "precision": "32-true", "count": 6}
    return SuggestConfig(**{**settings, **options})  # type: ignore[arg-type]


def scans_with_patients(folder: Path, patients: int, each: int) -> Store:
    """A store made by `prepare` of unlabelled stills."""
    for patient in range(patients):
        for number in range(each):
            write_still(folder / "in" / f"patient_{patient}_{number}.png", 100 * patient + number)
    config = PrepareConfig(size=48, patient_pattern=r"patient_(\d+)", workers=1)
    return sonolearn.prepare(folder / "in", folder / "scans", config=config)


def names_in(table: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(table["scan"], table["number"], strict=True))


def test_the_sheet_has_a_row_and_an_image_a_frame_and_its_planes_are_empty(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=5, frames=6)
    table = suggest([store], tmp_path / "sheet", tiny(encoder))
    read = pd.read_csv(tmp_path / "sheet" / "suggested.csv", dtype=str, keep_default_na=False)
    assert list(read.columns) == ["image", "plane", "patient", "machine", "scan", "store", "row", "number"]
    assert len(table) == len(read) == 6
    assert set(read["plane"]) == {""}
    opened = Store(store)
    for row in read.to_dict("records"):
        stored = opened.frame(int(row["row"]))
        assert (cv2.imread(str(tmp_path / "sheet" / row["image"]), cv2.IMREAD_UNCHANGED) == stored).all()
        assert row["patient"] == opened.patient_of_frame[int(row["row"])]
        assert int(row["number"]) == int(row["row"]) % 6
    assert max(Counter(read["patient"]).values()) <= 2


@pytest.mark.parametrize("method", ["typiclust", "k_medoids"])
def test_the_same_call_gives_the_same_sheet_and_another_seed_another_one(
    method: str, encoder: Path, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store", patients=6, frames=8)
    tables = [
        suggest([store], tmp_path / name, tiny(encoder, method=method, seed=seed))
        for name, seed in (("one", 0), ("two", 0), ("three", 1), ("four", 2))
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert len({tuple(sorted(names_in(table))) for table in tables}) > 1


def test_neither_the_order_of_frames_nor_of_stores_nor_pseudonyms_change_what_is_suggested(
    encoder: Path, tmp_path: Path
) -> None:
    stores = [write_store(tmp_path / f"store{n}", patients=4, frames=5, seed=n) for n in range(2)]
    expected = suggest(stores, tmp_path / "sheet", tiny(encoder))
    assert names_in(suggest(stores[::-1], tmp_path / "swapped", tiny(encoder))) == names_in(expected)
    backwards = shutil.copytree(stores[0], tmp_path / "backwards")
    with h5py.File(backwards / "frames.h5", "r+") as h5:
        for name in ("frames", "scan", "index", "time", "checksum"):
            h5[name][:] = h5[name][:][::-1]
    assert names_in(suggest([backwards, stores[1]], tmp_path / "turned", tiny(encoder))) == names_in(expected)
    renamed = shutil.copytree(stores[0], tmp_path / "renamed")
    text = (renamed / "scans.csv").read_text()
    (renamed / "scans.csv").write_text(re.sub(r"P-0000(\d+)", r"P-77\1aa", text))
    table = suggest([renamed, stores[1]], tmp_path / "other", tiny(encoder))
    assert table[["row", "number"]].equals(expected[["row", "number"]])


def test_a_sheet_goes_through_prepare_and_classify_and_keeps_pixels_patients_and_machines(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = scans_with_patients(tmp_path, patients=9, each=3)
    sheet = tmp_path / "sheet"
    words = ["suggest", str(scans.path), "--init", str(encoder), "--count", "18", "--accelerator", "cpu"]
    cli.main([*words, "--out", str(sheet)])
    said = capsys.readouterr().err
    table = pd.read_csv(sheet / "suggested.csv", dtype=str, keep_default_na=False)
    assert sorted(Counter(table["patient"]).values()) == [2] * 9
    table["plane"] = [("4CH", "LVOT")[number % 2] for number in table.groupby("patient").cumcount()]
    table.to_csv(sheet / "suggested.csv", index=False)
    command = shlex.split(re.sub(r"\s+", " ", said[said.index("sonolearn prepare") :]))
    labelled = tmp_path / "labelled"
    cli.main([*command[1:-1], str(labelled), "--workers", "1"])  # in place of STORE
    store = Store(labelled)
    assert store.labels is not None
    assert (store.read(np.arange(18)) == scans.read(table["row"].to_numpy(np.int64))).all()
    assert store.labels["patient"].tolist() == table["patient"].tolist()
    assert store.labels["plane"].tolist() == table["plane"].tolist()
    options = ["--mode", "linear", "--fractions", "1", "--seeds", "1", "--out", str(tmp_path / "run")]
    cli.main(["classify", str(labelled), "--init", str(encoder), *options])
    assert (tmp_path / "run" / "summary.csv").exists()


def test_a_plane_that_was_not_filled_in_is_named_with_its_row(encoder: Path, tmp_path: Path) -> None:
    scans = scans_with_patients(tmp_path, patients=3, each=1)
    suggest([scans.path], tmp_path / "sheet", tiny(encoder, count=3))
    with pytest.raises(UserError, match="rows 2, 3, 4 has no value in column 'plane'"):
        sonolearn.prepare([], tmp_path / "labelled", tmp_path / "sheet" / "suggested.csv")


def test_patients_of_a_table_who_are_no_pseudonyms_of_this_project_get_one(tmp_path: Path) -> None:
    rows = ["image,plane,patient"]
    for number in range(4):
        write_still(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{'AB'[number % 2]},P-00000000000{number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    store = sonolearn.prepare([], tmp_path / "store", tmp_path / "labels.csv", PrepareConfig(size=32, workers=1))
    assert not set(store.scans["patient"]) & {f"P-00000000000{number}" for number in range(4)}


def test_of_a_labelled_store_only_the_training_part_is_suggested(encoder: Path, tmp_path: Path) -> None:
    store = write_labelled_store(tmp_path / "store")
    table = suggest([store], tmp_path / "sheet", tiny(encoder, count=20))
    labels = pd.read_csv(store / "labels.csv").set_index("row")
    assert set(labels.loc[table["row"], "split"]) == {"train"}


def test_markup_and_formulas_of_a_header_reach_neither_page_nor_spreadsheet(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=4, frames=3)
    scans = pd.read_csv(store / "scans.csv", dtype=str)
    scans["machine"] = ['=HYPERLINK("http://x")', "<script>alert(1)</script>", "@SUM(A1)", '+1-1, "quoted"']
    scans.to_csv(store / "scans.csv", index=False)
    suggest([store], tmp_path / "sheet", tiny(encoder, count=12))
    page = (tmp_path / "sheet" / "suggested.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    with (tmp_path / "sheet" / "suggested.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")] == []
    assert {'HYPERLINK("http://x")', "SUM(A1)", '1-1, "quoted"'} <= set(cells)


def test_the_page_stands_alone_and_shows_every_frame(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=4, frames=3)
    table = suggest([store], tmp_path / "sheet", tiny(encoder))
    page = (tmp_path / "sheet" / "suggested.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    for picture, row in zip(pictures, table["row"], strict=True):
        frame = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_UNCHANGED)
        assert (frame == Store(store).frame(row)).all()
    assert str(tmp_path) not in page


def test_of_many_frames_every_scan_gives_its_share_of_candidates(tmp_path: Path) -> None:
    pool = all_frames([Store(write_store(tmp_path / "store", patients=5, frames=20))])
    some = candidates(pool, 25)
    assert sorted(Counter(some.patient_of_frame).values()) == [5] * 5
    assert len(set(some.row_of_frame.tolist())) == 25
    assert sorted(candidates(pool, 1000).row_of_frame.tolist()) == list(range(100))


# Refusals


def test_a_sheet_is_never_written_over(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=4, frames=3)
    suggest([store], tmp_path / "sheet", tiny(encoder))
    before = (tmp_path / "sheet" / "suggested.csv").read_bytes()
    with pytest.raises(UserError, match="holds a sheet already, whose labels would be lost; give another --out"):
        suggest([store], tmp_path / "sheet", tiny(encoder))
    assert (tmp_path / "sheet" / "suggested.csv").read_bytes() == before


def test_a_folder_of_something_else_is_refused(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=4, frames=3)
    (tmp_path / "sheet").mkdir()
    (tmp_path / "sheet" / "precious.txt").write_text("kept")
    with pytest.raises(UserError, match="exists and is not a run of this command; give another --out"):
        suggest([store], tmp_path / "sheet", tiny(encoder))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--count", "13"], r"--count 13: .*store has 12 frames to choose from; give at most that"),
        (["--count", "0"], r"--count 0: give at least 1"),
        (["--count", "7", "--candidates", "6"], r"--candidates 6: give at least --count, 7"),
        (["--method", "best"], r"--method best: give typiclust or k_medoids"),
        (["--image_size", "8"], r"--image_size 8: give at least 16 px"),
        (["--init", "nowhere"], r"--init nowhere: no such file or folder"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    options: list[str], sentence: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "store", patients=4, frames=3)
    words = ["suggest", str(store), "--init", str(encoder), *options, "--out", str(tmp_path / "sheet")]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    assert re.fullmatch(f"sonolearn: {sentence}.*\n", capsys.readouterr().err)
    assert not (tmp_path / "sheet").exists()


def test_frames_of_one_patient_are_refused(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=1, frames=9)
    with pytest.raises(UserError, match="all frames are of one patient"):
        suggest([store], tmp_path / "sheet", tiny(encoder, count=3))
    assert not (tmp_path / "sheet").exists()
