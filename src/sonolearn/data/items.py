"""What is known of each scan before it is read: its files, which of its frames, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sonolearn.data.labels import patient_in
from sonolearn.data.parts import Row, part_name
from sonolearn.data.pseudonyms import Pseudonyms
from sonolearn.data.scans.find import Source
from sonolearn.data.scans.scan import printable

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
        """Its file, or the folder of its stills, for the linking table."""
        return str(self.source.folder_or_file.absolute())

    def changed(self) -> tuple[str, str]:
        """Bytes and time of the last change: if both are as before, so is the content."""
        try:
            stats = [path.stat() for path in self.source.paths]
        except OSError:
            return "", ""
        return str(sum(s.st_size for s in stats)), str(max(s.st_mtime_ns for s in stats))


def unlabelled_items(sources: Sequence[Source], patient_pattern: str | None, pseudonyms: Pseudonyms) -> list[Item]:
    """An item a scan; the patient by the path where there is a pattern."""
    return [_with_patient(Item(source), "", patient_pattern, pseudonyms) for source in sources]


def labelled_items(table: pd.DataFrame, patient_pattern: str | None, pseudonyms: Pseudonyms) -> list[Item]:
    """An item a file of the label table, in the table's order, with the frames that it names."""
    items = []
    for _, rows in table.groupby(table["path"].map(str), sort=False):
        first = rows.iloc[0]
        only = None if (rows["frame"] < 0).any() else tuple(sorted({int(f) for f in rows["frame"]}))
        item = Item(Source(first["name"], (Path(first["path"]),)), only, machine=printable(first["machine"]))
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
