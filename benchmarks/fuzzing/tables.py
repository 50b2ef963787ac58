"""Damaged label tables and folders of classes, as `prepare --labels` reads them."""

from __future__ import annotations

from pathlib import Path

import cv2

from benchmarks.fuzzing.damage import Rng, damaged_bytes, damaged_table, pick
from benchmarks.fuzzing.kind import Kind
from benchmarks.fuzzing.scan_files import sector
from sonolearn.config import Columns
from sonolearn.store.labelling import check_patients
from sonolearn.store.labels import read_labels
from sonolearn.store.pseudonyms import Pseudonyms
from sonolearn.store.sources import labelled_sources

PATTERNS = (None, None, r"p(\d+)", r"^(.)(.)?", r"x*", r"(?P<a>p\d)|(q)")
NAMES = ("4CH", "LVOT", "a b", "=1+1", "<b>", "ü", "..", "con", "-", "4ch ", "nan", "x" * 200)


def _make(folder: Path) -> None:
    rows = ["image,plane,patient,split,machine,scan,frame"]
    for number in range(8):
        cv2.imwrite(str(folder / f"p{number // 2}_{number}.png"), sector(1)[0])
        part = ("train", "train", "valid", "test")[number // 2]
        rows.append(f"p{number // 2}_{number}.png,{('4CH', 'LVOT')[number % 2]},Ann{number // 2},{part},M,s{number},")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _attempt(base: Path, work: Path, rng: Rng) -> None:
    if rng.random() < 0.15:
        _folders(work, rng)
        table = work
    else:
        for picture in base.glob("*.png"):
            (work / picture.name).symlink_to(picture)
        table, text = work / "labels.csv", (base / "labels.csv").read_text(encoding="utf-8")
        if rng.random() < 0.8:
            table.write_text(
                damaged_table(text, rng), encoding=pick(rng, ("utf-8",) * 6 + ("utf-8-sig", "utf-16")), errors="replace"
            )
        else:
            table.write_bytes(damaged_bytes(text.encode(), rng))
    pattern = pick(rng, PATTERNS)
    read = read_labels(table, Columns(), pattern)
    pseudonyms = Pseudonyms(b"0" * 32)
    check_patients(table, read, pseudonyms)
    labelled_sources(read, pattern, pseudonyms)


def _folders(work: Path, rng: Rng) -> None:
    """A folder a class, with odd names and empty files."""
    for number in range(int(rng.integers(5))):
        folder = work / str(pick(rng, NAMES)).replace("..", "dots")
        folder.mkdir(exist_ok=True)
        for _ in range(int(rng.integers(3))):
            (folder / f"{pick(rng, NAMES)}{number}.{pick(rng, ('png', 'dcm', 'mp4', 'txt', ''))}").touch()


KINDS = (Kind("label tables", "label tables", _make, _attempt, 12),)
