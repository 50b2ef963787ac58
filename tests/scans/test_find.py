"""Which files are scans, and which stills are one sequence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media import speckle, write_dicom, write_still
from sonolearn.console import UserError
from sonolearn.scans.find import find_sources, open_scan
from sonolearn.scans.scan import Rejected


def names(*paths: Path) -> list[str]:
    return [source.name for source in find_sources(paths)]


def test_files_that_are_no_media_are_passed_over(tmp_path: Path) -> None:
    for name in ("notes.txt", "labels.csv", ".DS_Store", "._b.png", "DICOMDIR", "x.json"):
        (tmp_path / name).write_text("text")
    write_still(tmp_path / "p1/still.png", 1)
    write_dicom(tmp_path / "IM0001", speckle(1))
    assert names(tmp_path) == ["IM0001", "p1/still.png"]
    assert names(tmp_path / "notes.txt") == [
        (tmp_path / "notes.txt").as_posix()
    ]  # named explicitly: to be refused aloud
    with pytest.raises(Rejected, match="neither DICOM nor a video"):
        open_scan(tmp_path / "notes.txt")


def test_scans_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("img10_a.png", "img2_a.png", "b/x_1.png", "b/y.png"):
        write_still(tmp_path / name, 0)
    assert names(tmp_path) == ["b/x_1.png", "b/y.png", "img2_a.png", "img10_a.png"]


@pytest.mark.parametrize(
    ("files", "scans"),
    [
        (["frame_0009.png", "frame_0010.png", "frame_0011.png"], 1),
        (["1.jpg", "2.jpg", "10.jpg", "3.jpg"], 4),  # the step is not constant
        (["frame_1.png", "frame_6.png", "frame_11.png"], 1),
        (["frame_1.png", "frame_2.jpg"], 2),
        (["a_1.png", "b_2.png"], 2),
        (["000_HC.jpg", "001_HC.jpg"], 2),  # the number is not at the end
        (["frame_1.png", "frame_2.png", "still.png"], 3),
        (["frame_1.png"], 1),
    ],
)
def test_the_rule_of_sequences(tmp_path: Path, files: list[str], scans: int) -> None:
    for number, name in enumerate(files):
        write_still(tmp_path / "folder" / name, number)
    assert len(find_sources([tmp_path])) == scans


def test_a_sequence_is_one_scan_and_takes_frame_skip(tmp_path: Path) -> None:
    frames = speckle(12)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"f{number}.png")
    (source,) = find_sources([tmp_path])
    read = list(open_scan(source.paths).frames(step=5))
    assert np.array_equal(np.stack([f.pixels for f in read]), frames[::5])
    assert open_scan(tmp_path).kind == "sequence"


def test_a_sequence_of_unlike_sizes_is_refused(tmp_path: Path) -> None:
    write_still(tmp_path / "f1.png", 0)
    write_still(tmp_path / "f2.png", 0, height=100)
    with pytest.raises(Rejected, match="differ in size"):
        list(open_scan(tmp_path).frames())


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        find_sources([tmp_path / "typo"])


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("open/a.png", "closed/b.png"):
        write_still(tmp_path / name, 1)
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":  # root may read everything, so nobody else would be refused here
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(tmp_path) == ["open/a.png"]
    assert f"warning: {tmp_path / 'closed'}: cannot be read (Permission denied)" in capsys.readouterr().err


def test_a_file_that_cannot_be_looked_at_is_a_source_to_be_rejected_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_still(tmp_path / "a.png", 1)
    (tmp_path / "IM1").write_bytes(bytes(200))
    (tmp_path / "dead.png").symlink_to("nowhere")
    is_file, opened = Path.is_file, Path.open

    def refuse(path: Path, *more: object, **options: object) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", lambda path: refuse(path) if path.name == "a.png" else is_file(path))
    monkeypatch.setattr(
        Path, "open", lambda path, *m, **o: refuse(path) if path.name == "IM1" else opened(path, *m, **o)
    )
    assert names(tmp_path) == ["IM1", "a.png"]
