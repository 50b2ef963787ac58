"""De-identified copies: nobody is named in header or picture, and what a reader needs is as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.sequence import Sequence

from dicom_peers import dciodvfy_errors, elements, validator_errors
from identities import HEADER, SECRETS, assert_no_secret
from media import fan, region, write_dicom, write_video, written
from sonolearn import cli
from sonolearn.config.hospital import DeidentifyConfig
from sonolearn.console import UserError
from sonolearn.deploy import deidentify as room
from sonolearn.deploy.deidentify import deidentify
from sonolearn.store.pseudonyms import open_private, read_sources

TEXTS = {str: "Featherstonehaugh", "UI": "1.2.4857773456", "DA": "20240229", "DT": "20240229101500", "TM": "101500"}
DEVICE = {"(0008,1010)", "(0018,1000)", "(0018,1002)"}
# The profile's table (PS3.15 E.1-1) as dicom-anonymizer has it: tags by what is to become of them.
LISTED = sorted({tag for name in dir(table) if "_TAGS" in name for tag in getattr(table, name) if len(tag) == 2})


def one_frame_size(frames: int = 8, seed: int = 1) -> NDArray[np.uint8]:
    return fan(frames, 480, 640, seed)


def named(frames: NDArray[np.uint8], name: str, number: str) -> NDArray[np.uint8]:
    """Frames with a name and a number on the screen beside the picture, and once over its near field."""
    frames = written(frames, name, 8, 24, 0.55)
    frames = written(frames, f"{number} 29-02-2024", 400, 24, 0.5)
    return written(frames, f"{name} {number}", 8, 470, 0.55)


def copy_of(source: Path, out: Path, **options: object) -> Dataset:
    deidentify([source], out, DeidentifyConfig(**options))  # type: ignore[arg-type]
    (file,) = (out / "scans").glob("*.dcm")
    return dcmread(file)


def test_the_command_writes_copies_named_by_pseudonyms_and_says_which_file_is_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_dicom(tmp_path / "Featherstonehaugh.dcm", one_frame_size(), **HEADER, FrameTime=40)
    cli.main(["deidentify", str(source), "--out", str(tmp_path / "out")])
    assert "1 scans de-identified; rejected 0" in capsys.readouterr().err
    pseudonyms = open_private(tmp_path / "sonolearn-private")
    (row,) = pd.read_csv(tmp_path / "out" / "copies.csv").to_dict("records")
    copy = dcmread(tmp_path / "out" / "scans" / f"{row['scan']}.dcm")
    assert row["patient"] == copy.PatientID == pseudonyms.patient(HEADER["PatientID"])
    (linked,) = read_sources(tmp_path / "sonolearn-private").to_dict("records")
    assert (linked["path"], linked["scan"], linked["outcome"]) == (str(source), row["scan"], "copied")


@pytest.mark.parametrize("options", [{}, {"dates": "shift", "retain_device": True}], ids=["basic", "options"])
def test_no_element_of_the_profiles_table_keeps_its_value(tmp_path: Path, options: dict[str, object]) -> None:
    assert len(LISTED) > 400
    source = write_dicom(tmp_path / "in.dcm", one_frame_size(), FrameTime=40)
    data = dcmread(source)
    put = fill(data, nested=True)
    assert len(put) > 300
    data.save_as(source)
    copy = copy_of(source, tmp_path / "out", **options)
    kept = {str(element.tag) for element in copy if element.tag in put and element.value == put[element.tag]}
    # What the two options allow: times of day beside moved dates; serial number, station and UID of the device.
    allowed = {"(0008,0030)", "(0008,0031)", "(0008,0032)", "(0008,0033)"} | DEVICE
    assert kept == (allowed if options else set())
    for tag, value in elements(copy):
        if tag not in kept and tag != "(7fe0,0010)":
            assert not any(secret.lower() in str(value).lower() for secret in SECRETS), tag
    assert not any(element.tag.is_private for element in copy.iterall())


def fill(data: Dataset, nested: bool) -> dict[int, object]:
    """Put an identity into every element of the table that has text, a date or a UID, and into private ones."""
    put: dict[int, object] = {}
    for group, element in LISTED:
        tag = group << 16 | element
        try:
            kind = dictionary_VR(tag)
        except KeyError:
            continue
        if group in (0, 2) or tag == 0x00080018:  # of messages, of file meta, and the one that must be unique
            continue
        if kind == "SQ":
            if nested:
                item = Dataset()
                fill(item, nested=False)
                data.add_new(tag, "SQ", Sequence([item]))
        elif kind in ("DA", "DT", "TM", "UI", "LO", "SH", "ST", "LT", "UT", "PN", "AE", "CS", "UC"):
            put[tag] = TEXTS.get(kind, "FEATHERSTONEHAUG" if kind in ("CS", "AE", "SH") else TEXTS[str])
            data.add_new(tag, kind, put[tag])
    block = data.private_block(0x0011, "VENDOR", create=True)
    block.add_new(1, "LO", "Featherstonehaugh")
    return put


def test_no_identity_is_left_in_the_bytes_of_a_copy(tmp_path: Path) -> None:
    pixels = named(one_frame_size(), "FEATHERSTONEHAUGH", "NHS4857773456")
    source = write_dicom(tmp_path / "fetus_of.dcm", pixels, **HEADER, FrameTime=40)
    deidentify([source], tmp_path / "out", DeidentifyConfig())
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for file in files:
        assert_no_secret(file.read_bytes(), file, tmp_path)


def test_pixels_are_those_of_the_sector_whatever_name_stands_beside_it(tmp_path: Path) -> None:
    plain = one_frame_size()
    copies = {}
    for name, number in (("FEATHERSTONEHAUGH WILHELMINA", "NHS4857773456"), ("LI BO", "7")):
        source = write_dicom(tmp_path / f"{number}.dcm", named(plain, name, number), PatientID=number, FrameTime=40)
        copies[name] = copy_of(source, tmp_path / number).pixel_array
    one, other = copies.values()
    np.testing.assert_array_equal(one, other)
    assert one.shape == plain.shape
    assert not one[plain == 0].any()
    inside = plain > 0
    assert (one[inside] == plain[inside]).mean() > 0.95


def test_a_frame_that_shows_something_else_is_black_in_its_place(tmp_path: Path) -> None:
    pixels = one_frame_size(20)
    pixels[7] = 40
    copy = copy_of(write_dicom(tmp_path / "in.dcm", pixels, FrameTime=40), tmp_path / "out")
    shown = copy.pixel_array
    assert copy.NumberOfFrames == 20
    assert not shown[7].any()
    for number in (0, 6, 8, 19):
        inside = shown[number] > 0
        assert inside.mean() > 0.1
        assert (shown[number][inside] == pixels[number][inside]).mean() > 0.95
    assert pd.read_csv(tmp_path / "out" / "copies.csv")["black"].tolist() == [1]


def test_series_and_studies_keep_together_and_the_key_alone_tells_their_uids(tmp_path: Path) -> None:
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "FrameTime": 40, "PatientID": "7"}
    for number in (1, 2):
        write_dicom(tmp_path / f"{number}.dcm", one_frame_size(6, number), **uids)
    found = {}
    for out, key in (("a", "k"), ("b", "k"), ("c", "other")):
        for number in (1, 2):
            copy = copy_of(tmp_path / f"{number}.dcm", tmp_path / out / str(number), key=tmp_path / key)
            found[out, number] = (copy.StudyInstanceUID, copy.SeriesInstanceUID, copy.SOPInstanceUID)
    assert found["a", 1][:2] == found["a", 2][:2]
    assert found["a", 1][2] != found["a", 2][2]
    assert (found["a", 1], found["a", 2]) == (found["b", 1], found["b", 2])
    assert not set(found["a", 1]) & set(found["c", 1])


def test_dates_go_or_move_with_their_intervals(tmp_path: Path) -> None:
    for name, patient, day in (("first", "7", "20240101"), ("second", "7", "20240229"), ("other", "8", "20240101")):
        header = {"PatientID": patient, "StudyDate": day, "StudyTime": "101530.25", "FrameTime": 40}
        write_dicom(tmp_path / f"{name}.dcm", one_frame_size(6, len(name)), **header)
    days = {}
    for name in ("first", "second", "other"):
        copy = copy_of(tmp_path / f"{name}.dcm", tmp_path / "shifted" / name, dates="shift", key=tmp_path / "key")
        days[name] = pd.Timestamp(copy.StudyDate)
        assert (copy.StudyTime, copy.LongitudinalTemporalInformationModified) == ("101530", "MODIFIED")
    assert days["second"] - days["first"] == pd.Timedelta(days=59)
    assert pd.Timedelta(days=1) <= pd.Timestamp("20240101") - days["first"] <= pd.Timedelta(days=3650)
    assert days["other"] != days["first"]
    removed = copy_of(tmp_path / "first.dcm", tmp_path / "removed")
    assert (removed.StudyDate, removed.StudyTime, removed.LongitudinalTemporalInformationModified) == (
        "",
        "",
        "REMOVED",
    )


def test_a_copy_says_by_which_profile_it_was_made(tmp_path: Path) -> None:
    source = write_dicom(tmp_path / "in.dcm", one_frame_size(), **HEADER, FrameTime=40)
    plain = copy_of(source, tmp_path / "a")
    assert (plain.PatientIdentityRemoved, plain.BurnedInAnnotation) == ("YES", "NO")
    assert [item.CodeValue for item in plain.DeidentificationMethodCodeSequence] == ["113100", "113101"]
    more = copy_of(source, tmp_path / "b", dates="shift", retain_device=True)
    codes = [item.CodeValue for item in more.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", "113107", "113109"]
    assert more.DeviceSerialNumber == HEADER["DeviceSerialNumber"]
    assert "DeviceSerialNumber" not in plain


def test_regions_spacing_and_times_are_right_in_square_pixels(tmp_path: Path) -> None:
    item = region(100, 40, 540, 460)
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.04, 0.02  # pixels twice as wide as high
    source = write_dicom(
        tmp_path / "in.dcm", fan(8, 480, 1280, 1)[:, :, ::2], SequenceOfUltrasoundRegions=Sequence([item]),
        FrameTimeVector=[0, 30, 50, 40, 40, 40, 40, 40],
    )  # fmt: skip
    copy = copy_of(source, tmp_path / "out")
    (kept,) = copy.SequenceOfUltrasoundRegions
    assert (copy.Rows, copy.Columns) == (480, 1280)
    assert (kept.RegionLocationMinX0, kept.RegionLocationMaxX1) == (200, 1080)
    assert (kept.RegionLocationMinY0, kept.RegionLocationMaxY1) == (40, 460)
    assert kept.PhysicalDeltaX == pytest.approx(kept.PhysicalDeltaY)
    assert kept.PhysicalDeltaY == pytest.approx(0.02)
    assert list(copy.FrameTimeVector) == [0, 30, 50, 40, 40, 40, 40, 40]
    assert copy.FrameIncrementPointer == 0x00181065


@pytest.mark.parametrize("errors", [dciodvfy_errors, validator_errors])
@pytest.mark.parametrize("kind", ["dicom", "video"])
def test_copies_are_valid(tmp_path: Path, kind: str, errors: Callable[[Path], list[str]]) -> None:
    pixels = one_frame_size()
    if kind == "video":
        source = write_video(tmp_path / "in.mp4", pixels)
    else:
        item = region(60, 40, 580, 470)
        source = write_dicom(
            tmp_path / "in.dcm", pixels, **HEADER, FrameTime=40, SequenceOfUltrasoundRegions=Sequence([item])
        )
    copy_of(source, tmp_path / "out")
    (file,) = (tmp_path / "out" / "scans").glob("*.dcm")
    assert errors(file) == []


def test_what_was_copied_is_not_copied_again_and_new_files_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_dicom(folder / "a.dcm", one_frame_size(6, 1), FrameTime=40)
    write_dicom(folder / "b.dcm", one_frame_size(6, 2), FrameTime=40)
    original, calls = room._copy, []

    def stopping(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "_copy", stopping)
    with pytest.raises(UserError, match="run the same command again"):
        deidentify([folder], out, DeidentifyConfig())
    monkeypatch.setattr(room, "_copy", lambda *arguments: calls.append(2) or original(*arguments))
    assert len(deidentify([folder], out, DeidentifyConfig())) == 2
    assert calls == [1, 1, 2]


def test_a_picture_without_a_clear_outline_is_rejected_unless_asked_for(tmp_path: Path) -> None:
    cross = np.zeros((480, 640), np.uint8)
    cross[180:300, 60:580] = cross[60:440, 270:370] = 1
    tissue = fan(8, 1440, 1920)[:, 480:960, 640:1280]
    source = write_dicom(tmp_path / "in.dcm", tissue * cross, FrameTime=40)
    (row,) = deidentify([source], tmp_path / "out", DeidentifyConfig()).to_dict("records")
    assert row["reason"] == "unclear_outline"
    assert not list((tmp_path / "out").rglob("*.dcm"))
    assert copy_of(source, tmp_path / "kept", unclear="keep").NumberOfFrames == 8


@pytest.mark.parametrize("option", [["--cleaning.sector", "false"], ["--cleaning.marks", "keep"]])
def test_cleaning_that_keeps_names_is_refused(
    tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_dicom(tmp_path / "in.dcm", one_frame_size(4), FrameTime=40)
    with pytest.raises(SystemExit) as stop:
        cli.main(["deidentify", str(source), "--out", str(tmp_path / "out"), *option])
    assert stop.value.code == 2
    assert "--cleaning.sector" in capsys.readouterr().err
