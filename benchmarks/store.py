"""Frames and pairs of nearby frames a second out of a store, against a bare array of the same frames in a file.

The ceiling is `numpy.memmap` over a file that holds nothing but the same uint8 frames: no format, no table, no file
handle. Both sides read the same frames in the same order, and where the store fills a batch, the array fills the same
one. Numbers of frames are drawn beforehand. All is read once before it counts, so that it comes from memory and the
disk decides nothing; processor time of one process.
"""

from __future__ import annotations

import math
import mmap
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.figure import Row, in_turns, rate, run_script
from sonolearn.checksums import checksum_of
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.ssl.loader import Neighbours
from sonolearn.store.store import FORMAT, FRAMES, SCANS, VERSION, Frames, Store

SIZE, BATCH, SECONDS = 256, 256, 0.5


def rows(quick: bool) -> Iterator[Row]:
    """Batches of random frames, and pairs one by one as a loader process reads them."""
    scans, frames, repeats = (2, 20, 3) if quick else (40, 150, 9)
    with tempfile.TemporaryDirectory() as folder:
        pool = training_frames([write_store(Path(folder), scans, frames, SIZE)])
        bare = bare_array(pool, Path(folder) / "frames.raw")
        yield random_frames(pool, bare, repeats)
        yield nearby_pairs(pool, bare, repeats)


def random_frames(pool: FramePool, bare: Frames, repeats: int) -> Row:
    """All frames in random order, batch after batch into the same array."""
    order = np.random.default_rng(0).permutation(len(pool))
    batches = np.array_split(order, -(-len(order) // BATCH))
    batch = from_page((BATCH, SIZE, SIZE))

    def from_store() -> None:
        for chosen in batches:
            pool.stores[0].read(chosen, out=batch[: len(chosen)])

    def from_array() -> None:
        for chosen in batches:
            for target, row in zip(batch, chosen.tolist(), strict=False):
                target[:] = bare[row]

    seconds = in_turns({"store": from_store, "array": from_array}, repeats, time.process_time)
    figure, count = f"random frames of {SIZE} px into batches of {BATCH}", len(order)
    return rate(figure, "frames/s", count / seconds["store"], "numpy.memmap", count / seconds["array"], 0.8)


def nearby_pairs(pool: FramePool, bare: Frames, repeats: int) -> Row:
    """For half of the frames in random order: the frame, another of its scan within half a second, an array each."""
    rng, neighbours = np.random.default_rng(1), Neighbours(pool, SECONDS)
    firsts = rng.permutation(len(pool))[: len(pool) // 2].tolist()
    pairs = [(first, neighbours.draw(first, rng)) for first in firsts]

    def from_store() -> None:
        for first, second in pairs:
            pool.read(first), pool.read(second)

    def from_array() -> None:
        for first, second in pairs:
            bare[first].copy(), bare[second].copy()

    seconds = in_turns({"store": from_store, "array": from_array}, repeats, time.process_time)
    figure, count = f"pairs of nearby frames of {SIZE} px", len(pairs)
    return rate(figure, "pairs/s", count / seconds["store"], "numpy.memmap", count / seconds["array"], 0.8)


def from_page(shape: tuple[int, int, int]) -> Frames:
    """A uint8 array that begins where a page of memory does.

    NumPy's own begin 16 bytes later, which makes copies from a mapped file three times slower: the last bits of both
    addresses are nearly equal. The ceiling shall not suffer from that.
    """
    flat = np.empty(math.prod(shape) + mmap.PAGESIZE, np.uint8)
    return flat[-flat.ctypes.data % mmap.PAGESIZE :][: math.prod(shape)].reshape(shape)


def bare_array(pool: FramePool, file: Path) -> Frames:
    """The frames of a pool, (n, S, S) uint8, in a file of nothing else."""
    shape = (len(pool), SIZE, SIZE)
    written = np.memmap(file, np.uint8, "w+", shape=shape)
    pool.stores[0].read(pool.row_of_frame, out=written)
    written.flush()
    return np.memmap(file, np.uint8, "r", shape=shape)


def write_store(folder: Path, scans: int, frames: int, size: int) -> Store:
    """A store of drawn sectors of `size` px, `frames` a scan at 25 a second, without labels.

    Rendering and cleaning phantom scans would take minutes, and speed does not depend on what a sector shows.
    """
    with h5py.File(folder / FRAMES, "w") as h5:
        attributes = {"format": FORMAT, "version": VERSION, "size": size, "key_id": "drawn", "fingerprint": "drawn"}
        h5.attrs.update(attributes)
        pictures = h5.create_dataset("frames", (scans * frames, size, size), np.uint8, chunks=(1, size, size))
        checksums = []
        for number in range(scans):
            for frame, picture in enumerate(sector_frames(number, frames, size)):
                pictures.id.write_direct_chunk((number * frames + frame, 0, 0), picture.tobytes())
                checksums.append(checksum_of(picture.tobytes()))
        h5["checksum"] = np.array(checksums, np.uint64)
        h5["scan"] = np.repeat(np.arange(scans, dtype=np.int32), frames)
        h5["index"] = np.tile(np.arange(frames, dtype=np.int32), scans)
        h5["time"] = np.tile(np.arange(frames, dtype=np.float32) / 25, scans)
    names = [f"S-{number:04d}" for number in range(scans)]
    patients = [f"P-{number:04d}" for number in range(scans)]
    pd.DataFrame({"scan": names, "patient": patients, "machine": "drawn"}).to_csv(folder / SCANS, index=False)
    return Store(folder)


def sector_frames(seed: int, frames: int, size: int) -> Iterator[NDArray[np.uint8]]:
    """Frames (size, size) of a sector of 70 degrees with speckle and darker and brighter parts that move."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    depth, angle = np.hypot(x - 0.5, y + 0.15), np.arctan2(x - 0.5, y + 0.15)
    inside = (depth > 0.2) & (depth < 1.1) & (np.abs(angle) < np.deg2rad(35))
    speckle = cv2.GaussianBlur(rng.rayleigh(40, (size, size)), (0, 0), 1.2)
    parts = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), size / 16) * size / 2
    for frame in range(frames):
        picture = speckle + np.roll(parts, frame, axis=1) + 40
        yield np.where(inside, np.clip(picture, 10, 255), 0).astype(np.uint8)


if __name__ == "__main__":
    run_script(rows, __doc__)
