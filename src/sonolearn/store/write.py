"""Writing a store: from its scans, old and new, to one file of frames and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from sonolearn.checksums import CHECKSUMS, current_lines
from sonolearn.console import UserError
from sonolearn.runs import flat, hash_of, is_leftover, plain, read_json, write_json, write_text, writing
from sonolearn.store.audit import PICTURES, write_report
from sonolearn.store.cleaned_scan import SCAN_COLUMNS, CleanedScan, Options, ScanRow, parts_folder, remove_leftovers
from sonolearn.store.store import FORMAT, FRAMES, REJECTED, SCANS, UNFINISHED, VERSION, open_frames, text_of

_OPTIONS_FILE = "options.json"  # beside the parts: the options of a store that is not finished yet
DRY_RUN = "dry-run"  # folder inside a store, or where one is to be
LABEL_COLUMNS = ("row", "plane", "patient", "split", "machine", "scan")


def stored_rows(folder: Path) -> list[ScanRow] | None:
    """The table of scans as frames.h5 holds it; None where there is no store. Errors as of `stored`."""
    if not (folder / FRAMES).is_file():
        return None
    with open_frames(folder / FRAMES) as h5:
        return [ScanRow(**row) for row in json.loads(bytes(h5["scans"][:]))]


def stored(folder: Path) -> tuple[list[CleanedScan], dict[str, Any], str] | None:
    """The scans of a finished store, its options and its key id; None where there is none.

    Read from frames.h5 alone, which is replaced in one step: after an interruption the tables may be newer.

    Raises:
        UserError: another version wrote the store, or it is damaged.
    """
    file, rows = folder / FRAMES, stored_rows(folder)
    if rows is None:
        return None
    with open_frames(file) as h5:
        index, time, checksum = h5["index"][:], h5["time"][:], h5["checksum"][:]
        options, key_id = json.loads(text_of(h5, "config")), text_of(h5, "key_id")
    scans = []
    for row in rows:
        part = slice(row.first, (row.first or 0) + row.frames)
        times = [None if np.isnan(t) else float(t) for t in time[part]]
        scans.append(CleanedScan(row, index[part].tolist(), times, checksum[part].tolist(), file))
    return scans, options, key_id


def claim_store(out: Path, options: Options, key_id: str) -> list[CleanedScan]:
    """Make `out` a store with these options and key, or check that it is one; give the scans that it holds.

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
    folder: Path, scans: Sequence[CleanedScan], options: Options, key_id: str, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write frames.h5, the tables, the pictures and the report.

    A reader sees the old store or the new one, or is told that it is unfinished.

    Args:
        folder: the store.
        scans: its scans, in order.
        options: what its frames depend on.
        key_id: of the key of its pseudonyms.
        tables: the other tables by their file's name: rejected.csv at least.
    """
    first = np.cumsum([0, *(scan.row.frames for scan in scans)]).tolist()
    rows = [plain(replace(scan.row, first=row)) for scan, row in zip(scans, first, strict=False)]
    table = pd.DataFrame(rows, columns=list(SCAN_COLUMNS)).astype({"source_frames": "Int64", "sector_cost": float})
    before = stored_rows(folder)
    with ExitStack() as replacing:
        if rows != plain(before):
            temporary = replacing.enter_context(writing(folder / FRAMES, checksum=False))
            attributes = {"config": json.dumps(plain(options), sort_keys=True), "key_id": key_id}
            _write_frames(temporary, scans, rows, options.size, attributes)
        told = "Run the same `sonolearn prepare` again to finish this store.\n"
        write_text(folder / UNFINISHED, told, checksum=False)
        for name, written in {SCANS: table, **tables}.items():
            write_table(folder / name, written)
    _move_pictures(folder, {*table["picture"], *tables[REJECTED]["picture"]})
    write_report(folder, table, tables[REJECTED], plain(options))
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
    file: Path, scans: Sequence[CleanedScan], rows: list[dict[str, Any]], size: int, attributes: dict[str, str]
) -> None:
    counts = [scan.row.frames for scan in scans]
    named = [[row["scan"], row["patient"], row["digest"]] for row in rows]
    # Since this version of its format HDF5 checks whatever it needs to find the data; frames have their own checksums.
    with h5py.File(file, "w", libver="v110", locking=False) as h5:
        texts = {"format": FORMAT, **attributes, "fingerprint": hash_of([attributes, named])}
        # Texts of a fixed length lie beside the numbers, where there are checksums; others do not.
        h5.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()})
        h5.attrs.update({"version": VERSION, "size": size})
        frames = h5.create_dataset("frames", (sum(counts), size, size), np.uint8, chunks=(1, size, size))
        for row, data in enumerate(data for scan in scans for data in scan.read(size)):
            # Raw chunks past HDF5's selection machinery, as the store reads them.
            frames.id.write_direct_chunk((row, 0, 0), data)
        columns = {
            "scan": np.repeat(np.arange(len(scans), dtype=np.int32), counts),
            "index": np.array([i for scan in scans for i in scan.index], np.int32),
            "time": np.array([np.nan if t is None else t for scan in scans for t in scan.time], np.float32),
            "checksum": np.array([c for scan in scans for c in scan.checksum], np.uint64),
            "scans": np.frombuffer(json.dumps(rows).encode(), np.uint8),
        }
        for name, column in columns.items():
            h5.create_dataset(name, data=column, fletcher32=True)


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write a CSV, whole or not at all."""
    with writing(file) as temporary:
        table.to_csv(temporary, index=False)
