"""Label tables: a CSV with a row an image, or a folder a class; every mistake is named with its row and its remedy."""

from __future__ import annotations

import csv
import difflib
import glob
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from sonolearn.config import Columns
from sonolearn.console import UserError, no_formula, one_line, warn
from sonolearn.scans.find import may_be_file, media_below, natural
from sonolearn.store.store import PARTS

# What a table is after reading. `line` is the row as a spreadsheet counts it (the header is row 1); `frame` is -1 for
# the whole file; empty texts where the table does not say. Patients are raw ids.
READ_COLUMNS = ("line", "path", "name", "plane", "patient", "split", "machine", "scan", "frame")
_SHOWN = 5
_NO_VALUES = frozenset(("nan", "none", "null", "<na>", "#n/a"))


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
    table["plane"] = _harmless_planes(path, table["plane"])
    for one, other in spelt_alike(table["plane"]):
        warn(
            f"{path}: the planes {one!r} and {other!r} are spelt nearly alike but count as two; "
            "if they are one, write them alike"
        )
    for plane in sorted(set(table["plane"])):
        if plane.lower() in _NO_VALUES:
            warn(
                f"{path}: {plane!r} counts as a plane like any other; delete its rows if it stands for a missing value"
            )
    if spelt_alike(table["patient"]):
        warn(
            f"{path}: some patients' ids differ only in case, spaces or hyphens, but count as different patients; "
            "if they are not, a patient may be in two parts of the split"
        )
    if table["plane"].nunique() < 2:
        raise UserError(
            f"{path}: all images are of one plane ({table['plane'].iloc[0]}); a classifier needs at least two"
        )
    order = sorted(range(len(table)), key=lambda i: (natural(table["name"].iloc[i]), table["frame"].iloc[i]))
    return table.iloc[order].reset_index(drop=True)


def _harmless_planes(path: Path, planes: pd.Series[str]) -> list[str]:
    """The planes as they are stored, shown and written into tables: one line, no formula; says where they change."""
    stored = {plane: no_formula(one_line(plane)) for plane in sorted(set(planes))}
    for plane, harmless in stored.items():
        if harmless != plane:
            warn(f"{path}: the plane {plane!r} could be taken for more than text; it is stored as {harmless!r}")
    if "" in stored.values():
        raise UserError(f"{path}: a plane has no letter that can be printed; give it a name")
    return [stored[plane] for plane in planes]


