"""Damaged files of the package's own: stores, runs, studies, the private folder; then a command that reads them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.fuzzing.commands import CLASSIFY, PRETRAIN, called, road, walked
from benchmarks.fuzzing.damage import Rng, damaged_file, pick
from benchmarks.fuzzing.kind import Kind
from sonolearn.checksums import CHECKSUMS, naming_damage
from sonolearn.console import UserError
from sonolearn.runs import AnyPath
from sonolearn.store.store import Store
from sonolearn.study.folder import StudyFolder
from sonolearn.study.read import read_run
from sonolearn.study.results import read_results

GROUP = "own files"
Action = Callable[[Path], None]
"""What reads the files of a work folder."""


def _make(folder: Path) -> None:
    walked(folder)
    called("study", "report", folder / "study")


def damaging(
    target: str, others: Sequence[str], actions: Sequence[Action], sound: Sequence[str] = ()
) -> Callable[[Path, Path, Rng], None]:
    """Damage one file of a folder, half of the times without the checksums that would tell; then read it.

    Args:
        target: name of the folder whose files are damaged.
        others: folders that are needed beside it, and may be written to.
        actions: what reads it; one of them is drawn.
        sound: patterns of files in `target` that are left alone.
    """

    def attempt(base: Path, work: Path, rng: Rng) -> None:
        copied = {target, *others, "sonolearn-private"}
        for name in copied:
            shutil.copytree(base / name, work / name)
        for name in {"phantom", "plan.yaml", "scans", "labelled"} - copied:
            (work / name).symlink_to(base / name)
        files = [path for path in sorted((work / target).rglob("*")) if path.is_file()]
        files = [path for path in files if not any(path.match(pattern) for pattern in sound)]
        damaged = pick(rng, files)
        damaged_file(damaged, rng)
        if damaged.name != CHECKSUMS and rng.random() < 0.5:
            for checksums in (work / target).rglob(CHECKSUMS):
                checksums.unlink(missing_ok=True)
        pick(rng, actions)(work)

    return attempt


def _step(name: str) -> Action:
    """The command of the road that wrote a folder, again."""
    return lambda work: called(*road(work)[name])


@contextmanager
def as_a_command(folder: Path) -> Iterator[None]:
    """Say what goes wrong in the words of the command line."""
    try:
        with naming_damage(folder):
            yield
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror or error}; check it and run the same command") from error


def _whole_store(work: Path) -> None:
    """Read all that a store holds."""
    for name in ("labelled", "scans"):
        with as_a_command(work / name):
            store = Store(work / name)
            store.read(np.arange(len(store)))
            assert len(store.patient_of_frame) == len(store)
            assert store.fingerprint
            assert store.labels is None or store.planes


def _read_run(name: str) -> Action:
    """What a report reads of a run."""

    def read(work: Path) -> None:
        with as_a_command(work / name):
            read_run(work / name)

    return read


def _study_results(work: Path) -> None:
    """What the page of a study is made of."""
    with as_a_command(work / "study"):
        read_results(StudyFolder(work / "study"))


def _neighbours(work: Path) -> None:
    called("classify", work / "labelled", *CLASSIFY, "--mode", "knn", "--neighbours", "3", "--out", work / "out")


def _learn(work: Path) -> None:
    called("pretrain", work / "scans", *PRETRAIN, "--knn_store", work / "labelled", "--out", work / "out")


def _resumed(work: Path) -> None:
    """Pre-training that was interrupted before its end: its checkpoint is taken up."""
    for name in ("encoder.safetensors", "summary.json"):
        file = work / "pretrained" / name
        shutil.rmtree(file, ignore_errors=True) if file.is_dir() else file.unlink(missing_ok=True)
    called(*road(work)["pretrained"])


def _start(named: AnyPath) -> Action:
    words = [*CLASSIFY[2:], "--mode", "knn", "--neighbours", "3"]
    return lambda work: called("classify", work / "labelled", "--init", work / named, *words, "--out", work / "out")


def _report(run: str) -> Action:
    return lambda work: called("report", work / run, "--out", work / "page.html")


def _study(word: str) -> Action:
    return lambda work: called("study", word, work / "study")


STORE = (*[_whole_store] * 6, _neighbours, _learn)
PRETRAINED = (
    *[_read_run("pretrained")] * 4, _step("pretrained"), _resumed, _start("pretrained"),
    _start("pretrained/encoder.safetensors"), _report("pretrained"),
)  # fmt: skip
CLASSIFIED = (*[_read_run("classified")] * 4, _step("classified"), _report("classified"), _step("predicted"))
STUDY = (*[_study_results] * 5, _study("status"), _study("report"), _step("study"))

_REPORTS = ("report.html", "*.jpg")


def _own(name: str, share: int, attempt: Callable[[Path, Path, Rng], None]) -> Kind:
    return Kind(name, GROUP, _make, attempt, share, heavy=True)


KINDS = (
    _own("labelled store", 4, damaging("labelled", (), (*STORE, _step("labelled")), _REPORTS)),
    _own("store of scans", 2, damaging("scans", (), (*STORE, _step("scans")), _REPORTS)),
    _own(
        "private folder", 1,
        damaging("sonolearn-private", ("labelled", "scans"), (_step("labelled"), _step("scans")), ("README.txt",)),
    ),
    _own("run of pretrain", 2, damaging("pretrained", (), PRETRAINED, ("*.png",))),
    _own("run of classify", 1, damaging("classified", ("predicted",), CLASSIFIED)),
    _own("run of predict", 1, damaging("predicted", ("classified",), (_step("predicted"),))),
    _own("study", 1, damaging("study", (), STUDY, ("*.html", "*.svg", "*.png", "*.txt"))),
)  # fmt: skip
