"""Damaged scans: each is read to its end, some are also cleaned and written as `prepare` does it with one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.fuzzing.damage import Rng, damaged_bytes, pick
from benchmarks.fuzzing.kind import Kind
from benchmarks.fuzzing.scan_files import write_dicoms, write_stills, write_videos
from sonolearn.config import CleaningConfig
from sonolearn.scans.find import open_guarded
from sonolearn.scans.scan import Rejected
from sonolearn.store.cleaned_scan import CleanedScan, Options, RejectedScan, Task, make_part
from sonolearn.store.prepare import run_tasks
from sonolearn.store.pseudonyms import Pseudonyms

WHOLE = 1 / 6
"""Share that goes the whole way, which takes five times as long as reading."""
OPTIONS = Options(32, 1, CleaningConfig(), labelled=False)


class OwnFault(Exception):  # noqa: N818 - the rejection that says so
    """Our own code failed on a file, which `prepare` contains but should not need to."""


def _attempt(base: Path, work: Path, rng: Rng) -> None:
    sound = pick(rng, sorted(base.iterdir()))
    head = pick(rng, (256, 1024, 4096))
    file = work / sound.name
    file.write_bytes(damaged_bytes(sound.read_bytes(), rng, head))
    if rng.random() < WHOLE:
        _prepared(file, work)
    else:
        for frame in open_guarded([file]).frames(colour=bool(rng.random() < 0.5)):
            assert frame.pixels.dtype == np.uint8


def _prepared(file: Path, work: Path) -> None:
    """Read, clean and write a scan; raise its rejection."""
    row = make_part(Task((file,), work / "parts", work / "private", OPTIONS, Pseudonyms(b"0" * 32)))
    if isinstance(row, RejectedScan):
        raise OwnFault(row.message) if row.reason == "failed" else Rejected(row.reason, row.message)


def beside_a_sound_one(file: Path, base: Path, work: Path) -> bool:
    """Whether a file whose decoder dies is rejected in one sentence, and a sound one beside it is stored."""
    work.mkdir(parents=True, exist_ok=True)
    sound = next(path for path in sorted(base.iterdir()))
    tasks = [Task((path,), work / "parts", work / "private", OPTIONS, Pseudonyms(b"0" * 32)) for path in (file, sound)]
    damaged, good = run_tasks(tasks, workers=2)
    return isinstance(damaged, RejectedScan) and damaged.reason == "crash" and isinstance(good, CleanedScan)


KINDS = (
    Kind("DICOM", "DICOM", write_dicoms, _attempt, 30),
    Kind("video", "video", write_videos, _attempt, 15),
    Kind("stills", "stills", write_stills, _attempt, 15),
)
