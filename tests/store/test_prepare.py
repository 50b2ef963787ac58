"""`prepare`: every file gets one outcome, and the store depends on nothing but files, options and key."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from media import region, speckle, write_dicom, write_still, write_video
from sonolearn.cleaning.clean import clean
from sonolearn.config import CleaningConfig, Columns, PrepareConfig
from sonolearn.console import Interrupted, UserError
from sonolearn.scans.find import open_scan
from sonolearn.store import cleaned_scan
from sonolearn.store.prepare import prepare
from sonolearn.store.pseudonyms import open_private, read_sources
from sonolearn.store.store import Store

CONFIG = PrepareConfig(size=32, frame_skip=2, workers=1)


def scans(folder: Path) -> Path:
    """Four patients: a DICOM cine, two videos, a sequence and a still."""
    folder.mkdir(parents=True)
    write_video(folder / "p2_b.mp4", speckle(9, seed=1))
    write_video(folder / "p2_c.avi", speckle(7, seed=2), "mjpeg", "yuvj420p")
    header = {"PatientID": "Doe7", "PatientName": "Doe^Jane", "Manufacturer": "GE", "FrameTime": 50}
    regions = [region(30, 20, 107, 85)]
    write_dicom(folder / "IM1", speckle(6, seed=3), SequenceOfUltrasoundRegions=regions, **header)
    for number in range(5):
        write_still(folder / f"cine/f_{number}.png", number)
    write_still(folder / "alone/x.png", 77)
    return folder


def labelled(folder: Path, patients: int = 6) -> Path:
    rows = ["image,plane,patient"]
    for patient in range(patients):
        for number, plane in enumerate(("4CH", "3VV/3VT", "LVOT")):
            write_still(folder / f"still {patient} {plane.replace('/', '-')}.png", 10 * patient + number)
            rows.append(f"still {patient} {plane.replace('/', '-')}.png,{plane},Patient{patient}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


def contents(store: Path) -> dict[str, str]:
    return {
        str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(store.rglob("*"))
        if p.is_file()
    }


def outcomes(private: Path) -> dict[str, str]:
    table = read_sources(private)
    return {
        Path(path).name: reason or outcome
        for path, outcome, reason in zip(table["path"], table["outcome"], table["reason"], strict=True)
    }


def test_a_store_holds_the_clean_frames_of_all_scans(tmp_path: Path) -> None:
    store = prepare([scans(tmp_path / "in")], tmp_path / "store", None, CONFIG)
    table = store.scans
    assert table["kind"].tolist() == ["dicom", "still", "sequence", "video", "video"]
    assert table["frames"].tolist() == [3, 1, 3, 5, 4]
    assert table["source_frames"].tolist() == [6, 1, 5, 9, 7]
    assert table["first"].tolist() == [0, 3, 4, 7, 12]
    assert store.scan_of_frame.tolist() == np.repeat(range(5), [3, 1, 3, 5, 4]).tolist()
    assert store.time_of_frame[:4].tolist()[:3] == pytest.approx([0, 0.1, 0.2])
    assert np.isnan(store.time_of_frame[3])
    assert table["patient"].nunique() == 5
    cine = table.iloc[0]
    assert (cine["machine"], cine["sector_from"], [cine[c] for c in ("x0", "y0", "x1", "y1")]) == (
        "GE",
        "dicom",
        [30, 20, 108, 86],
    )
    assert float(cine["mm_per_px"]) == pytest.approx(0.2 * 78 / 32)
    expected = clean(open_scan(tmp_path / "in/IM1"), 32, 2, None, CONFIG.cleaning)
    assert np.array_equal(store.read(np.arange(3)), [frame.pixels for frame in expected.frames])
    assert {p.name for p in (tmp_path / "store").iterdir()} == {
        "frames.h5", "scans.csv", "rejected.csv", "duplicates.csv", "report.html", "report", ".checksums"
    }  # fmt: skip


def test_the_same_call_again_and_other_numbers_of_processes_give_the_same_bytes(tmp_path: Path) -> None:
    folder = scans(tmp_path / "in")
    first = prepare([folder], tmp_path / "a", None, CONFIG)
    before = contents(tmp_path / "a")
    prepare([folder], tmp_path / "a", None, CONFIG)
    two = prepare([folder], tmp_path / "b", None, PrepareConfig(size=32, frame_skip=2, workers=2))
    assert first.fingerprint == two.fingerprint
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == before


def test_a_store_grows_without_reading_again_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scans(tmp_path / "in")
    whole = prepare([folder / "p2_b.mp4", folder / "cine"], tmp_path / "whole", None, CONFIG)
    prepare([folder / "p2_b.mp4"], tmp_path / "store", None, CONFIG)
    read: list[Path] = []
    real = cleaned_scan.content_hash
    monkeypatch.setattr(cleaned_scan, "content_hash", lambda paths: read.extend(paths) or real(paths))
    grown = prepare([folder / "p2_b.mp4", folder / "cine"], tmp_path / "store", None, CONFIG)
    assert folder / "p2_b.mp4" not in read
    assert len(read) == 5
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
    assert grown.fingerprint == whole.fingerprint
    again = prepare([folder / "cine"], tmp_path / "store", None, CONFIG)
    assert len(again) == len(grown)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"size": 48}, "size 32, not 48"),
        ({"frame_skip": 3}, "frame_skip"),
        ({"cleaning": CleaningConfig(marks="keep")}, "cleaning.marks telea, not keep"),
    ],
)
def test_other_options_are_refused(tmp_path: Path, change: dict[str, int], word: str) -> None:
    still = write_still(tmp_path / "in/a.png", 1)
    prepare([still], tmp_path / "store", None, CONFIG)
    with pytest.raises(UserError, match=word):
        prepare(
            [still], tmp_path / "store", None, PrepareConfig(**{"size": 32, "frame_skip": 2, "workers": 1, **change})
        )


def test_another_key_and_another_folder_are_refused(tmp_path: Path) -> None:
    still = write_still(tmp_path / "in/a.png", 1)
    prepare([still], tmp_path / "store", None, CONFIG)
    with pytest.raises(UserError, match="another key"):
        prepare([still], tmp_path / "store", None, PrepareConfig(size=32, frame_skip=2, key=tmp_path / "other"))
    with pytest.raises(UserError, match="is not a store"):
        prepare([still], tmp_path / "in", None, CONFIG)


def test_each_bad_file_has_one_outcome_and_stops_no_other(tmp_path: Path) -> None:
    folder = scans(tmp_path / "in")
    video = (folder / "p2_b.mp4").read_bytes()
    shutil.copy(folder / "p2_b.mp4", folder / "zz copy.mp4")
    (folder / "cut.mp4").write_bytes(video[: len(video) // 2])
    (folder / "zero.mp4").touch()
    (folder / "text.dcm").write_text("hello" * 99)
    write_dicom(folder / "blank.dcm", np.full((3, 40, 40), 7, np.uint8))
    store = prepare([folder], tmp_path / "store", None, CONFIG)
    assert len(store.scans) == 5
    found = outcomes(tmp_path / "sonolearn-private")
    assert found == {
        "p2_b.mp4": "stored", "p2_c.avi": "stored", "IM1": "stored", "cine": "stored", "x.png": "stored",
        "zz copy.mp4": "duplicate", "cut.mp4": "unreadable", "zero.mp4": "empty_file", "text.dcm": "not_dicom",
        "blank.dcm": "blank",
    }  # fmt: skip
    rejected = pd.read_csv(tmp_path / "store/rejected.csv")
    assert sorted(rejected["reason"]) == ["blank", "empty_file", "not_dicom", "unreadable"]


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="no DICOM file, video or image"):
        prepare([tmp_path / "in"], tmp_path / "store", None, CONFIG)
    (tmp_path / "in/a.png").write_text("no image")
    with pytest.raises(UserError, match=r"none of the 1 files can be used \(1 x: is not an image"):
        prepare([tmp_path / "in"], tmp_path / "store", None, CONFIG)


def test_patients_by_pattern(tmp_path: Path) -> None:
    config = PrepareConfig(size=32, workers=1, patient_pattern=r"^p\d")
    store = prepare([scans(tmp_path / "in")], tmp_path / "store", None, config)
    assert store.scans["patient"].unique().tolist() == [open_private(tmp_path / "sonolearn-private").patient("p2")]
    assert set(pd.read_csv(tmp_path / "store/rejected.csv")["reason"]) == {"no_patient"}
    with pytest.raises(UserError, match="under another patient"):
        prepare([tmp_path / "in"], tmp_path / "store", None, PrepareConfig(size=32, workers=1, patient_pattern="2"))


def test_nothing_of_header_or_names_is_in_the_store(tmp_path: Path) -> None:
    folder = scans(tmp_path / "secretfolder")
    table = labelled(tmp_path / "secretlabels")
    prepare([folder], tmp_path / "a", None, CONFIG)
    prepare([], tmp_path / "b", table, CONFIG)
    everything = b"".join(p.read_bytes() for s in ("a", "b") for p in (tmp_path / s).rglob("*") if p.is_file())
    for secret in (b"Doe", b"Jane", b"p2_b", b"IM1", b"secret", b"Patient0", b"still 0", bytes(str(tmp_path), "ascii")):
        assert secret not in everything
    assert b"Doe" not in (tmp_path / "sonolearn-private/sources.csv").read_bytes()
    assert len(read_sources(tmp_path / "sonolearn-private")) == 5 + 18


def test_a_labelled_store(tmp_path: Path) -> None:
    store = prepare([], tmp_path / "store", labelled(tmp_path / "in"), CONFIG)
    labels = store.labels
    assert labels is not None
    assert store.planes == ("3VV/3VT", "4CH", "LVOT")
    assert labels["row"].tolist() == list(range(18))
    assert (labels.groupby("patient")["split"].nunique() == 1).all()
    assert pd.crosstab(labels["split"], labels["plane"]).to_numpy().min() >= 1
    assert set(labels["patient"]) == {
        open_private(tmp_path / "sonolearn-private").patient(f"Patient{i}") for i in range(6)
    }
    source = read_sources(tmp_path / "sonolearn-private").set_index("scan")["path"]
    for row, plane in zip(labels["row"], labels["plane"], strict=True):
        scan = store.scans["scan"].iloc[store.scan_of_frame[row]]
        assert plane.replace("/", "-") in source[scan]


def test_the_order_of_the_label_table_does_not_matter(tmp_path: Path) -> None:
    table = labelled(tmp_path / "in")
    prepare([], tmp_path / "a", table, CONFIG)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *random.Random(0).sample(lines[1:], 18)]))
    prepare([], tmp_path / "b", table, CONFIG)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_labelled_store_follows_its_table(tmp_path: Path) -> None:
    table = labelled(tmp_path / "in")
    before = prepare([], tmp_path / "a", table, CONFIG)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:1], *lines[4:]]))
    after = prepare([], tmp_path / "a", table, CONFIG)
    assert len(after) == len(before) - 3
    assert contents(tmp_path / "a") == contents(prepare([], tmp_path / "fresh", table, CONFIG).path)


def test_frames_of_a_scan_can_be_labelled(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", speckle(10), SequenceOfUltrasoundRegions=[region(30, 20, 107, 85)])
    write_still(tmp_path / "b.png", 1)
    (tmp_path / "l.csv").write_text(
        "image,plane,patient,frame,split\na.dcm,4CH,1,7,train\na.dcm,LVOT,1,2,train\nb.png,LVOT,2,,test\n"
    )
    store = prepare([], tmp_path / "store", tmp_path / "l.csv", CONFIG)
    assert store.labels is not None
    assert store.labels["plane"].tolist() == ["LVOT", "4CH", "LVOT"]
    expected = clean(open_scan(tmp_path / "a.dcm"), 32, 1, (2, 7), CONFIG.cleaning)
    assert np.array_equal(store.read(np.array([0, 1])), [frame.pixels for frame in expected.frames])
    (tmp_path / "l.csv").write_text("image,plane,patient,frame\na.dcm,4CH,1,70\nb.png,LVOT,2,\nb.png,4CH,2,0\n")
    with pytest.raises(UserError, match="one patient"):
        prepare([], tmp_path / "other", tmp_path / "l.csv", CONFIG)


def test_patients_of_labels_never_cross_parts(tmp_path: Path) -> None:
    table = labelled(tmp_path / "in", 2)
    lines = table.read_text().splitlines()
    table.write_text(
        "\n".join(
            [lines[0] + ",split", *(f"{line},{'train' if i % 2 else 'test'}" for i, line in enumerate(lines[1:]))]
        )
    )
    with pytest.raises(
        UserError, match=r"patient P-\w{12} is in more than one part of the split \(test: rows 2, 4; train: row 3\)"
    ):
        prepare([], tmp_path / "store", table, CONFIG)


def test_the_same_image_under_two_names_must_be_labelled_alike(tmp_path: Path) -> None:
    table = labelled(tmp_path / "in", 3)
    shutil.copy(tmp_path / "in/still 0 4CH.png", tmp_path / "in/again.png")
    text = table.read_text()
    table.write_text(f"{text}\nagain.png,4CH,Patient0")
    assert len(prepare([], tmp_path / "store", table, CONFIG)) == 9
    table.write_text(f"{text}\nagain.png,4CH,Patient1")
    with pytest.raises(UserError, match="rows 2, 11 are the same image under two names"):
        prepare([], tmp_path / "other", table, CONFIG)


def test_a_folder_a_class_needs_patients(tmp_path: Path) -> None:
    for plane in ("4CH", "LVOT"):
        for patient in range(3):
            write_still(tmp_path / f"in/{plane}/p{patient}_x.png", hash((plane, patient)) % 1000)
    with pytest.raises(UserError, match="6 images do not say whose they are; give --patient_pattern"):
        prepare([], tmp_path / "store", tmp_path / "in", CONFIG)
    config = PrepareConfig(size=32, workers=1, patient_pattern=r"p\d", columns=Columns())
    store = prepare([], tmp_path / "other", tmp_path / "in", config)
    assert store.labels is not None
    assert store.labels["patient"].nunique() == 3


def test_a_bad_labelled_image_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = labelled(tmp_path / "in")
    (tmp_path / "in/still 0 4CH.png").write_bytes(b"broken")
    assert len(prepare([], tmp_path / "store", table, CONFIG)) == 17
    assert "1 of 18 labelled files cannot be used" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "store/rejected.csv")) == 1


COMMAND = """
from pathlib import Path
from sonolearn.config import PrepareConfig
from sonolearn.store.prepare import prepare
if __name__ == "__main__":
    import sys
    config = PrepareConfig(size=64, frame_skip=1, workers=int(sys.argv[3]))
    prepare([Path(sys.argv[1])], Path(sys.argv[2]), None, config)
