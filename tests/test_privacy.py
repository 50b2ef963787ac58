"""Nothing that identifies a patient leaves the private folder: not in stores, runs, pages, logs or on the terminal."""

from __future__ import annotations

import base64
import io
import re
import socket
import sys
import zlib
from pathlib import Path

import h5py
import pytest
from PIL import Image
from safetensors import safe_open

from identities import HEADER, SECRETS, assert_no_secret
from media import region, speckle, write_dicom, write_still, write_video
from sonolearn import cli

SMALL = "--image_size 32 --workers 0 --accelerator cpu --precision 32-true --batch_size 4"


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Stores, runs and a page of patients with names, and all that was printed."""
    home = tmp_path_factory.mktemp("hospital")
    given = home / "export of Fotherington ward"
    (given / "scans").mkdir(parents=True)
    for number in range(4):
        header = HEADER | {"PatientID": f"{HEADER['PatientID']}-{number}"}
        regions = [region(30, 20, 107, 85)]
        file = given / "scans" / f"fetus_of_Wilhelmina_{number}.dcm"
        write_dicom(file, speckle(4, seed=number), SequenceOfUltrasoundRegions=regions, **header)
    write_video(given / "scans" / "fetus_of_Fotherington.mp4", speckle(5, seed=9))
    (given / "scans" / "Featherstonehaugh cut.dcm").write_bytes(
        (given / "scans" / "fetus_of_Wilhelmina_0.dcm").read_bytes()[:20_000]
    )
    (given / "scans" / "Cholmondeley.mp4").write_bytes(b"no video of NHS4857773456")
    rows = ["image,plane,patient,machine"]
    for patient in range(6):
        for number, plane in enumerate(("4CH", "LVOT")):
            write_still(given / f"Fotherington {patient} {number}.png", 10 * patient + number)
            rows.append(f"Fotherington {patient} {number}.png,{plane},Featherstonehaugh {patient},Voluson")
    (given / "labels_of_Peregrine.csv").write_text("\n".join(rows))

    common = ["--size", "32", "--workers", "1"]
    init = given / "encoder"
    pretrain = ["--recipe", "null", "--method", "barlow_twins", "--barlow_twins.projector", "16"]
    pretrain += ["--encoder", "test_resnet", "--max_steps", "2", "--log_every", "1"]
    classify = ["--mode", "linear", "--fractions", "1", "--seeds", "1", "--epochs", "1", *SMALL.split()]
    commands = [
        ["prepare", given / "scans", "--frame_skip", "1", *common, "--out", home / "cines"],
        ["prepare", "--labels", given / "labels_of_Peregrine.csv", *common, "--out", home / "hearts"],
        ["pretrain", home / "cines", *pretrain, *SMALL.split(), "--out", init],
        ["pretrain", home / "cines", *pretrain, *SMALL.split(), "--init", init, "--out", home / "bt"],
        ["classify", home / "hearts", "--init", home / "bt", *classify, "--out", home / "linear"],
        ["report", home / "bt", home / "linear", "--out", home / "report.html"],
    ]
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "ROOM7SCANNER.erkenwald.example")
        for words in commands:
            patch.setattr(sys, "stdout", text := io.StringIO())
            patch.setattr(sys, "stderr", text)
            cli.main([str(word) for word in words])
            printed.append(text.getvalue())
    return home, "\n".join(part for part, words in zip(printed, commands, strict=True) if init not in words)


def files_to_share(home: Path) -> list[Path]:
    shared = ("cines", "hearts", "bt", "linear")
    return [home / "report.html", *(p for name in shared for p in sorted((home / name).rglob("*")) if p.is_file())]


def test_no_byte_of_what_may_be_shared_identifies_a_patient(road: tuple[Path, str]) -> None:
    home, _ = road
    files = files_to_share(home)
    assert {"frames.h5", "rejected.csv", "run.json", "encoder.safetensors", "views.png", "report.html"} <= {
        p.name for p in files
    }
    assert any("tfevents" in p.name for p in files)
    for file in files:
        assert_no_secret(file.read_bytes(), file, home)
        assert_no_secret(str(file.relative_to(home)).encode(), "a name", home)


def test_nothing_packed_into_files_identifies_a_patient(road: tuple[Path, str]) -> None:
    home, _ = road
    for file in files_to_share(home):
        data = file.read_bytes()
        if file.suffix == ".h5":
            with h5py.File(file) as h5:
                names: list[str] = []
                h5.visit(names.append)
                texts = [str(dict(h5.attrs)), *names, *(str(dict(h5[name].attrs)) for name in names)]
                assert_no_secret(" ".join([*texts, bytes(h5["scans"][:]).decode()]).encode(), file, home)
        elif file.suffix == ".png":
            with Image.open(file) as picture:
                picture.load()
                assert picture.info == {}
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as weights:
                assert set(weights.metadata()) == {"sonolearn"}
                assert_no_secret(weights.metadata()["sonolearn"].encode(), file, home)
        elif file.suffix == ".html":
            packed = re.findall(r"base64,([A-Za-z0-9+/=]+)", data.decode())
            assert packed or file.parent != home  # the report of runs has its pictures in it, that of a store beside it
            for text in packed:
                assert_no_secret(base64.b64decode(text), file, home)
        for start in (m.start() for m in re.finditer(rb"x\x9c|x\xda", data) if file.suffix in (".png", ".html")):
            inflater = zlib.decompressobj()
            try:
                assert_no_secret(inflater.decompress(data[start:], 1_000_000), file, home)
            except zlib.error:
                continue


def test_the_terminal_names_files_but_no_patient(road: tuple[Path, str]) -> None:
    home, printed = road
    without_paths = printed.replace(str(home), "")
    assert "rejected 2" in printed
    for secret in SECRETS:
        assert secret not in without_paths, secret


def test_the_key_is_for_its_owner_alone_and_outside_what_is_shared(road: tuple[Path, str]) -> None:
    home, _ = road
    private = home / "sonolearn-private"
    assert private.stat().st_mode & 0o777 == 0o700
    key = (private / "key").read_text().strip()
    assert (private / "key").stat().st_mode & 0o077 == 0
    for file in files_to_share(home):
        data = file.read_bytes()
        assert key.encode() not in data
        assert bytes.fromhex(key) not in data
        assert private not in file.parents


def test_the_linking_table_names_files_but_holds_no_header(road: tuple[Path, str]) -> None:
    home, _ = road
    text = (home / "sonolearn-private" / "sources.csv").read_text()
    assert "fetus_of_Wilhelmina_0.dcm" in text
    for secret in ("NHS4857773456", "ACC99173", "Erkenwald", "19870423", "Marjoribanks"):
        assert secret not in text
