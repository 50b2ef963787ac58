"""Frames of scans as the network takes them: those of a store, bit for bit, each made once, in flat memory."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from media import fan, speckle, write_dicom, write_still, write_video, written
from sonolearn.cleaning.clean import Cleaned
from sonolearn.config import CleaningConfig, PrepareConfig
from sonolearn.deploy import frames as room
from sonolearn.deploy.frames import Cutting, Reading, batches
from sonolearn.ssl.features import read_images
from sonolearn.store.prepare import prepare


def cutting(frame_size: int = 48, image_size: int = 32, frame_skip: int = 1, batch: int = 4) -> Cutting:
    return Cutting(frame_size, image_size, frame_skip, CleaningConfig(), batch)


def read(path: Path, how: Cutting) -> tuple[np.ndarray, list[int], Reading]:
    scan = Reading("S", (path,))
    found = list(batches(scan, how))
    assert [batch.last for batch in found] == [False] * (len(found) - 1) + [True]
    frames = np.concatenate([batch.frames for batch in found])
    return frames, [int(i) for batch in found for i in batch.index], scan


def marked_video(path: Path) -> None:
    write_video(path, written(fan(60), "LT HEART", 140, 120))


def dicom(path: Path) -> None:
    write_dicom(path, fan(11))


def still(path: Path) -> None:
    write_still(path, 3, 240, 320)


@pytest.mark.parametrize(("name", "make"), [("a.mp4", marked_video), ("a.dcm", dicom), ("a.png", still)])
@pytest.mark.parametrize(("frame_size", "image_size"), [(48, 32), (48, 48), (48, 64)])
def test_frames_are_those_that_training_reads_from_a_store_bit_for_bit(
    name: str, make: Callable[[Path], None], frame_size: int, image_size: int, tmp_path: Path
) -> None:
    make(tmp_path / name)
    store = prepare(
        [tmp_path / name], tmp_path / "store", None, PrepareConfig(size=frame_size, frame_skip=3, workers=1)
    )
    expected = read_images(store, np.arange(len(store)), image_size)
    found, _, scan = read(tmp_path / name, cutting(frame_size, image_size, frame_skip=3))
    assert scan.rejected is None
    assert len(found) == len(store) > 0
    assert np.array_equal(found, expected)


def test_each_frame_is_decoded_once_cleaned_once_and_in_one_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_video(tmp_path / "a.mp4", fan(61))
    decoded: Counter[int] = Counter()
    cleaned: list[Cleaned] = []
    open_guarded, clean = room.open_guarded, room.clean

    def counting(paths: object) -> object:
        scan = open_guarded(paths)  # type: ignore[arg-type]

        def frames(takes: Callable[[int], bool], colour: bool) -> Iterator[object]:
            for frame in scan.read(takes, colour):
                decoded[frame.index] += 1
                yield frame

        return dataclasses.replace(scan, read=frames)

    monkeypatch.setattr(room, "open_guarded", counting)
    monkeypatch.setattr(room, "clean", lambda *a, **k: cleaned.append(clean(*a, **k)) or cleaned[-1])
    _, index, scan = read(file, cutting(frame_skip=2))
    assert index == list(range(0, 61, 2))
    assert decoded == Counter(index)
    assert [scan.taken for scan in cleaned] == [len(index)] == [scan.taken]


def test_memory_does_not_grow_with_the_length_of_a_scan(tmp_path: Path) -> None:
    peaks = []
    for count in (120, 480):
        file = write_video(tmp_path / f"{count}.mp4", np.tile(speckle(60), (count // 60, 1, 1)))
        tracemalloc.start()
        assert sum(len(batch.frames) for batch in batches(Reading("S", (file,)), cutting())) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The screens of 360 frames more are 4.4 MB, the clean frames 0.8 MB.
    assert peaks[1] < peaks[0] + 200_000


def test_a_damaged_end_rejects_the_scan_with_an_empty_last_batch(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", fan(8))
    file.write_bytes(file.read_bytes()[:-100_000])
    scan = Reading("S", (file,))
    found = list(batches(scan, cutting()))
    assert scan.rejected is not None
    assert (len(found[-1].frames), found[-1].last) == (0, True)


def test_a_fault_of_ours_rejects_the_scan_and_tells_nothing_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("Featherstonehaugh")

    monkeypatch.setattr(room, "clean", fail)
    scan = Reading("S", (write_still(tmp_path / "Featherstonehaugh.png", 0),))
    list(batches(scan, cutting()))
    assert scan.rejected is not None
    assert scan.rejected.reason == "failed"
    assert "KeyError" in scan.rejected.message
    assert "Featherstonehaugh" not in scan.rejected.message
