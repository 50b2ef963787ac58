"""One scan at a time, by worker processes: from files to a *part*, the clean frames of one scan on disk.

A part is three files below STORE/parts: `NAME.frames`, the raw frames one behind the other, appended as they are read;
`NAME.jpg`, its picture for the report; and `NAME.json`, its row of the table, written last: where it stands, the part
is whole. So an interruption costs at most the scans that were being read, and no scan is ever in memory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonolearn.checksums import checksum_of
from sonolearn.cleaning.clean import Cleaned, clean
from sonolearn.cleaning.pictures import sheet_of, text_crops
from sonolearn.cleaning.similar import fingerprint
from sonolearn.config import CleaningConfig
from sonolearn.console import UserError
from sonolearn.runs import hash_of, naming_disk_errors, read_json, write_json, writing
from sonolearn.scans.find import open_guarded, own_fault
from sonolearn.scans.scan import Pixels, Rejected, Scan
from sonolearn.store.pseudonyms import Pseudonyms
from sonolearn.store.review import keep_crops

PARTS_FOLDER = "parts"
Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the frames of a store depend on; a store is extended with the same ones only."""

    size: int
    frame_skip: int
    cleaning: CleaningConfig
    labelled: bool


@dataclass(frozen=True)
class Task:
    """The files of one scan, and what to make of them."""

    paths: tuple[Path, ...]
    folder: Path
    """Where parts go."""
    private: Path
    """Where crops of text go."""
    options: Options
    pseudonyms: Pseudonyms
    only: tuple[int, ...] | None = None
    """These frames instead of every n-th."""
    refused: tuple[str, str] | None = None
    """Reason and message where it is already known that the scan cannot be used."""
    stored: frozenset[str] = frozenset()
    """Names of parts that the store holds already."""


def part_name(scan: str, only: Sequence[int] | None) -> str:
    """Names the part of a scan; some frames of it are another part than all."""
    return scan if only is None else f"{scan}-{hash_of(only)}"


def make_part(task: Task) -> Row:
    """Read, clean and write one scan unless its part is there already; give its row.

    Returns:
        The row of the table of scans with `index`, `time` and `checksum` of each frame, the `digest` of all, and the
        `print` of a single one; or, for a scan that cannot be used, `reason` and `message`; or `scan` alone where the
        store holds it. `patient` is the pseudonym of the header's patient, or empty.
    """
    try:
        scan = task.pseudonyms.scan(content_hash(task.paths))
    except OSError:
        # Its content cannot name it, so its path does, which the key hides.
        unread = task.pseudonyms.scan(f"unread {task.paths[0].absolute()}")
        return rejection_row(
            unread, "", Rejected("unreadable", "cannot be opened: it may be forbidden or on a broken disk")
        )
    if task.refused is not None:
        return rejection_row(scan, "", Rejected(*task.refused))
    name = part_name(scan, task.only)
    if name in task.stored:
        return {"scan": scan}
    file = task.folder / f"{name}.json"
    if file.exists():
        row: Row = read_json(file)
        return row
    row = _made(task, scan, name)
    write_json(file, row, checksum=False)
    return row


def _made(task: Task, scan: str, name: str) -> Row:
    kind, cleaned = "", None
    options = task.options
    try:
        opened = open_guarded(task.paths)
        kind = opened.kind
        _check_wanted(opened.count, task.only)
        cleaned = clean(opened, options.size, options.frame_skip, task.only, options.cleaning)
        with writing(task.folder / f"{name}.frames", checksum=False) as temporary:
            written = _write_frames(cleaned, temporary)
            _check_wanted(cleaned.taken if task.only and cleaned.taken < len(task.only) else None, task.only)
        row = _row(scan, opened, cleaned, task.pseudonyms) | written | {"only": task.only}
    except Rejected as rejection:
        row = rejection_row(scan, kind, rejection, cleaned)
    except UserError:  # a full disk concerns all scans
        raise
    except Exception as error:  # one scan must not stop the others
        row = rejection_row(scan, kind, own_fault(error))
    return row | {"picture": _write_pictures(task, name, cleaned)}


