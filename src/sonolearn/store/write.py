"""Writing a store: from the blocks of its scans, old and new, to one file of frames and its tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from sonolearn.checksums import CHECKSUMS, checksum_of, current_lines
from sonolearn.console import UserError
from sonolearn.runs import flat, hash_of, is_leftover, plain, read_json, write_json, write_text, writing
from sonolearn.store.audit import PICTURES, write_report
from sonolearn.store.parts import Options, part_name, parts_folder, remove_leftovers
from sonolearn.store.store import FORMAT, FRAMES, REJECTED, SCANS, UNFINISHED, VERSION, damaged, open_frames, text_of

SCAN_COLUMNS = (
    "scan", "patient", "machine", "kind", "first", "frames", "source_frames", "taken", "refused_frames", "fps",
    "mm_per_px", "height", "width", "x0", "y0", "x1", "y1", "sector_from", "shape", "sector_cost", "marks", "texts",
    "picture", "digest",
)  # fmt: skip
_HIDDEN_COLUMNS = ("only", "print")  # of the table in frames.h5, by which a store is extended
_OPTIONS_FILE = "options.json"  # beside the parts: the options of a store that is not finished yet
REJECTED_COLUMNS = ("scan", "kind", "reason", "message", "share", "picture")
DUPLICATE_COLUMNS = ("scan", "other")
DRY_RUN = "dry-run"  # folder inside a store, or where one is to be
LABEL_COLUMNS = ("row", "plane", "patient", "split", "machine", "scan")


@dataclass(frozen=True)
class Block:
    """The frames of one scan, and where they lie now."""

    row: Mapping[str, Any]
    """Its row of the table of scans (without `first`), with `index`, `time` and `checksum` of its frames, and
    `only`, the frames that were asked for."""
    file: Path
    """Raw frames of a part, or the frames.h5 that holds it."""
    first: int | None = None
    """Its first row in that frames.h5; None for a part."""

    @property
    def name(self) -> str:
        """Name of its part."""
        return part_name(self.row["scan"], self.row["only"])

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.row["index"])

    def read(self, size: int) -> Iterator[bytes]:
        """The frames one by one.

        Raises:
            UserError: one is not as it was written.
        """
        for data, checksum in zip(self._stored(size), self.row["checksum"], strict=True):
            if checksum_of(data) != checksum:
                raise damaged(self.file, "a frame is not as it was written")
            yield data

    def _stored(self, size: int) -> Iterator[bytes]:
        if self.first is None:
            with self.file.open("rb") as part:
                for _ in range(self.count):
                    yield part.read(size * size)
            return
        with open_frames(self.file) as h5:
            chunks = h5["frames"].id
            for row in range(self.first, self.first + self.count):
                yield chunks.read_direct_chunk((row, 0, 0))[1]


def stored_rows(folder: Path) -> list[dict[str, Any]] | None:
    """The rows of the table of scans as frames.h5 holds them; None where there is no store.

    Raises:
        UserError: another version wrote the store, or it is damaged.
    """
    if not (folder / FRAMES).is_file():
        return None
    with open_frames(folder / FRAMES) as h5:
        rows: list[dict[str, Any]] = json.loads(bytes(h5["scans"][:]))
        return rows


def stored(folder: Path) -> tuple[list[Block], dict[str, Any], str] | None:
    """The blocks of a finished store, its options and its key id; None where there is none.

    Read from frames.h5 alone, which is replaced in one step: after an interruption the tables may be newer.
    """
    file, rows = folder / FRAMES, stored_rows(folder)
    if rows is None:
        return None
    with open_frames(file) as h5:
        index, time, checksum = h5["index"][:], h5["time"][:], h5["checksum"][:]
        options, key_id = json.loads(text_of(h5, "config")), text_of(h5, "key_id")
    blocks = []
    for row in rows:
        part = slice(row["first"], row["first"] + row["frames"])
        times = [None if np.isnan(t) else float(t) for t in time[part]]
        of_frames = {"index": index[part].tolist(), "time": times, "checksum": checksum[part].tolist()}
        blocks.append(Block({**row, **of_frames}, file, row["first"]))
    return blocks, options, key_id


def claim_store(out: Path, options: Options, key_id: str) -> list[Block]:
    """Make `out` a store with these options and key, or check that it is one; give its finished blocks.

    Raises:
        UserError: it is something else, or a store with other options or of another version.
    """
    wanted = dict(flat(plain(options))) | {"key": key_id}
    file = parts_folder(out) / _OPTIONS_FILE
    finished = stored(out)
    found = dict(flat(finished[1])) | {"key": finished[2]} if finished else read_json(file) if file.exists() else None
    if found is None:
        check_free(out)
    elif found != wanted:
        name = next(n for n in wanted if found.get(n) != wanted[n])
        if name == "key":
            raise UserError(
                f"{out}: was made with another key ({found.get(name)}, not {key_id}); name its folder with --key"
            )
        raise UserError(
            f"{out}: was made with {name} {_said(found.get(name))}, not {_said(wanted[name])}; "
            "give another --out, or the same options"
        )
    parts_folder(out).mkdir(parents=True, exist_ok=True)
    remove_leftovers(parts_folder(out))
    remove_leftovers(out)
    write_json(file, wanted)
    return finished[0] if finished else []


def check_free(out: Path) -> None:
    """Check that a store can be made in `out`, where there is none.

    Raises:
        UserError: it is a file, or a folder with something else in it.
    """
    ours = (parts_folder(out).name, DRY_RUN)
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    if (out.exists() and not out.is_dir()) or any(name not in ours and not is_leftover(name) for name in names):
        raise UserError(f"{out}: exists and is not a store; give another --out")


def is_begun(out: Path) -> bool:
    """Whether a folder is a store, or one that is not finished yet."""
    return (out / FRAMES).is_file() or (parts_folder(out) / _OPTIONS_FILE).is_file()


def _said(value: Any) -> str:
    """An option's value in a message."""
    return (" ".join(map(str, value)) or "[]") if isinstance(value, list) else str(value)


