"""What a folder holds, without times: equal if and only if two runs gave the same."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

TIMES = frozenset(("seconds", "data_seconds", "compute_seconds", "wall_seconds", "start", "changed"))
"""Keys and columns that hold a time."""
IGNORED = ("logs/*", "tensorboard/*", "timings.csv", ".checksums", ".lock")
"""Files that hold nothing but times, or checksums of files that do."""
_PAGE_TIMES = re.compile(r"\d[\d.,  ]*(?: |\s)?(?:s|min|h|seconds|minutes|hours)\b")


def contents(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """A digest of every file below these names, by its path."""
    files = [path for name in names for path in _files(folder / name)]
    wanted = [path for path in files if not any(path.match(pattern) for pattern in IGNORED)]
    return {path.relative_to(folder).as_posix(): _digest(path) for path in wanted}


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Files that are missing, too many or different."""
    missing = [f"{name} is missing" for name in expected if name not in found]
    more = [f"{name} is too many" for name in found if name not in expected]
    return sorted([*missing, *more, *(f"{n} differs" for n in expected if found.get(n, expected[n]) != expected[n])])


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha256(_without_times(path)).hexdigest()


def _without_times(path: Path) -> bytes:
    if path.suffix == ".json":
        return json.dumps(_timeless(json.loads(path.read_bytes())), sort_keys=True).encode()
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        return json.dumps([_timeless(row) for row in rows]).encode()
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return table.drop(columns=[name for name in table if name in TIMES]).to_csv().encode()
    if path.suffix == ".html":
        return _PAGE_TIMES.sub("TIME", path.read_text(encoding="utf-8")).encode()
    return path.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if name not in TIMES}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value
