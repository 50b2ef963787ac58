"""Names that are burned into screens: nothing of what stands beside the picture is left in a store, no shape either."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from identities import HEADER, assert_no_secret
from media import fan, write_dicom, write_video, written
from sonolearn import cli
from sonolearn.store import prepare as preparing
from sonolearn.store.store import Store


def export(folder: Path, name: str, patient: str) -> Path:
    """Scans of one patient, whose name and number stand in the headers and on every screen beside the picture."""
    folder.mkdir(parents=True)

    def screen(frames: np.ndarray) -> np.ndarray:
        frames = written(frames, name, 8, 24, 0.55)
        frames = written(frames, f"{patient} 29-02-2024", 400, 24, 0.5)
        return written(frames, f"{name} {patient}", 8, 470, 0.55)

    header = HEADER | {"PatientName": name, "PatientID": patient, "FrameTime": 40}
    write_dicom(folder / "a.dcm", screen(fan(14, 480, 640, seed=1)), **header)
    write_dicom(folder / "dark.dcm", screen(fan(6, 480, 640, seed=2) // 16), **header)
    Image.fromarray(screen(fan(1, 480, 640, seed=3))[0]).save(folder / "still.jpg", quality=92)
    write_video(folder / "video.mp4", screen(fan(10, 480, 640, seed=4)))
    return folder


BURNED = {"one": ("FEATHERSTONEHAUGH WILHELMINA", "NHS4857773456"), "other": ("LI BO", "7")}


@pytest.fixture(scope="module")
def burned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores `one` and `other` of the same pictures under two names, and what a person saw of their making."""
    home = tmp_path_factory.mktemp("burned")
    for label, (name, patient) in BURNED.items():
        given = export(home / f"given {label}", name, patient)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", text := io.StringIO())
            common = ["--size", "128", "--frame_skip", "2", "--workers", "1"]
            cli.main(["prepare", str(given), *common, "--out", str(home / label)])
            whole = ["--cleaning.sector", "false", "--cleaning.marks", "keep", "--out", str(home / f"whole {label}")]
            cli.main(["prepare", str(given), *common, *whole])
        (home / f"{label}.txt").write_text(text.getvalue().replace(str(home), ""))
    return home


def reported(store: Path) -> list[np.ndarray]:
    """The pictures of a store's page, in the order of its tables: pseudonyms differ from name to name."""
    rejected = pd.read_csv(store / "rejected.csv").sort_values("reason")
    files = [*pd.read_csv(store / "scans.csv")["picture"], *rejected["picture"]]
    return [np.asarray(Image.open(store / "report" / name)).astype(float) for name in files]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Greatest difference of two rows of pictures, once a letter is blurred with what is around it."""
    return max(float(np.abs(cv2.blur(a - b, (9, 9))).max()) for a, b in zip(one, other, strict=True))


def frames_of(store: Path) -> np.ndarray:
    return Store(store).read(np.arange(len(Store(store)))).astype(float)


def test_frames_and_pictures_are_the_same_whatever_name_stands_beside_the_scan(burned: Path) -> None:
    one, other = frames_of(burned / "one"), frames_of(burned / "other")
    assert one.shape == other.shape
    assert len(one) >= 10
    # The DICOM cine to the bit; JPEG and MPEG-4 code the same echoes a little differently beside other text.
    assert np.array_equal(one[:7], other[:7])
    assert difference(one, other) <= 6
    pictures = list(zip(reported(burned / "one"), reported(burned / "other"), strict=True))
    assert len(pictures) == 4
    for first, second in pictures:
        assert difference(first[None], second[None]) <= 8
    for number in (0, 3):  # of DICOM files
        assert np.array_equal(*pictures[number])


def test_screens_that_nobody_cleaned_tell_the_names_apart(burned: Path) -> None:
    one, other = frames_of(burned / "whole one"), frames_of(burned / "whole other")
    assert difference(one[:7], other[:7]) > 16


def test_nothing_burned_in_is_left_in_words_either(burned: Path) -> None:
    for label in BURNED:
        files = [burned / f"{label}.txt", *(p for p in (burned / label).rglob("*") if p.is_file())]
        assert len(files) > 8
        for file in files:
            assert_no_secret(file.read_bytes(), file, burned)


def test_parts_of_an_interrupted_run_hold_no_more_than_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    given = export(tmp_path / "given", *BURNED["one"])
    monkeypatch.setattr(preparing, "write_store", interrupted)
    with pytest.raises(SystemExit):
        cli.main(["prepare", str(given), "--size", "128", "--workers", "1", "--out", str(tmp_path / "store")])
    parts = list((tmp_path / "store" / "parts").iterdir())
    assert {part.suffix or part.name for part in parts} == {".frames", ".json", ".jpg", ".checksums"}
    for part in parts:
        assert_no_secret(part.read_bytes(), part, tmp_path)
