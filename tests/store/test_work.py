"""Spreading scans over processes: the longest first, and processes that begin without what only the parent needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sonolearn.config import CleaningConfig
from sonolearn.store.cleaned_scan import Options, Task
from sonolearn.store.prepare import longest_first
from sonolearn.store.pseudonyms import Pseudonyms, open_private

OPTIONS = Options(32, 1, CleaningConfig(), labelled=False)


def task(folder: Path, sizes: list[int], pseudonyms: Pseudonyms, number: int) -> Task:
    paths = tuple(folder / f"{number}-{k}" for k in range(len(sizes)))
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(bytes(size))
    return Task(paths, folder, folder, OPTIONS, pseudonyms)


def test_the_largest_scans_are_begun_first_and_equal_ones_in_their_order(tmp_path: Path) -> None:
    pseudonyms = open_private(tmp_path / "key")
    sizes = [[10], [500], [10], [200, 400], [0]]
    tasks = [task(tmp_path, of, pseudonyms, number) for number, of in enumerate(sizes)]
    assert longest_first(tasks) == [3, 1, 0, 2, 4]


def test_a_file_that_is_gone_is_begun_last_and_stops_nothing(tmp_path: Path) -> None:
    pseudonyms = open_private(tmp_path / "key")
    tasks = [task(tmp_path, [size], pseudonyms, number) for number, size in enumerate((5, 9))]
    (tmp_path / "1-0").unlink()
    assert longest_first(tasks) == [0, 1]


def test_a_process_that_cleans_scans_imports_neither_torch_nor_pandas() -> None:
    said = (
        "import sys, sonolearn.store.cleaned_scan; print([m for m in ('torch', 'pandas', 'h5py') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True).stdout == "[]\n"
