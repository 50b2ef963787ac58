"""Bad input at the command line: exit code 2 and one sentence that names the file and the remedy; nothing is lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from pydicom.uid import UID
from safetensors.torch import load_file

from media import speckle, write_dicom, write_still, write_video
from planes.labelled_store import write_store as write_labelled_store
from sonolearn import cli
from sonolearn.checksums import note
from sonolearn.store.pseudonyms import read_sources
from sonolearn.store.store import Store
from stores import write_store

PREPARE = ["--size", "32", "--frame_skip", "1", "--workers", "1"]
SMALL = ["--image_size", "32", "--batch_size", "8", "--workers", "0", "--accelerator", "cpu", "--precision", "32-true"]
RANDOM = ["--recipe", "null", "--method", "barlow_twins", "--barlow_twins.projector", "16"]
PRETRAIN = [*RANDOM, "--encoder", "test_resnet", *SMALL, "--log_every", "1"]
PHANTOM = ["--patients", "2", "--frames", "2", "--stills", "5", "--size", "48", "--scans", "1", "--workers", "1"]
CLASSIFY = ["--encoder", "test_resnet", *SMALL, "--fractions", "1", "--seeds", "1", "--epochs", "1", "--mode", "linear"]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one sentence with which a command ends; warnings may stand before it."""

    def refuse(*words: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main([str(word) for word in words])
        assert stop.value.code == 2
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        said = [line for line in errors.splitlines() if line.startswith("sonolearn: ")]
        assert len(said) == 1
        assert errors.splitlines()[-1] == said[0]
        return said[0].removeprefix("sonolearn: ")

    return refuse


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Scans: each is rejected with its reason, and the others go on


def cut_dicom(file: Path) -> None:
    write_dicom(file, speckle(4))
    file.write_bytes(file.read_bytes()[:30_000])


def cut_video(file: Path) -> None:
    write_video(file, speckle(20))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def text(file: Path) -> None:
    file.write_text("the scan is on the other disk\n" * 20)


def unsupported_syntax(file: Path) -> None:
    # JPIP Referenced: the pixels are on a server.
    write_dicom(file, [b"\0" * 64], UID("1.2.840.10008.1.2.4.94"), Rows=96, Columns=128)


def no_frames(file: Path) -> None:
    write_dicom(file, np.zeros((0, 96, 128), np.uint8))


def empty(file: Path) -> None:
    file.touch()


@pytest.mark.parametrize(
    ("name", "make", "reasons"),
    [
        ("cut.dcm", cut_dicom, {"truncated", "damaged"}),
        ("cut.mp4", cut_video, {"unreadable", "truncated", "damaged"}),
        ("text.dcm", text, {"not_dicom"}),
        ("text.mp4", text, {"unreadable"}),
        ("server.dcm", unsupported_syntax, {"unsupported"}),
        ("none.dcm", no_frames, {"no_frames", "no_pixels", "truncated", "damaged"}),
        ("empty.dcm", empty, {"empty_file"}),
    ],
)
def test_a_bad_scan_is_recorded_and_stops_no_other(
    name: str,
    make: Callable[[Path], None],
    reasons: set[str],
    tmp_path: Path,
    refused: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_still(tmp_path / "in" / "good.png", 1)
    make(tmp_path / "in" / name)
    cli.main(["prepare", str(tmp_path / "in"), *PREPARE, "--out", str(tmp_path / "store")])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "rejected 1" in said
    assert len(Store(tmp_path / "store")) == 1
    rejected = pd.read_csv(tmp_path / "store" / "rejected.csv")
    assert rejected["reason"].isin(reasons).tolist() == [True]
    assert len(rejected["message"][0].split()) >= 4
    assert read_sources(tmp_path / "sonolearn-private").query("outcome == 'rejected'")["path"].str.endswith(name).all()
    # Alone, it is the user's mistake.
    answer = refused("prepare", tmp_path / "in" / name, *PREPARE, "--out", tmp_path / "alone")
    assert answer.startswith("none of the 1 files can be used (1 x: ")


def test_16_bits_are_read_with_their_whole_range(tmp_path: Path) -> None:
    frames = {}
    for name, pixels, bits in (("shallow", speckle(2), 8), ("deep", speckle(2).astype(np.uint16) * 16, 12)):
        write_dicom(tmp_path / f"{name}.dcm", pixels, BitsStored=bits)
        cli.main(
            [
                "prepare",
                str(tmp_path / f"{name}.dcm"),
                *PREPARE,
                "--cleaning.marks",
                "keep",
                "--out",
                str(tmp_path / name),
            ]
        )
        frames[name] = Store(tmp_path / name).read(np.arange(2)).astype(int)
    assert frames["shallow"].max() > 100
    assert np.abs(frames["deep"] - frames["shallow"]).max() <= 2


def test_a_missing_path_is_named(tmp_path: Path, refused: Callable[..., str]) -> None:
    answer = refused("prepare", tmp_path / "nowhere", *PREPARE, "--out", tmp_path / "store")
    assert answer == f"{tmp_path / 'nowhere'}: no such file or folder; check the spelling and the current folder"


# Label tables


def labelled(folder: Path, patients: int = 4) -> Path:
    rows = ["image,plane,patient,split"]
    parts = ["train", "train", "valid", "test"]
    for patient in range(patients):
        for number, plane in enumerate(("4CH", "LVOT")):
            write_still(folder / f"{patient}{number}.png", 10 * patient + number)
            rows.append(f"{patient}{number}.png,{plane},Ann{patient},{parts[patient]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("00.png,", "gone.png,", "1 of 8 images do not exist (gone.png)"),
        ("plane", "planes", "has no column 'plane'; did you mean 'planes'? Name it with --columns.plane"),
        ("LVOT", "4CH", "all images are of one plane (4CH); a classifier needs at least two"),
        (("Ann1", "Ann2", "Ann3", "train", "valid", "test"), ("Ann0",) * 3 + ("train",) * 3, "are of one patient;"),
        ("00.png,4CH,Ann0,train", "01.png,LVOT,Ann0,train", "rows 2, 3 are the same image; delete all but one"),
        ("20.png,4CH,Ann2,valid", "20.png,4CH,Ann2,train", "is in more than one part of the split (train: row 6;"),
        ("20.png,4CH,Ann2,valid", "20.png,4CH,,valid", "row 6 has no value in column 'patient'; fill it in"),
    ],
)
def test_a_mistake_in_a_label_table_is_told_with_file_and_remedy(
    old: str | tuple[str, ...], new: str | tuple[str, ...], answer: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    table = labelled(tmp_path / "in")
    said = table.read_text()
    pairs = [(old, new)] if isinstance(old, str) else zip(old, new, strict=True)
    for before, after in pairs:
        assert str(before) in said
        said = said.replace(str(before), str(after))
    table.write_text(said)
    files = contents(tmp_path / "in")
    message = refused("prepare", "--labels", table, *PREPARE, "--out", tmp_path / "store")
    assert message.startswith(f"{table}: ")
    assert answer in message
    assert "Ann" not in message  # patients are named by pseudonyms
    assert contents(tmp_path / "in") == files
    assert not (tmp_path / "store").exists()


# Stores and encoders


def test_a_store_of_another_version_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    store = write_store(tmp_path / "store", 2, 4, 32)
    with h5py.File(store / "frames.h5", "a") as h5:
        h5.attrs["version"] = 99
    for words in (["pretrain", *PRETRAIN], ["classify", *CLASSIFY]):
        answer = refused(words[0], store, *words[1:], "--out", tmp_path / "run")
        assert answer.startswith(
            f"{store / 'frames.h5'}: is a store of version 99, this sonolearn cleans scans otherwise and reads "
            "version 3; make it again with `sonolearn prepare`"
        )
        assert not (tmp_path / "run").exists()
    still = write_still(tmp_path / "a.png", 1)
    assert "is a store of version 99" in refused("prepare", still, *PREPARE, "--out", store)


def test_a_damaged_store_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    store = write_store(tmp_path / "store", 2, 4, 32)
    (store / "frames.h5").write_bytes((store / "frames.h5").read_bytes()[:3000])
    answer = refused("pretrain", store, *PRETRAIN, "--out", tmp_path / "run")
    assert answer.startswith(f"{store / 'frames.h5'}: is damaged")


def test_an_encoder_of_another_architecture_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    from sonolearn.ssl.encoders import Card, build, save_encoder

    file = tmp_path / "encoder.safetensors"
    save_encoder(file, build(Card("test_resnet"), 0), Card("test_resnet"))
    store = write_labelled_store(tmp_path / "store")
    answer = refused("classify", store, *CLASSIFY, "--encoder", "test_vit", "--init", file, "--out", tmp_path / "run")
    assert answer == f"{file}: holds a test_resnet, no test_vit; leave --encoder out"
    (tmp_path / "other.safetensors").write_text("pickle")
    answer = refused("classify", store, *CLASSIFY, "--init", tmp_path / "other.safetensors", "--out", tmp_path / "run")
    assert answer.startswith(f"{tmp_path / 'other.safetensors'}: is not a safetensors file")
    assert not (tmp_path / "run").exists()


# Disks


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Calls with n: no file may grow beyond n bytes; 0 takes the limit away."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size or before[0], before[1]))

    yield limit
    limit(0)


def test_prepare_on_a_full_disk_goes_on_when_there_is_space(
    tmp_path: Path, refused: Callable[..., str], small_disk: Callable[[int], None]
) -> None:
    words = ["prepare", tmp_path / "in.dcm", *PREPARE, "--out"]
    write_dicom(tmp_path / "in.dcm", speckle(20))
    cli.main([*map(str, words), str(tmp_path / "whole")])
    small_disk(10_000)
    answer = refused(*words, tmp_path / "store")
    assert "the disk is full; free some space and run the same command again to continue" in answer
    small_disk(0)
    cli.main([*map(str, words), str(tmp_path / "store")])
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


@pytest.mark.parametrize("command", ["pretrain", "classify", "phantom", "report"])
def test_no_command_ends_in_a_traceback_on_a_full_disk(
    command: str, tmp_path: Path, refused: Callable[..., str], small_disk: Callable[[int], None]
) -> None:
    store, run = write_labelled_store(tmp_path / "store"), tmp_path / "run"
    words = {
        "pretrain": ["pretrain", store, *PRETRAIN, "--max_steps", "1", "--out", run],
        "classify": ["classify", store, *CLASSIFY, "--out", run],
        "phantom": ["phantom", run, *PHANTOM],
        "report": ["report", tmp_path / "done", "--out", run / "page.html"],
    }[command]
    if command == "report":
        cli.main(["classify", str(store), *CLASSIFY, "--out", str(tmp_path / "done")])
    small_disk(900)
    answer = refused(*words)
    assert answer.startswith(str(run))
    assert "the disk is full" in answer
    small_disk(0)
    assert list(run.rglob("*.tmp")) == []
    cli.main([str(word) for word in words])


@pytest.mark.parametrize("command", ["phantom", "prepare", "pretrain", "classify", "report"])
def test_a_file_in_the_way_of_a_folder_is_refused_and_kept(
    command: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("precious")
    out = tmp_path / "file" / "out"
    store = write_labelled_store(tmp_path / "store")
    words = {
        "phantom": ["phantom", out, "--patients", "1", "--workers", "1"],
        "prepare": ["prepare", write_still(tmp_path / "a.png", 1), *PREPARE, "--key", tmp_path / "key", "--out", out],
        "pretrain": ["pretrain", store, *PRETRAIN, "--out", out],
        "classify": ["classify", store, *CLASSIFY, "--out", out],
        "report": ["report", tmp_path / "done", "--out", out / "page.html"],
    }[command]
    if command == "report":
        cli.main(["classify", str(store), *CLASSIFY, "--out", str(tmp_path / "done")])
    answer = refused(*words)
    assert str(out) in answer
    assert "cannot write there; choose a folder that you may write to" in answer
    assert (tmp_path / "file").read_text() == "precious"


# Ctrl-C

# Sums over another number of threads round differently: what is to be equal bit by bit runs under the same number.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def interrupt(command: list[Path | str], ready: Callable[[], bool]) -> str:
    """Start a command, press Ctrl-C when it is at work; what it said."""
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ONE_THREAD, process_group=0
    )
    end = time.monotonic() + 60
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert sum(line.startswith("sonolearn: ") for line in errors.splitlines()) == 1
    assert "run the same command" in errors
    return errors


def test_prepare_goes_on_after_ctrl_c(executable: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        write_video(tmp_path / "in" / f"{number}.mp4", speckle(40, 240, 320, number))
    words = ["prepare", str(tmp_path / "in"), *PREPARE, "--out"]
    cli.main([*words, str(tmp_path / "whole")])
    parts = tmp_path / "store" / "parts"
    interrupt([executable, *words, str(tmp_path / "store")], lambda: any(parts.glob("S-*.json")))
    cli.main([*words, str(tmp_path / "store")])
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_pretrain_goes_on_after_ctrl_c(executable: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", 6, 8, 40)
    words = ["pretrain", str(store), *PRETRAIN, "--max_steps", "60", "--epochs", "1000", "--out"]
    metrics = tmp_path / "run" / "metrics.csv"
    begun = [executable, *words, str(tmp_path / "run")]
    interrupt(begun, lambda: metrics.exists() and ",train," in metrics.read_text())
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    for run in ("run", "whole"):
        subprocess.run([executable, *words, str(tmp_path / run)], env=ONE_THREAD, check=True)
    one, other = (load_file(tmp_path / run / "encoder.safetensors") for run in ("run", "whole"))
    assert all((one[name] == other[name]).all() for name in one)


def test_classify_goes_on_after_ctrl_c(executable: Path, tmp_path: Path) -> None:
    store = write_labelled_store(tmp_path / "store")
    words = ["classify", str(store), *CLASSIFY, "--seeds", "24", "--epochs", "10", "--out"]
    units = tmp_path / "run" / "units"
    interrupt([executable, *words, str(tmp_path / "run")], lambda: units.exists() and any(units.glob("*.json")))
    kept = {p.name: p.stat().st_mtime_ns for p in units.glob("*.json")}
    assert 1 <= len(kept) < 24
    for run in ("run", "whole"):
        subprocess.run([executable, *words, str(tmp_path / run)], env=ONE_THREAD, check=True)
    assert {name: (units / name).stat().st_mtime_ns for name in kept} == kept
    tables = [pd.read_csv(tmp_path / run / "results.csv").drop(columns="seconds") for run in ("run", "whole")]
    pd.testing.assert_frame_equal(*tables)
    shutil.rmtree(tmp_path / "run")


def test_a_damaged_table_of_the_store_of_neighbours_is_one_sentence(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    store, near = write_store(tmp_path / "store", 4, 4, 32), write_labelled_store(tmp_path / "near")
    for file in (store / "scans.csv", near / "scans.csv"):
        note(file)
    (near / "labels.csv").write_text("a,b\n1,2\n3,4,5,6\n")
    os.utime(near / "labels.csv", (1, 1))
    answer = refused("pretrain", store, *PRETRAIN, "--max_steps", "1", "--knn_store", near, "--out", tmp_path / "run")
    assert answer.startswith(f"{near / 'labels.csv'}: is not as sonolearn wrote it, or has no checksum that would tell")