def spelt_alike(values: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different values that are equal but for case, spaces, hyphens and underscores.

    >>> spelt_alike(["4CH", "lvot", "LVOT", "4-ch"])
    [('4-ch', '4CH'), ('LVOT', 'lvot')]
    """
    alike = defaultdict(list)
    for value in sorted(set(values)):
        alike[re.sub(r"[\s_-]", "", value.casefold())].append(value)
    return sorted((same[0], other) for same in alike.values() for other in same[1:])


def patient_in(name: str, pattern: str) -> str | None:
    """The patient in a file's path: the pattern's first group, else its whole match; None where it does not match."""
    match = re.search(pattern, name)
    if match is None:
        return None
    found = match[1] if match.re.groups and match[1] is not None else match[0]
    return found.strip() or None


def _from_csv(path: Path, columns: Columns, patient_pattern: str | None) -> pd.DataFrame:
    header, rows = _read_csv(path)
    names = _column_names(path, header, columns)
    if "patient" not in names and patient_pattern is None:
        raise UserError(
            f"{path}: has no column {columns.patient!r}, and splits need the patient; name the column with "
            "--columns.patient, or give --patient_pattern to find the patient in the image's path"
        )
    places = {ours: header.index(theirs) for ours, theirs in names.items()}
    table = pd.DataFrame({ours: [cells[i] for _, cells in rows] for ours, i in places.items()}, dtype=object)
    for column in set(places) - {"image"}:
        # A letter composed and decomposed (macOS) looks the same, so it is the same.
        table[column] = table[column].map(lambda text: unicodedata.normalize("NFC", text))
    table["line"] = [line for line, _ in rows]
    for column in ("split", "machine", "scan", "patient"):
        if column not in table:
            table[column] = ""
    # What pandas writes for a missing value is an id of nobody; classes may be called so.
    table["patient"] = table["patient"].where(~table["patient"].str.lower().isin(_NO_VALUES), "")
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
    files = {image: file_named(path.parent, image) for image in table["image"].unique()}
    missing = [image for image, file in files.items() if not may_be_file(file)]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(files)} {_where_missing(missing, path.parent, names['image'])}"
        )
    table["path"] = table["image"].map(files)
    return table[list(READ_COLUMNS)]


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and every row that is not empty with its number in a spreadsheet; all as long as the header."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Spreadsheets of many countries write semicolons: what the header holds more of.
        separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
        cells = [[cell.strip() for cell in row] for row in reader]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8; save it as CSV in UTF-8") from error
    except (csv.Error, OSError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); save it as CSV in UTF-8") from error
    rows = [(line, row) for line, row in enumerate(cells, 1) if any(row)]
    if len(rows) < 2:
        raise UserError(f"{path}: has no rows; give an image a row")
    (_, header), rows = rows[0], rows[1:]
    if header[0].lower().startswith("sep="):
        raise UserError(f"{path}: its first line, {header[0]}{separator}, is not the header; delete that line")
    for line, row in rows:
        if any(row[len(header) :]):
            quoting = f"put values that contain {separator!r} into quotes"
            raise UserError(f"{path}: row {line} has more values than the header has columns; {quoting}")
    return header, [(line, [*row, *[""] * len(header)][: len(header)]) for line, row in rows]


def file_named(folder: Path, image: str) -> Path:
    """The file that a table means, though its name may be composed in another way than in the table."""
    names = (image, unicodedata.normalize("NFC", image), unicodedata.normalize("NFD", image))
    return next((folder / name for name in names if may_be_file(folder / name)), folder / image)


def _where_missing(images: list[str], folder: Path, column: str) -> str:
    """What to say of images that do not exist."""
    shown = ", ".join(map(one_line, images[:_SHOWN])) + (", ..." if len(images) > _SHOWN else "")
    found = [
        next((folder / image).parent.glob(f"{glob.escape(Path(image).name)}.*"), None) for image in images[:_SHOWN]
    ]
    endings = sorted({file.suffix for file in found if file})
    if len(endings) == 1 and None not in found:
        return f"images do not exist ({shown}), but they do with the ending {endings[0]}; add it in column {column!r}"
    relative = f"paths in column {column!r} are relative to {folder}: correct them, or move the table"
    return f"images do not exist ({shown}); {relative}"


def _column_names(path: Path, header: list[str], columns: Columns) -> dict[str, str]:
    """Our name of each column that the table has -> its name there."""
    default = asdict(Columns())
    names = {}
    for ours, theirs in asdict(columns).items():
        if header.count(theirs) > 1:
            raise UserError(f"{path}: has {header.count(theirs)} columns {theirs!r}; rename or delete all but one")
        if theirs in header:
            names[ours] = theirs
        elif theirs != default[ours] or ours in ("image", "plane"):
            free = [column for column in header if column and column not in asdict(columns).values()]
            near = difflib.get_close_matches(theirs, free, n=1)
            guess = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, header[:8]))}."
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
    # pandas writes whole numbers beside missing ones as 3.0.
    number = table["frame"].str.replace(r"\.0+$", "", regex=True)
    number = number.where(~number.str.lower().isin(_NO_VALUES), "")
    wrong = table[~number.str.fullmatch(r"[0-9]{0,9}")]
    _refuse_rows(
        path, wrong, f"has no whole number from 0 in column {names['frame']!r}", "write the number of the frame"
    )
    return number.replace("", "-1").astype(int)


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
        for _, files in media_below(folder)
        for file in files
    ]
    if not rows:
        raise UserError(f"{root}: has no sub-folders with images; make a folder for each plane, or give a CSV")
    return pd.DataFrame(rows, columns=list(READ_COLUMNS), dtype=object)  # text that is not UTF-8 is no pandas text


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
