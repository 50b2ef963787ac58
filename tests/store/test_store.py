"""Reading frames: the pixels that HDF5 gives, one call of the system and no copy a frame, damage said in a sentence."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tracemalloc
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from media import fan, speckle, write_dicom, write_video
from sonolearn.config import PrepareConfig
from sonolearn.console import UserError
from sonolearn.store.prepare import prepare
from sonolearn.store.store import FRAMES, Store
from sonolearn.store.write import stored
from stores import write_store

SIZE = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", patients=3, frames=7, size=SIZE)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that open or read a file."""
    made: list[str] = []
    for module, name in ((os, "open"), (os, "preadv"), (h5py, "File")):
        monkeypatch.setattr(module, name, counted(getattr(module, name), name, made))
    return made


def counted(original, name: str, made: list[str]):
    def call(*arguments, **named):
        made.append(name)
        return original(*arguments, **named)

    return call


def pictures(folder: Path) -> np.ndarray:
    """All frames, through HDF5 itself."""
    with h5py.File(folder / FRAMES, "r") as h5:
        return h5["frames"][:]


def test_frames_keep_their_numbers_in_the_recording_also_when_the_store_grows(tmp_path: Path) -> None:
    config = PrepareConfig(size=SIZE, frame_skip=3, workers=1)
    first, second = (write_video(tmp_path / f"{n}.mp4", speckle(10 + n, seed=n)) for n in range(2))
    assert prepare([first], tmp_path / "store", None, config).number_of_frame.tolist() == [0, 3, 6, 9]
    assert prepare([first, second], tmp_path / "store", None, config).number_of_frame.tolist() == [0, 3, 6, 9] * 2


def test_planes_are_sorted_whatever_the_order_of_the_table(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "store", planes=("LVOT", "3VV", "RVOT", "4CH")))
    assert store.labels is not None
    assert list(store.labels["plane"].unique()) == ["LVOT", "3VV", "RVOT", "4CH"]
    assert store.planes == ("3VV", "4CH", "LVOT", "RVOT")


def test_frames_are_those_of_hdf5_in_any_order_and_again(folder: Path) -> None:
    store, rows = Store(folder), np.array([20, 0, 5, 5, 19, 1])
    assert np.array_equal(store.read(rows), pictures(folder)[rows])
    assert all(np.array_equal(store.frame(row), picture) for row, picture in enumerate(pictures(folder)))


def test_frames_fill_the_array_that_is_given(folder: Path) -> None:
    out = np.zeros((4, SIZE, SIZE), np.uint8)
    assert Store(folder).read(np.array([3, 2]), out=out[1:3]) is not None
    assert np.array_equal(out[1:3], pictures(folder)[[3, 2]])
    assert not out[[0, 3]].any()


def test_an_array_that_does_not_lie_in_one_piece_is_refused(folder: Path) -> None:
    out = np.zeros((2, SIZE, 2 * SIZE), np.uint8)
    with pytest.raises((BufferError, ValueError)):
        Store(folder).read(np.array([3, 2]), out=out[:, :, ::2])


def test_each_frame_is_one_call_of_the_system_and_the_file_is_opened_once(folder: Path, calls: list[str]) -> None:
    store = Store(folder)
    store.frame(0)
    calls.clear()
    for _ in range(3):
        store.read(np.arange(5))
        store.frame(3)
    assert calls == ["preadv"] * 18


def test_opening_finds_the_places_once_and_a_copy_for_another_process_knows_them(
    folder: Path, calls: list[str]
) -> None:
    store = Store(folder)
    store.frame(0)
    assert calls == ["File", "open", "File", "preadv"]
    calls.clear()
    copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(copy.frame(4), store.frame(4))
    assert sorted(calls) == ["open", "preadv", "preadv"]


