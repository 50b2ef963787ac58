"""The store: a folder with every clean grey frame of a data set in one HDF5 file, and its tables.

    frames.h5      frames (N, S, S) uint8, one raw chunk a frame; scan (N,) row in scans.csv; index (N,) frame number
                   in the recording; time (N,) seconds since its start, NaN for stills; checksum (N,) XXH3 of the frame
    scans.csv      a row a scan: pseudonyms of scan and patient, machine, kind, first row and count of its frames, ...
    labels.csv     labelled stores only, a row a labelled frame: row in frames.h5, plane, patient, split, machine, scan
    rejected.csv   a row a rejected scan, with the reason
    duplicates.csv pairs of scans with the same frame, and of stills that are nearly the same picture
    .checksums     of the tables, see `sonolearn.checksums`
    report.html    the page to accept the data set by, with its pictures in the folder report

No patient id, name, date or file name is in it: pseudonyms only. Of a header it keeps the machine's make and model.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.checksums import checksum_of, intact
from sonolearn.console import UserError
from sonolearn.runs import hash_file, hash_of

FORMAT = "sonolearn-store"
VERSION = 3
FRAMES, SCANS, LABELS, REJECTED = "frames.h5", "scans.csv", "labels.csv", "rejected.csv"
DUPLICATES = "duplicates.csv"
# Stands in the folder while its tables and frames are being replaced: they may not belong together then.
UNFINISHED = "unfinished"
PARTS = ("train", "valid", "test")

Frames = NDArray[np.uint8]
Rows = NDArray[np.int64]


class Store:
    """A store opened for reading; frames are read on demand, and each process opens the file for itself.

    Attributes:
        path: the folder.
        size: side S of the square frames in px.
        key_id: names the key of its pseudonyms; patients of stores with different keys cannot be compared.
        scan_of_frame: (N,) row in `scans` of each frame.
        time_of_frame: (N,) seconds since the start of the recording, NaN for stills.
        checksum_of_frame: (N,) XXH3 of the pixels of each frame.
    """

    def __init__(self, path: Path | str) -> None:
        """Open a store.

        Raises:
            UserError: `path` is not a store, is damaged, or was written by another version.
        """
        self.path = Path(path)
        file = self.path / FRAMES
        if (self.path / UNFINISHED).exists():
            raise UserError(
                f"{self.path}: writing it was interrupted; run the same `sonolearn prepare` again to finish it"
            )
        if not file.is_file():
            raise UserError(f"{self.path}: is not a store (it has no {FRAMES}); make one with `sonolearn prepare`")
        with open_frames(file) as h5:
            self.size = int(h5["frames"].shape[1])
            self.key_id = text_of(h5, "key_id")
            self._content = text_of(h5, "fingerprint")
            self.scan_of_frame: NDArray[np.int32] = h5["scan"][:]
            self.time_of_frame: NDArray[np.float32] = h5["time"][:]
            self.checksum_of_frame: NDArray[np.uint64] = h5["checksum"][:]
        self._checked = bytearray(len(self))

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.scan_of_frame)

    @cached_property
    def scans(self) -> pd.DataFrame:
        """The table of scans, a row a scan, in the order of `scan_of_frame`."""
        text = dict.fromkeys(("scan", "patient", "machine"), str)
        return pd.read_csv(intact(self.path / SCANS), dtype=text, keep_default_na=False)

    @cached_property
    def labels(self) -> pd.DataFrame | None:
        """The table of labelled frames, or None: columns row, plane, patient, split, machine, scan."""
        file = self.path / LABELS
        if not file.exists():
            return None
        text = dict.fromkeys(("plane", "patient", "split", "machine", "scan"), str)
        return pd.read_csv(intact(file), dtype=text, keep_default_na=False)

    @cached_property
    def planes(self) -> tuple[str, ...]:
        """The classes in their fixed order: sorted, from the whole table, so that no subset renumbers them."""
        return () if self.labels is None else tuple(sorted(self.labels["plane"].unique()))

    @cached_property
    def patient_of_frame(self) -> NDArray[np.object_]:
        """(N,) pseudonym of the patient of each frame."""
        return np.asarray(self.scans["patient"].to_numpy(dtype=object)[self.scan_of_frame])

    @cached_property
    def number_of_frame(self) -> NDArray[np.int32]:
        """(N,) number of each frame in its recording, from 0."""
        with open_frames(self.path / FRAMES) as h5:
            return np.asarray(h5["index"][:], np.int32)

    @cached_property
    def fingerprint(self) -> str:
        """Names the frames and labels: changes whenever they do."""
        labels = self.path / LABELS
        return hash_of([self._content, hash_file(labels) if labels.exists() else ""])

    def read(self, rows: Rows, out: Frames | None = None) -> Frames:
        """Read frames, in the order of `rows`.

        Args:
            rows: (n,) rows of frames.h5; may repeat and be unsorted.
            out: (n, S, S) uint8 array to fill, if given; each of its frames lies in memory in one piece.

        Returns:
            (n, S, S) uint8, 0 to 255.

        Raises:
            UserError: frames.h5 is damaged, or its frames do not lie as this version writes them.
        """
        frames = out if out is not None else np.empty((len(rows), self.size, self.size), np.uint8)
        for frame, row in zip(frames, rows.tolist(), strict=True):
            self._fill(frame, row)
        return frames

    def frame(self, row: int) -> Frames:
        """Read one frame, (S, S) uint8, 0 to 255; errors as of `read`."""
        frame = np.empty((self.size, self.size), np.uint8)
        self._fill(frame, row)
        return frame

    def _fill(self, frame: Frames, row: int) -> None:
        """Read one frame into an array that lies in memory in one piece."""
        # A frame is a raw chunk, a piece of the file as it is: the system copies it to where it belongs. HDF5 would
        # take as long again to find it, and mapped memory reads four times as much of a file that is not cached.
        if _read_at(self._file, frame, self._places.item(row)) != frame.nbytes:
            raise damaged(self.path / FRAMES, "it is cut off")
        if not self._checked[row]:  # once a process: checking takes a third of the time of reading
            if checksum_of(frame.data) != self.checksum_of_frame.item(row):
                raise damaged(self.path / FRAMES, f"frame {row} is not as it was written")
            self._checked[row] = True

    @cached_property
    def _file(self) -> int:
        """The open file. Reading at a place leaves its own position alone, so that forked processes may share it."""
        file = os.open(self.path / FRAMES, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, file)
        return file

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(N,) where each frame begins in the file, in bytes; finding them takes about 5 s for a million frames."""
        places = np.full(len(self), -1)

        def take(chunk: h5py.h5d.StoreInfo) -> None:
            if chunk.size == self.size**2 and chunk.filter_mask == 0:
                places[chunk.chunk_offset[0]] = chunk.byte_offset

        with open_frames(self.path / FRAMES) as h5:
            h5["frames"].id.chunk_iter(take)
        if (missing := np.flatnonzero(places < 0)).size:
            raise damaged(self.path / FRAMES, f"row {missing[0]} holds no frame")
        return places

    def __getstate__(self) -> dict[str, object]:
        """Pickle without the open file, for loader processes that are spawned."""
        return {name: value for name, value in self.__dict__.items() if name != "_file"}


