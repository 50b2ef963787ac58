"""The store: a folder with every clean grey frame of a data set in one HDF5 file, and its tables.

    frames.h5      frames (N, S, S) uint8, one raw chunk a frame; scan (N,) row in scans.csv; index (N,) frame number
                   in the recording; time (N,) seconds since its start, NaN for stills
    scans.csv      a row a scan: pseudonyms of scan and patient, machine, kind, first row and count of its frames, ...
    labels.csv     labelled stores only, a row a labelled frame: row in frames.h5, plane, patient, split, machine, scan
    rejected.csv   a row a rejected scan, with the reason
    duplicates.csv pairs of stills that are nearly the same picture
    report.html    the page to accept the data set by, with its pictures in the folder report

No patient id, name, date or file name is in it: pseudonyms only. Of a header it keeps the machine's make and model.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.console import UserError
from sonolearn.runs import hash_file, hash_of

FORMAT = "sonolearn-store"
VERSION = 2
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
    """

    def __init__(self, path: Path | str) -> None:
        """Open a store.

        Raises:
            UserError: `path` is no store, is damaged, or was written by another version.
        """
        self.path = Path(path)
        file = self.path / FRAMES
        if (self.path / UNFINISHED).exists():
            raise UserError(
                f"{self.path}: writing it was interrupted; run the same `sonolearn prepare` again to finish it"
            )
        if not file.is_file():
            raise UserError(f"{self.path}: is no store (it has no {FRAMES}); make one with `sonolearn prepare`")
        try:
            with h5py.File(file, "r") as h5:
                check_version(file, h5)
                self.size = int(h5["frames"].shape[1])
                self.key_id = str(h5.attrs["key_id"])
                self._content = str(h5.attrs["fingerprint"])
                self.scan_of_frame: NDArray[np.int32] = h5["scan"][:]
                self.time_of_frame: NDArray[np.float32] = h5["time"][:]
        except (OSError, KeyError) as error:
            raise UserError(f"{file}: is damaged ({error}); make it again with `sonolearn prepare`") from error
        self._file: h5py.File | None = None
        self._process = -1

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.scan_of_frame)

    @cached_property
    def scans(self) -> pd.DataFrame:
        """The table of scans, a row a scan, in the order of `scan_of_frame`."""
        return pd.read_csv(
            self.path / SCANS, dtype={"scan": str, "patient": str, "machine": str}, keep_default_na=False
        )

    @cached_property
    def labels(self) -> pd.DataFrame | None:
        """The table of labelled frames, or None: columns row, plane, patient, split, machine, scan."""
        file = self.path / LABELS
        if not file.exists():
            return None
        text = dict.fromkeys(("plane", "patient", "split", "machine", "scan"), str)
        return pd.read_csv(file, dtype=text, keep_default_na=False)

    @cached_property
    def planes(self) -> tuple[str, ...]:
        """The classes in their fixed order: sorted, from the whole table, so that no subset renumbers them."""
        return () if self.labels is None else tuple(sorted(self.labels["plane"].unique()))

    @cached_property
    def patient_of_frame(self) -> NDArray[np.object_]:
        """(N,) pseudonym of the patient of each frame."""
        return np.asarray(self.scans["patient"].to_numpy(dtype=object)[self.scan_of_frame])

    @cached_property
    def fingerprint(self) -> str:
        """Names the frames and labels: changes whenever they do."""
        labels = self.path / LABELS
        return hash_of([self._content, hash_file(labels) if labels.exists() else ""])

    def read(self, rows: Rows, out: Frames | None = None) -> Frames:
        """Read frames, in the order of `rows`.

        Args:
            rows: (n,) rows of frames.h5; may repeat and be unsorted.
            out: (n, S, S) uint8 array to fill, if given.

        Returns:
            (n, S, S) uint8, 0 to 255.
        """
        frames = out if out is not None else np.empty((len(rows), self.size, self.size), np.uint8)
        read_chunk = self._frames().id.read_direct_chunk
        for target, row in zip(frames, rows, strict=True):
            # One raw chunk is one frame: reading it past HDF5's selection machinery is several times faster.
            _, data = read_chunk((int(row), 0, 0))
            target[:] = np.frombuffer(data, np.uint8).reshape(self.size, self.size)
        return frames

    def _frames(self) -> h5py.Dataset:
        """The data set of frames; the handle stays open and is opened anew in a forked process."""
        if self._file is None or self._process != os.getpid():
            self._file = h5py.File(self.path / FRAMES, "r")
            self._process = os.getpid()
        return self._file["frames"]

    def __getstate__(self) -> dict[str, object]:
        """Pickle without the open file, for loader processes that are spawned."""
        return {**self.__dict__, "_file": None, "_process": -1}


def check_version(file: Path, h5: h5py.File) -> None:
    """Refuse frames that another version of sonolearn wrote.

    Raises:
        UserError: its frames were cleaned otherwise, or lie otherwise.
    """
    if (h5.attrs.get("format"), h5.attrs.get("version")) != (FORMAT, VERSION):
        raise UserError(
            f"{file}: is a store of version {h5.attrs.get('version')}, this sonolearn cleans scans otherwise and reads "
            f"version {VERSION}; make it again with `sonolearn prepare`, in another folder or after deleting this one"
        )
