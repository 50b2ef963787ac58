"""Damage to files, drawn from a generator: of bytes, and of values in tables, JSON and YAML that stay well-formed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

VALUES: tuple[Any, ...] = (
    "", " ", "nan", "inf", "-inf", "-1", "0", "1e999", "1e-999", "99999999999999999999", "-0.0", "true", "null", "[]",
    "{}", "=1+1", "../../x", "/", "\0", "\ud7ff", "é" * 300, "x" * 10_000, "'", '"', "<b>", "%s", "1,5", "0x10",
    "1_000", "２", "2024-01-01", "\t", "a\nb", "-", ".", "~", "*", "&a", "!!python/object:os.system", "yes", "0o7",
    "1:2:3",
)  # fmt: skip
"""Texts at which something might stumble."""
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 1e308, -1e308, float("nan"), float("inf"), 0.5, [], {}, [[]],
    [None], {"a": 1}, [1, "a"], "",
)  # fmt: skip
"""Values of other types than were written."""
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)
Rng = np.random.Generator


def pick(rng: Rng, choices: Sequence[Any]) -> Any:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


def damaged_bytes(data: bytes, rng: Rng, head: int = 2048) -> bytes:
    """The bytes with one to three kinds of damage; half of it in the first `head` bytes, where headers are."""
    for _ in range(int(rng.integers(1, 4))):
        kind = pick(rng, _BYTES)
        end = min(len(data), head) if rng.random() < 0.5 else len(data)
        data = kind(data, int(rng.integers(end + 1)), rng)
    return data


def _flip(data: bytes, place: int, rng: Rng) -> bytes:
    changed = bytearray(data)
    for offset in range(int(rng.integers(1, 4))):
        if place + offset < len(changed):
            changed[place + offset] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _number(data: bytes, place: int, rng: Rng) -> bytes:
    size = pick(rng, (1, 2, 4, 8))
    value = (int(pick(rng, INTERESTING)) & ((1 << 8 * size) - 1)).to_bytes(size, pick(rng, ("little", "big")))
    return data[:place] + value + data[place + size :]


def _cut(data: bytes, place: int, rng: Rng) -> bytes:
    return data[:place]


def _leave_out(data: bytes, place: int, rng: Rng) -> bytes:
    return data[:place] + data[place + int(rng.integers(1, 65)) :]


def _insert(data: bytes, place: int, rng: Rng) -> bytes:
    return data[:place] + rng.bytes(int(rng.integers(1, 33))) + data[place:]


def _zeros(data: bytes, place: int, rng: Rng) -> bytes:
    count = min(len(data) - place, int(rng.integers(1, 513)))
    return data[:place] + bytes(count) + data[place + count :]


def _noise(data: bytes, place: int, rng: Rng) -> bytes:
    count = min(len(data) - place, int(rng.integers(1, 129)))
    return data[:place] + rng.bytes(count) + data[place + count :]


def _repeat(data: bytes, place: int, rng: Rng) -> bytes:
    count = int(rng.integers(1, 257))
    return data[: place + count] + data[place : place + count] + data[place + count :]


_BYTES: tuple[Callable[[bytes, int, Rng], bytes], ...] = (
    _flip, _flip, _flip, _number, _number, _number, _cut, _leave_out, _insert, _zeros, _noise, _repeat,
)  # fmt: skip


def damaged_file(path: Path, rng: Rng) -> None:
    """Damage a file by its kind: values where it is a text that has them, bytes otherwise; now and then it is gone."""
    if rng.random() < 0.04:
        path.unlink()
        if rng.random() < 0.3:
            path.mkdir()
        return
    data = path.read_bytes()
    if rng.random() < 0.06:
        path.write_bytes(pick(rng, (b"", b"\0" * 100, b"{}", b"[]", b"null", b"a,b\n1,2\n", b"\xff\xfe\0", b"\n\n")))
    elif path.suffix == ".json" and rng.random() < 0.7:
        path.write_text(json.dumps(damaged_json(json.loads(data), rng)), encoding="utf-8")
    elif path.suffix == ".csv" and rng.random() < 0.7:
        path.write_text(damaged_table(data.decode(), rng), encoding="utf-8", errors="replace")
    else:
        path.write_bytes(damaged_bytes(data, rng))


def damaged_json(value: Any, rng: Rng) -> Any:
    """A value of JSON with one or two of its parts changed, left out or of another type."""
    for _ in range(int(rng.integers(1, 3))):
        places = [place for place in _places(value) if place]
        if not places or rng.random() < 0.03:
            return pick(rng, JSON_VALUES)
        value = _replaced(value, pick(rng, places), rng)
    return value


def _places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [before]
    inner = value.items() if isinstance(value, dict) else enumerate(value[:50]) if isinstance(value, list) else ()
    for key, part in inner:
        found += _places(part, (*before, key))
    return found


def _replaced(value: Any, place: tuple[Any, ...], rng: Rng) -> Any:
    first, *rest = place
    copied = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copied[first] = _replaced(copied[first], tuple(rest), rng)
    elif rng.random() < 0.3:
        del copied[first]
    else:
        copied[first] = pick(rng, JSON_VALUES if rng.random() < 0.6 else VALUES)
    return copied


def damaged_table(text: str, rng: Rng) -> str:
    """A table of comma-separated values with cells, rows or columns changed, left out, doubled or exchanged."""
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(int(rng.integers(1, 4))):
        if not rows:
            break
        rows = pick(rng, _TABLES)(rows, rng)
    target = io.StringIO()
    csv.writer(target, delimiter=pick(rng, (",", ",", ",", ",", ";", "\t")), lineterminator="\n").writerows(rows)
    return target.getvalue()


Rows = list[list[str]]


def _cell(rows: Rows, rng: Rng) -> Rows:
    row = rows[int(rng.integers(len(rows)))]
    if row:
        row[int(rng.integers(len(row)))] = str(pick(rng, VALUES))
    return rows


def _column(rows: Rows, rng: Rng) -> Rows:
    column, value = int(rng.integers(max(1, len(rows[0])))), str(pick(rng, VALUES))
    return [rows[0], *([*row[:column], value, *row[column + 1 :]] for row in rows[1:])]


def _no_column(rows: Rows, rng: Rng) -> Rows:
    column = int(rng.integers(max(1, len(rows[0]))))
    return [[*row[:column], *row[column + 1 :]] for row in rows]


def _no_row(rows: Rows, rng: Rng) -> Rows:
    row = int(rng.integers(len(rows)))
    return [*rows[:row], *rows[row + 1 :]]


def _row_twice(rows: Rows, rng: Rng) -> Rows:
    return [*rows, list(rows[int(rng.integers(len(rows)))])]


def _longer(rows: Rows, rng: Rng) -> Rows:
    rows[int(rng.integers(len(rows)))].append(str(pick(rng, VALUES)))
    return rows


def _columns_swapped(rows: Rows, rng: Rng) -> Rows:
    one, other = (int(rng.integers(max(1, len(rows[0])))) for _ in range(2))
    for row in rows[1:]:
        if max(one, other) < len(row):
            row[one], row[other] = row[other], row[one]
    return rows


_TABLES: tuple[Callable[[Rows, Rng], Rows], ...] = (
    _cell, _cell, _cell, _cell, _column, _no_column, _no_row, _row_twice, _longer, _columns_swapped,
)  # fmt: skip
