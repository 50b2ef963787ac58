"""Label tables: a CSV with a row an image, or a folder a class; every mistake is named with its row and its remedy."""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from sonolearn.config import Columns
from sonolearn.console import UserError
from sonolearn.data.scans.find import is_media, natural
from sonolearn.data.store import PARTS

# What a table is after reading. `line` is the row as a spreadsheet counts it (the header is row 1); `frame` is -1 for
# the whole file; empty texts where the table does not say. Patients are raw ids.
READ_COLUMNS = ("line", "path", "name", "plane", "patient", "split", "machine", "scan", "frame")
_SHOWN = 5


def read_labels(path: Path, columns: Columns, patient_pattern: str | None) -> pd.DataFrame:
    """Read a label table or a folder of class folders.

    Returns:
        A table with `READ_COLUMNS`, ordered by name and frame, so that the order of the CSV does not matter.

    Raises:
        UserError: anything is missing, doubled or contradicts itself.
    """
    if path.is_dir():
        table = _from_folders(path)
    elif path.exists():
        table = _from_csv(path, columns, patient_pattern)
    else:
        raise UserError(f"{path}: no such label table or folder; check the spelling and the current folder")
    if patient_pattern is not None:
        table["patient"] = [
            p or patient_in(name, patient_pattern) or ""
            for name, p in zip(table["name"], table["patient"], strict=True)
        ]
    _check_twice(table, path)
    if table["plane"].nunique() < 2:
        raise UserError(
            f"{path}: all images are of one plane ({table['plane'].iloc[0]}); a classifier needs at least two"
        )
    order = sorted(range(len(table)), key=lambda i: (natural(table["name"].iloc[i]), table["frame"].iloc[i]))
    return table.iloc[order].reset_index(drop=True)


def patient_in(name: str, pattern: str) -> str | None:
    """The patient in a file's path: the pattern's first group, else its whole match; None where it does not match."""
    match = re.search(pattern, name)
    if match is None:
        return None
    found = match[1] if match.re.groups and match[1] is not None else match[0]
    return found.strip() or None


def _from_csv(path: Path, columns: Columns, patient_pattern: str | None) -> pd.DataFrame:
    raw = _read_csv(path)
    names = _column_names(path, raw, columns)
    if "patient" not in names and patient_pattern is None:
        raise UserError(
            f"{path}: has no column {columns.patient!r}, and splits need the patient; name the column with "
            "--columns.patient, or give --patient_pattern to find the patient in the image's path"
        )
    table = pd.DataFrame({ours: raw[theirs].str.strip() for ours, theirs in names.items()})
    table["line"] = raw.index + 2
    for column in ("split", "machine", "scan", "patient"):
        if column not in table:
            table[column] = ""
    required = ["image", "plane", *(["patient"] if "patient" in names else [])]
    for column in required:
        _refuse_rows(
            path,
            table[table[column] == ""],
            f"has no value in column {names[column]!r}",
            "fill it in or delete the row",
        )
    table["split"] = table["split"].str.lower()
    _check_split(path, table, names.get("split", "split"))
    table["frame"] = _frames(path, table, names)
    table["name"] = [Path(image).as_posix() for image in table["image"]]
    table["path"] = [path.parent / image for image in table["image"]]
    there = {image: (path.parent / image).is_file() for image in table["image"].unique()}
    missing = [image for image, exists in there.items() if not exists]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise UserError(
            f"{path}: {len(missing)} of {len(there)} images do not exist ({shown}); paths in column "
            f"{names['image']!r} are relative to {path.parent}: correct them, or move the table"
        )
    return table[list(READ_COLUMNS)]


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        raw = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True, sep=_separator(path)
        )
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8; save it as CSV in UTF-8") from error
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: cannot be read as CSV ({str(error).strip()}); save it as CSV in UTF-8") from error
    if raw.empty:
        raise UserError(f"{path}: has no rows; give an image a row")
    raw.columns = [str(c).strip() for c in raw.columns]
    return raw.fillna("")