def write_store(
    folder: Path, blocks: Sequence[Block], options: Options, key_id: str, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write frames.h5, the tables, the pictures and the report.

    A reader sees the old store or the new one, or is told that it is unfinished.

    Args:
        folder: the store.
        blocks: its scans, in order.
        options: what its frames depend on.
        key_id: of the key of its pseudonyms.
        tables: the other tables by their file's name: rejected.csv at least.
    """
    rows, first = [], 0
    for block in blocks:
        kept = {c: block.row.get(c) for c in (*SCAN_COLUMNS, *_HIDDEN_COLUMNS)}
        rows.append({**kept, "first": first, "frames": block.count})
        first += block.count
    before = stored_rows(folder)
    scans = pd.DataFrame(rows, columns=list(SCAN_COLUMNS)).astype({"source_frames": "Int64", "sector_cost": float})
    with ExitStack() as replacing:
        if before != rows:
            temporary = replacing.enter_context(writing(folder / FRAMES, checksum=False))
            attributes = {"config": json.dumps(plain(options), sort_keys=True), "key_id": key_id}
            _write_frames(temporary, blocks, rows, options.size, attributes)
        told = "Run the same `sonolearn prepare` again to finish this store.\n"
        write_text(folder / UNFINISHED, told, checksum=False)
        for name, table in {SCANS: scans, **tables}.items():
            write_table(folder / name, table)
    _move_pictures(folder, {*scans["picture"], *tables[REJECTED]["picture"]})
    write_report(folder, scans, tables[REJECTED], plain(options))
    write_text(folder / CHECKSUMS, current_lines(folder), checksum=False)
    (folder / UNFINISHED).unlink(missing_ok=True)


def _move_pictures(folder: Path, wanted: set[str]) -> None:
    """From the parts into the store; pictures of scans that are no longer in the store go."""
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    for picture in sorted(parts_folder(folder).glob("*.jpg")):
        picture.replace(pictures / picture.name)
    for picture in pictures.iterdir():
        if picture.name not in wanted:
            picture.unlink()


def _write_frames(
    file: Path, blocks: Sequence[Block], rows: list[dict[str, Any]], size: int, attributes: dict[str, str]
) -> None:
    total = sum(block.count for block in blocks)
    named = [[row["scan"], row["patient"], row["digest"]] for row in rows]
    # Since this version of its format HDF5 checks whatever it needs to find the data; frames have their own checksums.
    with h5py.File(file, "w", libver="v110", locking=False) as h5:
        texts = {"format": FORMAT, **attributes, "fingerprint": hash_of([attributes, named])}
        # Texts of a fixed length lie beside the numbers, where there are checksums; others do not.
        h5.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()})
        h5.attrs.update({"version": VERSION, "size": size})
        frames = h5.create_dataset("frames", (total, size, size), np.uint8, chunks=(1, size, size))
        row = 0
        for block in blocks:
            for data in block.read(size):
                # Raw chunks past HDF5's selection machinery, as the store reads them.
                frames.id.write_direct_chunk((row, 0, 0), data)
                row += 1
        times = [np.nan if t is None else t for block in blocks for t in block.row["time"]]
        columns = {
            "scan": np.repeat(np.arange(len(blocks), dtype=np.int32), [block.count for block in blocks]),
            "index": np.array([i for block in blocks for i in block.row["index"]], np.int32),
            "time": np.array(times, np.float32),
            "checksum": np.array([c for block in blocks for c in block.row["checksum"]], np.uint64),
            "scans": np.frombuffer(json.dumps(rows).encode(), np.uint8),
        }
        for name, column in columns.items():
            h5.create_dataset(name, data=column, fletcher32=True)


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write a CSV, whole or not at all."""
    with writing(file) as temporary:
        table.to_csv(temporary, index=False)
