"""Spreading scans over processes: the longest first, a crash names its file, and workers import what they need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sonolearn.config import CleaningConfig
from sonolearn.store.cleaned_scan import Options, Row, Task, content_hash, make_part
from sonolearn.store.prepare import longest_first, run_tasks
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


def crashing_part(task: Task) -> Row:
    """For workers: a decoder with a segmentation fault."""
    if task.paths[0].name == "1-0":
        os.kill(os.getpid(), signal.SIGSEGV)
    return make_part(task)


def test_a_file_that_makes_its_decoder_crash_is_rejected_by_name_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonolearn.store.prepare.make_part", crashing_part)
    pseudonyms = open_private(tmp_path / "key")
    tasks = [task(tmp_path, [size], pseudonyms, number) for number, size in enumerate((5, 9, 7))]
    rows = run_tasks(tasks, 2)
    assert [row.reason for row in rows] == ["unknown_format", "crash", "unknown_format"]
    assert [row.scan for row in rows] == [pseudonyms.scan(content_hash(task.paths)) for task in tasks]


def test_a_process_that_cleans_scans_imports_neither_torch_nor_pandas() -> None:
    said = (
        "import sys, sonolearn.store.cleaned_scan; print([m for m in ('torch', 'pandas', 'h5py') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True).stdout == "[]\n"