"""


def run(script: Path, folder: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    script.write_text(COMMAND)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), str(out), str(workers)], stderr=subprocess.DEVNULL
    )


def test_killed_at_any_moment_and_started_again_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        write_video(tmp_path / f"in/{number}.mp4", speckle(60, 240, 320, number))
    prepare([tmp_path / "in"], tmp_path / "whole", None, PrepareConfig(size=64, frame_skip=1, workers=1))
    expected = contents(tmp_path / "whole")
    moments = random.Random(1)
    for workers in (1, 2):
        out = tmp_path / f"killed{workers}"
        kills = 0
        for _ in range(12):
            process = run(tmp_path / "run.py", tmp_path / "in", out, workers)
            end = time.monotonic() + 20
            while not (out / "parts").exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.005)  # from here on it reads and writes
            time.sleep(moments.uniform(0, 0.25 if kills < 3 else 20))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            if kills == 3:
                run(tmp_path / "run.py", tmp_path / "in", out, workers).wait()
                break
        assert kills >= 1
        assert contents(out) == expected
        assert Store(out).fingerprint == Store(tmp_path / "whole").fingerprint


@pytest.mark.parametrize("moment", ["scans.csv", "rejected.csv", "frames.h5"])
def test_a_stop_while_the_store_is_replaced_is_told_and_mended(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scans(tmp_path / "in")
    prepare([folder], tmp_path / "whole", None, CONFIG)
    prepare([folder / "cine"], tmp_path / "store", None, CONFIG)
    replace = os.replace

    def stopped(source: Path, target: Path) -> None:
        if target == tmp_path / "store" / moment:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopped)
        with pytest.raises(Interrupted, match="run the same command again"):
            prepare([folder], tmp_path / "store", None, CONFIG)
    with pytest.raises(UserError, match="run the same"):
        Store(tmp_path / "store")
    mended = prepare([folder], tmp_path / "store", None, CONFIG)
    assert len(mended) == len(Store(tmp_path / "whole"))
    assert (mended.scans["first"].to_numpy() == np.flatnonzero(np.diff(mended.scan_of_frame, prepend=-1))).all()


PEAK = """
import sys
from pathlib import Path
from sonolearn.config import CleaningConfig, PrepareConfig
from sonolearn.store.prepare import prepare
config = PrepareConfig(size=32, frame_skip=1, workers=1, cleaning=CleaningConfig(reject=()))
prepare([Path(sys.argv[1])], Path(sys.argv[2]), None, config)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory that Linux tells")
def test_memory_does_not_grow_with_a_clip(tmp_path: Path) -> None:
    peaks = []
    for name, frames in (("short", 200), ("long", 1200)):
        one = np.zeros((480, 640), np.uint8)
        one[50:400, 80:500] = np.random.default_rng(0).integers(30, 200, (350, 420))
        clip = write_video(tmp_path / f"{name}.mp4", np.broadcast_to(one, (frames, 480, 640)), "mpeg4")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(clip), str(tmp_path / name)], capture_output=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    # 1000 more frames of 300 kB would be 300 MB.
    assert peaks[1] - peaks[0] < 40
    assert peaks[1] < 500


