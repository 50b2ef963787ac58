"""One scan at a time, by worker processes: from its files to its row of the table and its clean frames on disk.

Until the store is written, a scan lies in three files below STORE/parts: `NAME.frames`, the raw frames one behind the
other, appended as they are read; `NAME.jpg`, its picture for the report; and `NAME.json`, its row, written last: where
it stands, the scan is complete. So an interruption costs at most the scans that were being read, and memory never holds
a whole scan.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sonolearn.checksums import checksum_of
from sonolearn.cleaning.clean import Cleaned, clean
from sonolearn.cleaning.pictures import sheet_of, text_crops
from sonolearn.cleaning.similar import fingerprint
from sonolearn.config import CleaningConfig
from sonolearn.console import UserError
from sonolearn.runs import hash_of, naming_disk_errors, plain, read_json, write_json, writing
from sonolearn.scans.find import open_guarded, own_fault
from sonolearn.scans.scan import Pixels, Rejected, Scan
from sonolearn.store.pseudonyms import Pseudonyms
from sonolearn.store.review import keep_crops


@dataclass(frozen=True)
class ScanRow:
    """A row of scans.csv; docs/reference/store.md says what its columns hold."""

    scan: str
    patient: str
    machine: str
    kind: str
    first: int | None
    """None until its frames lie in frames.h5."""
    frames: int
    source_frames: int | None
    taken: int
    refused_frames: str
    fps: float | None
    mm_per_px: float | None
    height: int
    width: int
    x0: int
    y0: int
    x1: int
    y1: int
    sector_from: str
    shape: str
    sector_cost: float | None
    marks: float
    texts: int
    picture: str
    digest: str
    only: tuple[int, ...] | None
    """The frames that a label table asks for, None for every n-th; not a column of scans.csv."""
    print: tuple[int, ...] | None
    """Of a still, see `fingerprint`; not a column of scans.csv."""


@dataclass(frozen=True)
class RejectedScan:
    """A row of rejected.csv."""

    scan: str
    kind: str
    reason: str
    message: str
    share: float | None
    """Of the frames read that were left out for this reason, 0 to 1."""
    picture: str


SCAN_COLUMNS = tuple(field.name for field in fields(ScanRow) if field.name not in ("only", "print"))
REJECTED_COLUMNS = tuple(field.name for field in fields(RejectedScan))


@dataclass(frozen=True)
class CleanedScan:
    """A scan that is kept: its row, and where its frames lie now."""

    row: ScanRow
    index: Sequence[int]
    """Number of each frame in the recording."""
    time: Sequence[float | None]
    """Seconds since the start of the recording; None for stills."""
    checksum: Sequence[int]
    """Of the pixels of each frame."""
    file: Path
    """Raw frames, or the frames.h5 that holds them from row `row.first` on."""

    @property
    def name(self) -> str:
        """Names the scan and the frames that were asked for."""
        return part_name(self.row.scan, self.row.only)

    def read(self, size: int) -> Iterator[bytes]:
        """The frames one by one, size x size bytes each.

        Raises:
            UserError: one is not as it was written.
        """
        from sonolearn.store.store import damaged  # loads h5py, which worker processes do without

        for data, checksum in zip(self._stored(size), self.checksum, strict=True):
            if checksum_of(data) != checksum:
                raise damaged(self.file, "a frame is not as it was written")
            yield data

    def _stored(self, size: int) -> Iterator[bytes]:
        from sonolearn.store.store import open_frames

        if self.row.first is None:
            with self.file.open("rb") as part:
                yield from (part.read(size * size) for _ in range(self.row.frames))
            return
        with open_frames(self.file) as h5:
            chunks = h5["frames"].id
            for row in range(self.row.first, self.row.first + self.row.frames):
                yield chunks.read_direct_chunk((row, 0, 0))[1]


Row = CleanedScan | RejectedScan | str
"""What became of a scan; a text is the pseudonym of one that the store holds already."""


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
    """Names of scans that the store holds already."""


def make_part(task: Task) -> Row:
    """Read, clean and write one scan, unless that was done before.

    The patient in the row is the pseudonym of the header's patient, or empty.
    """
    try:
        scan = task.pseudonyms.scan(content_hash(task.paths))
    except OSError:
        # Its content cannot name it, so its path does, which the key hides.
        unread = task.pseudonyms.scan(f"unread {task.paths[0].absolute()}")
        message = "cannot be opened: it may be forbidden or on a broken disk"
        return rejection_row(unread, "", Rejected("unreadable", message))
    if task.refused is not None:
        return rejection_row(scan, "", Rejected(*task.refused))
    name = part_name(scan, task.only)
    if name in task.stored:
        return scan
    file = task.folder / f"{name}.json"
    if not file.exists():
        made = _clean(task, scan, file)
        write_json(file, made if isinstance(made, RejectedScan) else as_json(made), checksum=False)
        return made
    found = read_json(file)
    return RejectedScan(**found) if "reason" in found else from_json(found, file.with_suffix(".frames"))


def as_json(scan: CleanedScan) -> dict[str, Any]:
    """A scan as plain values: its row and the columns of its frames."""
    return {**plain(scan.row), "index": scan.index, "time": scan.time, "checksum": scan.checksum}


def from_json(found: dict[str, Any], file: Path) -> CleanedScan:
    """The scan of what `as_json` gave, with its frames in `file`."""
    row = {"first": None, **found}
    return CleanedScan(index=row.pop("index"), time=row.pop("time"), checksum=row.pop("checksum"), file=file,
                       row=ScanRow(**row))  # fmt: skip


def _clean(task: Task, scan: str, file: Path) -> CleanedScan | RejectedScan:
    options, frames = task.options, file.with_suffix(".frames")
    opened = cleaned = None
    try:
        opened = open_guarded(task.paths)
        _check_wanted(opened.count, task.only)
        cleaned = clean(opened, options.size, options.frame_skip, task.only, options.cleaning)
        with writing(frames, checksum=False) as temporary:
            written = _write_frames(cleaned, temporary)
            _check_wanted(cleaned.taken if task.only and cleaned.taken < len(task.only) else None, task.only)
    except UserError:  # a full disk concerns all scans
        raise
    except Exception as error:  # one scan must not stop the others
        rejection = error if isinstance(error, Rejected) else own_fault(error)
        picture = _write_pictures(task, file, cleaned)
        return rejection_row(scan, opened.kind if opened else "", rejection, cleaned, picture)
    row = _row(task, scan, opened, cleaned, written, _write_pictures(task, file, cleaned))
    return CleanedScan(row, written.index, written.time, written.checksum, frames)


def _check_wanted(count: int | None, only: tuple[int, ...] | None) -> None:
    if only and count is not None and max(only) >= count:
        raise Rejected("no_such_frame", f"frame {max(only)} was asked for; the scan has frames 0 to {count - 1}")


@dataclass(frozen=True)
class _Written:
    """What is known of the frames of a scan once all are written."""

    index: list[int]
    time: list[float | None]
    checksum: list[int]
    digest: str
    print: tuple[int, ...] | None


def _write_frames(cleaned: Cleaned, file: Path) -> _Written:
    """Append frames as they come."""
    digest = hashlib.blake2b(digest_size=8)
    index: list[int] = []
    time: list[float | None] = []
    checksums: list[int] = []
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
    still = pixels is not None and len(index) == 1
    found = tuple(int(part) for part in fingerprint(pixels)) if still and pixels is not None else None
    return _Written(index, time, checksums, digest.hexdigest(), found)


def _row(task: Task, scan: str, opened: Scan, cleaned: Cleaned, written: _Written, picture: str) -> ScanRow:
    """What the tables say of a scan whose frames have been read."""
    box = cleaned.sector
    assert box is not None  # of the first good frame, without which the scan would have been rejected
    return ScanRow(
        scan=scan,
        patient=task.pseudonyms.patient(opened.patient_id) if opened.patient_id else "",
        machine=opened.machine,
        kind=opened.kind,
        first=None,
        frames=len(written.index),
        source_frames=opened.count,
        taken=cleaned.taken,
        refused_frames=json.dumps(cleaned.refused, sort_keys=True),
        fps=None if opened.fps is None else round(opened.fps, 4),
        mm_per_px=None if cleaned.mm_per_px is None else float(f"{cleaned.mm_per_px:.6g}"),
        height=opened.height, width=opened.width,
        x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1, sector_from=box.source,
        shape=box.shape.name if box.shape else "",
        sector_cost=round(float(box.shape.misfit), 4) if box.shape else None,
        marks=round(cleaned.marked, 5),
        texts=cleaned.texts,
        picture=picture,
        digest=written.digest,
        only=task.only,
        print=written.print,
    )  # fmt: skip


def rejection_row(
    scan: str, kind: str, rejection: Rejected, cleaned: Cleaned | None = None, picture: str = ""
) -> RejectedScan:
    """The row of a scan that cannot be used."""
    shares: dict[str, float] = {}
    if cleaned is not None:
        shares = {reason: round(count / cleaned.taken, 4) for reason, count in cleaned.refused.items()}
    return RejectedScan(scan, kind, rejection.reason, rejection.message, shares.get(rejection.reason), picture)


def _write_pictures(task: Task, file: Path, cleaned: Cleaned | None) -> str:
    """Write the picture for the report, and the crops that only the owner may see; name of the picture, or empty."""
    examples = cleaned.examples if cleaned is not None else []
    keep_crops(task.private, file.stem, text_crops(examples))
    if not examples:
        return ""
    picture = file.with_suffix(".jpg")
    with writing(picture, checksum=False) as temporary:
        temporary.write_bytes(sheet_of(examples))
    return picture.name


def part_name(scan: str, only: Sequence[int] | None) -> str:
    """Names a scan and the frames of it that were asked for; None asks for every n-th."""
    return scan if only is None else f"{scan}-{hash_of(only)}"


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


PARTS_FOLDER = "parts"


def parts_folder(store: Path) -> Path:
    """Where the parts of a store lie until it is assembled."""
    return store / PARTS_FOLDER


def drop_parts(store: Path) -> None:
    """Delete the parts of a store."""
    if parts_folder(store).is_dir():
        shutil.rmtree(parts_folder(store))
