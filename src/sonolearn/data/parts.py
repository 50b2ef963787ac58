"""One scan at a time, by worker processes: from files to a *part*, the clean frames of one scan on disk.

A part is two files below STORE/parts: `NAME.frames`, the raw frames one behind the other, appended as they are read,
and `NAME.json`, its row of the table, written last: where it stands, the part is whole. So an interruption costs at
most the scans that were being read, and no scan is ever in memory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonolearn.console import UserError
from sonolearn.data.cleaning.clean import Cleaned, clean
from sonolearn.data.pseudonyms import Pseudonyms
from sonolearn.data.scans.find import open_scan
from sonolearn.data.scans.scan import Rejected, Scan
from sonolearn.runs import hash_of, naming_disk_errors, write_json, writing

PARTS_FOLDER = "parts"
Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the frames of a store depend on; a store is extended with the same ones only."""

    size: int
    frame_skip: int
    crop: bool
    labelled: bool


@dataclass(frozen=True)
class Task:
    """The files of one scan, and what to make of them."""

    paths: tuple[Path, ...]
    folder: Path
    """Where parts go."""
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
        The row of the table of scans with `index`, `time` and `digest` of its frames; or, for a scan that cannot be
        used, `reason` and `message`; or `scan` alone where the store holds it. `patient` is the pseudonym of the
        header's patient, or empty.
    """
    try:
        scan = task.pseudonyms.scan(content_hash(task.paths))
    except OSError:
        # Its content cannot name it, so its path does, which the key hides.
        unread = task.pseudonyms.scan(f"unread {task.paths[0].absolute()}")
        return _rejection(
            unread, "", Rejected("unreadable", "cannot be opened: it may be forbidden or on a broken disk")
        )
    if task.refused is not None:
        return _rejection(scan, "", Rejected(*task.refused))
    name = part_name(scan, task.only)
    if name in task.stored:
        return {"scan": scan}
    file = task.folder / f"{name}.json"
    if file.exists():
        row: Row = json.loads(file.read_text(encoding="utf-8"))
        return row
    row = _made(task, scan, task.folder / f"{name}.frames")
    write_json(file, row)
    return row


def _made(task: Task, scan: str, file: Path) -> Row:
    kind = ""
    try:
        opened = open_scan(task.paths)
        kind = opened.kind
        _check_wanted(opened, task.only)
        options = task.options
        cleaned = clean(opened, options.size, options.frame_skip, task.only, options.crop)
        with writing(file) as temporary:
            written = _write_frames(cleaned, temporary)
    except Rejected as rejection:
        return _rejection(scan, kind, rejection)
    except UserError:  # a full disk concerns all scans
        raise
    except Exception:
        # Decoders raise what they like on damaged files, and one bad file must not stop the others.
        return _rejection(scan, kind, Rejected("unreadable", "cannot be read: the file or its disk is damaged"))
    if task.only is not None and len(written["index"]) < len(task.only):
        file.unlink()
        return _rejection(scan, kind, Rejected("blank", "shows nothing in a frame that was asked for"))
    return _row(scan, opened, cleaned, task.pseudonyms) | written | {"only": task.only}


def _check_wanted(scan: Scan, only: tuple[int, ...] | None) -> None:
    if only and scan.count is not None and max(only) >= scan.count:
        raise Rejected("no_such_frame", f"frame {max(only)} was asked for; the scan has frames 0 to {scan.count - 1}")


def _write_frames(cleaned: Cleaned, file: Path) -> Row:
    """Append frames as they come; give what is known only at the end."""
    digest = hashlib.blake2b(digest_size=8)
    index, time = [], []
    with file.open("wb") as out:
        for frame in cleaned.frames:
            data = frame.pixels.tobytes()
            with naming_disk_errors(file.parent):
                out.write(data)
            digest.update(data)
            index.append(frame.index)
            time.append(None if math.isnan(frame.time) else round(frame.time, 4))
    digest.update(json.dumps([index, time]).encode())
    return {"frames": len(index), "digest": digest.hexdigest(), "index": index, "time": time}


def _row(scan: str, opened: Scan, cleaned: Cleaned, pseudonyms: Pseudonyms) -> Row:
    box = cleaned.sector
    return {
        "scan": scan,
        "patient": pseudonyms.patient(opened.patient_id) if opened.patient_id else "",
        "machine": opened.machine,
        "kind": opened.kind,
        "source_frames": opened.count,
        "fps": None if opened.fps is None else round(opened.fps, 4),
        "mm_per_px": None if cleaned.mm_per_px is None else float(f"{cleaned.mm_per_px:.6g}"),
        "height": opened.height, "width": opened.width,
        "x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1, "sector_from": box.source,
    }  # fmt: skip


def _rejection(scan: str, kind: str, rejection: Rejected) -> Row:
    return {"scan": scan, "kind": kind, "reason": rejection.reason, "message": rejection.message}


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