def test_reading_into_an_array_allocates_less_than_a_frame(folder: Path) -> None:
    store, rows, out = Store(folder), np.arange(8), np.zeros((8, SIZE, SIZE), np.uint8)
    store.read(rows, out=out)
    tracemalloc.start()
    store.read(rows, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SIZE * SIZE


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_share_a_store_read_the_same_frames_at_the_same_time(folder: Path, method: str) -> None:
    store, rows = Store(folder), np.tile(np.arange(21), 50)
    expected = store.read(rows)
    context = multiprocessing.get_context(method)
    readers = [context.Process(target=compare, args=(store, rows, expected)) for _ in range(2)]
    for reader in readers:
        reader.start()
    compare(store, rows, expected)
    for reader in readers:
        reader.join()
    assert [reader.exitcode for reader in readers] == [0, 0]
    store.frame(0)


def compare(store: Store, rows: np.ndarray, expected: np.ndarray) -> None:
    for _ in range(5):
        assert np.array_equal(store.read(rows), expected)


def test_a_store_that_is_gone_leaves_no_open_file(folder: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    store = Store(folder)
    store.frame(0)
    assert len(set(Path("/proc/self/fd").iterdir()) - before) == 1
    del store
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_systems_that_cannot_read_at_a_place_read_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([3, 0, 2])
    expected = Store(folder).read(rows)
    monkeypatch.delattr("os.preadv")  # Windows
    assert (Store(folder).read(rows) == expected).all()


def test_a_file_that_is_cut_off_while_it_is_read_is_damaged(folder: Path) -> None:
    store = Store(folder)
    store.frame(0)
    os.truncate(folder / FRAMES, store._places[20] + 100)
    with pytest.raises(UserError, match=r"frames\.h5: is damaged \(it is cut off\); delete the store and"):
        store.frame(20)


@pytest.mark.parametrize("options", [{"chunks": (1, SIZE, SIZE), "compression": "gzip"}, {"chunks": (3, SIZE, SIZE)}])
def test_frames_that_lie_otherwise_are_refused(folder: Path, options: dict[str, object]) -> None:
    frames = pictures(folder)
    with h5py.File(folder / FRAMES, "a") as h5:
        del h5["frames"]
        h5.create_dataset("frames", data=frames, **options)
    with pytest.raises(UserError, match=r"frames\.h5: is damaged \(row 0 holds no frame\); delete"):
        Store(folder).frame(1)


def test_a_frame_that_was_never_written_is_named(folder: Path) -> None:
    with h5py.File(folder / FRAMES, "a") as h5:
        frames = h5["frames"][:]
        del h5["frames"]
        target = h5.create_dataset("frames", frames.shape, np.uint8, chunks=(1, SIZE, SIZE))
        target[:9], target[10:] = frames[:9], frames[10:]
    with pytest.raises(UserError, match="row 9 holds no frame"):
        Store(folder).frame(0)


def test_a_frame_that_is_not_as_it_was_written_is_found_wherever_it_is_read(folder: Path) -> None:
    place = int(Store(folder)._places[7]) + 100
    data = bytearray((folder / FRAMES).read_bytes())
    data[place] ^= 4
    (folder / FRAMES).write_bytes(data)
    for read in (lambda store: store.frame(7), lambda store: store.read(np.array([6, 7]))):
        with pytest.raises(UserError, match=r"frames\.h5: is damaged \(frame 7 is not as it was written\); delete the"):
            read(Store(folder))
    Store(folder).read(np.array([6, 8]))


def test_any_other_damage_of_frames_h5_is_found_or_harmless(tmp_path: Path) -> None:
    """In a file as `prepare` writes it: whatever HDF5 needs to find the data has checksums there."""
    for number in range(2):
        write_dicom(tmp_path / f"{number}.dcm", fan(2, 96, 128, number))
    paths = [tmp_path / "0.dcm", tmp_path / "1.dcm"]
    store = prepare(paths, tmp_path / "store", None, PrepareConfig(size=16, frame_skip=1, workers=1)).path
    whole = (store / FRAMES).read_bytes()

    def found() -> list[object]:
        opened, blocks = Store(store), stored(store)
        assert blocks is not None
        return [opened.read(np.arange(4)).tolist(), opened.fingerprint, opened.key_id, *map(repr, blocks)]

    expected, said = found(), 0
    for place in np.random.default_rng(0).permutation(len(whole))[:300]:
        (store / FRAMES).write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with suppress(UserError):
            assert found() == expected, place
            continue
        said += 1
    assert said > 150
    for length in (0, 100, 2000, len(whole) - 1):
        (store / FRAMES).write_bytes(whole[:length])
        with pytest.raises(UserError, match="is damaged"):
            found()


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", fan(2, 96, 128))
    store = prepare(tmp_path / "a.dcm", tmp_path / "store", None, PrepareConfig(size=16, frame_skip=1, workers=1))
    scans = store.path / "scans.csv"
    scans.write_text(scans.read_text().replace("dicom", "dicon"))
    with pytest.raises(UserError, match=r"scans\.csv: is damaged"):
        _ = Store(store.path).scans