def test_frames_are_raw_chunks(tmp_path: Path) -> None:
    prepare([write_still(tmp_path / "in/a.png", 1)], tmp_path / "store", None, CONFIG)
    with h5py.File(tmp_path / "store/frames.h5") as h5:
        assert h5["frames"].chunks == (1, 32, 32)
        assert h5["frames"].compression is None
        assert h5["frames"].dtype == np.uint8
        assert set(h5.attrs) == {"format", "version", "size", "key_id", "fingerprint", "config"}


def test_an_unwritable_folder_is_the_users_mistake(tmp_path: Path) -> None:
    still = write_still(tmp_path / "in/a.png", 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write there|is not a store"):
        prepare([still], tmp_path / "file" / "store", None, PrepareConfig(size=32, key=tmp_path / "key"))


def test_a_path_given_as_text_is_one_path(tmp_path: Path) -> None:
    write_still(tmp_path / "in/a.png", 1)
    assert len(prepare(str(tmp_path / "in"), str(tmp_path / "store"), None, CONFIG).scans) == 1
    with pytest.raises(UserError, match=r"labels\.csv: no such label table or folder"):
        prepare([], str(tmp_path / "store"), str(tmp_path / "labels.csv"), CONFIG)


def test_names_that_are_not_utf8_are_stored_and_known_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As on a disc that an old machine has written, in Latin-1."""
    still = write_still(tmp_path / "in/a.png", 1)
    still.rename(os.fsdecode(os.fsencode(still.parent) + b"/M\xfcller.png"))
    for _ in range(2):
        assert len(prepare(tmp_path / "in", tmp_path / "store", None, CONFIG).scans) == 1
    assert read_sources(tmp_path / "sonolearn-private")["path"].tolist() == [str(tmp_path / "in" / r"M\xfcller.png")]