def _check_wanted(count: int | None, only: tuple[int, ...] | None) -> None:
    if only and count is not None and max(only) >= count:
        raise Rejected("no_such_frame", f"frame {max(only)} was asked for; the scan has frames 0 to {count - 1}")


def _write_frames(cleaned: Cleaned, file: Path) -> Row:
    """Append frames as they come; give what is known only at the end."""
    digest = hashlib.blake2b(digest_size=8)
    index, time, checksums = [], [], []
    pixels: Pixels | None = None
    with file.open("wb") as out:
        for frame in cleaned.frames:
            pixels = frame.pixels
            data = pixels.tobytes()
            with naming_disk_errors(file.parent):
                out.write(data)
            digest.update(data)
            checksums.append(checksum_of(data))
            index.append(frame.index)
            time.append(None if math.isnan(frame.time) else round(frame.time, 4))
    digest.update(json.dumps([index, time]).encode())
    found = [int(part) for part in fingerprint(pixels)] if len(index) == 1 and pixels is not None else None
    row = {"frames": len(index), "digest": digest.hexdigest(), "index": index, "time": time}
    return {**row, "checksum": checksums, "print": found}


def _row(scan: str, opened: Scan, cleaned: Cleaned, pseudonyms: Pseudonyms) -> Row:
    """What the tables say of a scan whose frames have been read."""
    box = cleaned.sector
    assert box is not None  # of the first good frame, without which the scan would have been rejected
    return {
        "scan": scan,
        "patient": pseudonyms.patient(opened.patient_id) if opened.patient_id else "",
        "machine": opened.machine,
        "kind": opened.kind,
        "source_frames": opened.count,
        "taken": cleaned.taken,
        "refused_frames": json.dumps(cleaned.refused, sort_keys=True),
        "fps": None if opened.fps is None else round(opened.fps, 4),
        "mm_per_px": None if cleaned.mm_per_px is None else float(f"{cleaned.mm_per_px:.6g}"),
        "height": opened.height, "width": opened.width,
        "x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1, "sector_from": box.source,
        "shape": box.shape.name if box.shape else "",
        "sector_cost": round(float(box.shape.misfit), 4) if box.shape else None,
        "marks": round(cleaned.marked, 5),
        "texts": cleaned.texts,
    }  # fmt: skip


def rejection_row(scan: str, kind: str, rejection: Rejected, cleaned: Cleaned | None = None) -> Row:
    """The row of a scan that cannot be used."""
    shares: dict[str, float] = {}
    if cleaned is not None:
        shares = {reason: round(count / cleaned.taken, 4) for reason, count in cleaned.refused.items()}
    return {
        "scan": scan, "kind": kind, "reason": rejection.reason, "message": rejection.message,
        "share": shares.get(rejection.reason), "picture": "",
    }  # fmt: skip


def _write_pictures(task: Task, name: str, cleaned: Cleaned | None) -> str:
    """Write the picture for the report, and the crops that only the owner may see; name of the picture, or empty."""
    examples = cleaned.examples if cleaned is not None else []
    keep_crops(task.private, name, text_crops(examples))
    if not examples:
        return ""
    with writing(task.folder / f"{name}.jpg", checksum=False) as temporary:
        temporary.write_bytes(sheet_of(examples))
    return f"{name}.jpg"


def content_hash(paths: Iterable[Path]) -> str:
    """Names the bytes of one file or of several in order; the files' names do not count."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Delete what an interrupted command left half written."""
    for file in folder.glob(".*.tmp"):
        file.unlink(missing_ok=True)


def parts_folder(store: Path) -> Path:
    """Where the parts of a store lie until it is assembled."""
    return store / PARTS_FOLDER


def drop_parts(store: Path) -> None:
    """Delete the parts of a store."""
    folder = parts_folder(store)
    for file in folder.iterdir() if folder.is_dir() else ():
        file.unlink()
    if folder.is_dir():
        folder.rmdir()