@contextmanager
def open_frames(file: Path) -> Iterator[h5py.File]:
    """frames.h5 for reading; without HDF5's own lock, which some network disks do not have, as it is never changed.

    Raises:
        UserError: it is damaged, or another version of sonolearn wrote it, whose frames were cleaned or lie otherwise.
    """
    try:
        with h5py.File(file, "r", locking=False) as h5:
            if (text_of(h5, "format"), h5.attrs.get("version")) != (FORMAT, VERSION):
                raise UserError(
                    f"{file}: is a store of version {h5.attrs.get('version')}, this sonolearn cleans scans otherwise "
                    f"and reads version {VERSION}; make it again with `sonolearn prepare`, in another folder or after "
                    "deleting this one"
                )
            yield h5
    except (UserError, PermissionError):
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:  # as HDF5 and JSON meet damage
        raise damaged(file, error) from error


def text_of(h5: h5py.File, attribute: str) -> str:
    """A text of frames.h5; those of `prepare` have a fixed length."""
    text = h5.attrs[attribute]
    return text.decode() if isinstance(text, bytes) else str(text)


def damaged(file: Path, damage: object) -> UserError:
    """What to raise of a file of frames that is not as it was written."""
    return UserError(f"{file}: is damaged ({damage}); delete the store and make it again with `sonolearn prepare`")


_SEEKING = threading.Lock()


def _read_at(file: int, frame: Frames, place: int) -> int:
    """Fill an array with the bytes of a file from a place on; how many there were."""
    if hasattr(os, "preadv"):
        return os.preadv(file, (frame.data,), place)
    with _SEEKING:  # Windows: threads share the position of the file
        os.lseek(file, place, os.SEEK_SET)
        found = os.read(file, frame.nbytes)
    frame.reshape(-1)[: len(found)] = np.frombuffer(found, np.uint8)
    return len(found)
