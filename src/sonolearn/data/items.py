"""What is known of each scan: its files, which of its frames and whose it is; and, once it was read, its outcome."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sonolearn.data.labels import patient_in
from sonolearn.data.parts import PARTS_FOLDER, Row, part_name
from sonolearn.data.pseudonyms import Pseudonyms, read_sources, update_sources
from sonolearn.data.report import PICTURES
from sonolearn.data.scans.find import Source
from sonolearn.data.scans.scan import printable
from sonolearn.data.storing import is_begun

NO_PATIENT = ("no_patient", "its path does not match --patient_pattern: mend the pattern, or rename or move the file")


@dataclass
class Item:
    """One scan: what is known before it is read, and what became of it."""

    source: Source
    only: tuple[int, ...] | None = None
    patient: str = ""
    """Pseudonym by the table or the path; empty: the header decides."""
    machine: str = ""
    """By the table; empty: the header decides."""
    refused: tuple[str, str] | None = None
    """Why it cannot be used, where that is known already."""
    row: Row = field(default_factory=dict)
    """What reading it gave."""
    outcome: str = ""
    """stored, rejected or duplicate."""

    @property
    def name(self) -> str:
        """Name of its part, once it was read."""
        return part_name(self.row["scan"], self.only)

    @property
    def path(self) -> str:
        """Its file, or the folder of its stills, for the linking table; names that are not UTF-8 with escapes."""
        return os.fsencode(self.source.folder_or_file.absolute()).decode(errors="backslashreplace")

    def changed(self) -> tuple[str, str]:
        """Bytes and time of the last change: if both are as before, so is the content."""
        try:
            stats = [path.stat() for path in self.source.paths]
        except OSError:
            return "", ""
        return str(sum(s.st_size for s in stats)), str(max(s.st_mtime_ns for s in stats))


def outside_stores(sources: Sequence[Source]) -> list[Source]:
    """Without the pictures of reports, where a store lies in a folder that is read."""

    def is_ours(path: Path) -> bool:
        inside = ((folder.parent, folder.name) for folder in path.parents)
        return any(name in (PICTURES, PARTS_FOLDER) and is_begun(store) for store, name in inside)

    return [source for source in sources if not is_ours(source.paths[0])]


def unlabelled_items(sources: Sequence[Source], patient_pattern: str | None, pseudonyms: Pseudonyms) -> list[Item]:
    """An item a scan; the patient by the path where there is a pattern."""
    return [_with_patient(Item(source), "", patient_pattern, pseudonyms) for source in sources]


def labelled_items(
    table: pd.DataFrame, patient_pattern: str | None, pseudonyms: Pseudonyms, known: Collection[str] = ()
) -> list[Item]:
    """An item a file of the label table, in the table's order, with the frames that it names.

    A patient whom the table calls by one of the `known` pseudonyms, as a sheet of `suggest` does, keeps it: under
    another one nobody could see that a pre-training has met him.
    """
    items = []
    for _, rows in table.groupby("path", sort=False):
        first = rows.iloc[0]
        only = None if (rows["frame"] < 0).any() else tuple(sorted({int(f) for f in rows["frame"]}))
        item = Item(Source(first["name"], (Path(first["path"]),)), only, machine=printable(first["machine"]))
        if first["patient"] in known:
            item.patient = first["patient"]
            items.append(item)
        else:
            items.append(_with_patient(item, first["patient"], patient_pattern, pseudonyms))
    return items


def _with_patient(item: Item, raw_id: str, pattern: str | None, pseudonyms: Pseudonyms) -> Item:
    """The patient by the table, else by the path; a path that does not match is refused, not guessed."""
    found = raw_id or (patient_in(item.source.name, pattern) if pattern is not None else "")
    if found is None:
        item.refused = NO_PATIENT
    elif found:
        item.patient = pseudonyms.patient(found)
    return item


def unchanged_scans(items: Sequence[Item], private: Path, out: Path) -> dict[str, str]:
    """Path -> scan of files that are as they were when they were stored: no need to read them again."""
    table = read_sources(private)
    table = table[(table["store"] == str(out.absolute())) & table["outcome"].isin(["stored", "duplicate"])]
    known = {r["path"]: (r["scan"], (r["bytes"], r["changed"])) for r in table.to_dict("records")}
    return {
        item.path: str(known[item.path][0])
        for item in items
        if item.refused is None and item.path in known and known[item.path][1] == item.changed()
    }


def remember(items: Sequence[Item], private: Path, out: Path) -> None:
    """Write the linking table."""
    rows = []
    for item in items:
        size, changed = item.changed()
        rows.append({
            "store": str(out.absolute()), "scan": item.row["scan"],
            "patient": "" if item.outcome == "rejected" else item.patient,
            "outcome": item.outcome, "reason": item.row.get("reason", ""),
            "path": item.path, "bytes": size, "changed": changed,
        })  # fmt: skip
    update_sources(private, rows)