def _separator(path: Path) -> str:
    """Spreadsheets of many countries write semicolons: what the header holds more of."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return max(",;\t", key=header.count)


def _column_names(path: Path, raw: pd.DataFrame, columns: Columns) -> dict[str, str]:
    """Our name of each column that the table has -> its name there."""
    there = list(raw.columns)
    default = asdict(Columns())
    names = {}
    for ours, theirs in asdict(columns).items():
        if theirs in there:
            names[ours] = theirs
        elif theirs != default[ours] or ours in ("image", "plane"):
            free = [column for column in there if column not in asdict(columns).values()]
            near = difflib.get_close_matches(theirs, free, n=1)
            guess = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, there[:8]))}"
            raise UserError(f"{path}: has no column {theirs!r}; {guess} Name it with --columns.{ours}")
    return names


def _check_split(path: Path, table: pd.DataFrame, column: str) -> None:
    """All rows say train, valid or test, or none says anything."""
    given = table["split"] != ""
    if not given.any():
        return
    _refuse_rows(
        path, table[~given], f"has no value in column {column!r}", "fill it in for all rows, or remove the column"
    )
    wrong = table[~table["split"].isin(PARTS)]
    if len(wrong):
        _refuse_rows(path, wrong, f"says {wrong['split'].iloc[0]!r} in column {column!r}", f"write {', '.join(PARTS)}")


def _frames(path: Path, table: pd.DataFrame, names: dict[str, str]) -> pd.Series[int]:
    """Frame numbers; -1 where there is none."""
    if "frame" not in table:
        return pd.Series(-1, index=table.index)
    wrong = table[~table["frame"].str.fullmatch(r"\d*")]
    _refuse_rows(
        path, wrong, f"has no whole number from 0 in column {names['frame']!r}", "write the number of the frame"
    )
    return table["frame"].replace("", "-1").astype(int)


def _check_twice(table: pd.DataFrame, path: Path) -> None:
    """No image twice: neither alike nor with another plane, patient or part."""
    keys = [(str(p.resolve()), f) for p, f in zip(table["path"], table["frame"], strict=True)]
    for _, group in table.groupby(pd.Series(keys, index=table.index), sort=False):
        if len(group) == 1:
            continue
        rows = rows_named(group)
        for column in ("plane", "patient", "split"):
            if group[column].nunique() > 1:
                what = f"two values for {column} " + (
                    "" if column == "patient" else f"({' and '.join(sorted(group[column].unique())[:2])})"
                )
                raise UserError(f"{path}: {rows} give the same image {what.strip()}; keep the right one")
        raise UserError(f"{path}: {rows} are the same image; delete all but one")


def _from_folders(root: Path) -> pd.DataFrame:
    """A folder a class: the class is the sub-folder's name; files may lie deeper."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    rows = [
        (0, file, file.relative_to(root).as_posix(), folder.name, "", "", "", "", -1)
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if is_media(file)
    ]
    if not rows:
        raise UserError(f"{root}: has no sub-folders with images; make a folder for each plane, or give a CSV")
    return pd.DataFrame(rows, columns=list(READ_COLUMNS))


def _refuse_rows(path: Path, wrong: pd.DataFrame, fault: str, remedy: str) -> None:
    if len(wrong):
        raise UserError(f"{path}: {rows_named(wrong)} {fault}; {remedy}")


def rows_named(table: pd.DataFrame) -> str:
    """The rows as a spreadsheet numbers them, or the files where there is no table."""
    if (table["line"] == 0).all():
        return " and ".join(table["name"].iloc[:2])
    lines = [str(line) for line in sorted(table["line"])]
    return (
        ("row " if len(lines) == 1 else "rows ")
        + ", ".join(lines[:_SHOWN])
        + (f", ... ({len(lines)})" if len(lines) > _SHOWN else "")
    )
