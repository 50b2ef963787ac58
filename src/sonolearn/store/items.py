"""What is known of each scan: its files, which of its frames and whose it is; and, once it was read, its outcome."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from sonolearn.checksums import intact
from sonolearn.console import UserError, say, warn
from sonolearn.scans.find import Source
from sonolearn.scans.scan import printable
from sonolearn.store.audit import PAGE, PICTURES, left_out
from sonolearn.store.labels import patient_in
from sonolearn.store.parts import PARTS_FOLDER, Row, part_name, parts_folder
from sonolearn.store.pseudonyms import Pseudonyms, read_sources, update_sources
from sonolearn.store.review import REVIEW
from sonolearn.store.store import REJECTED
from sonolearn.store.write import REJECTED_COLUMNS, Block, is_begun

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


def choose(
    items: Sequence[Item], out: Path, old: Mapping[str, Block], pseudonyms: Pseudonyms, labels: Path | None
) -> list[Block]:
    """Settle each item's outcome; give the blocks of those to be stored, in the items' order.

    Args:
        items: with what reading them gave.
        out: the store.
        old: the blocks that it holds already, by name.
        pseudonyms: for patients whom nothing names.
        labels: the label table of a labelled store, for messages.

    Raises:
        UserError: a stored scan would change its patient, or a labelled one has none.
    """
    chosen: dict[str, Block] = {}
    alone = 0
    for item in items:
        if "reason" in item.row:
            item.outcome = "rejected"
        elif item.name in chosen:
            item.outcome = "duplicate"
            item.patient = chosen[item.name].row["patient"]
        else:
            item.outcome = "stored"
            known = old.get(item.name)
            patient = item.patient or item.row.get("patient") or (known.row["patient"] if known else "")
            if not patient:
                patient, alone = pseudonyms.unknown_patient(item.row["scan"]), alone + 1
            if known is not None and labels is None and patient != known.row["patient"]:
                raise UserError(
                    f"{item.path}: the store holds it under another patient; "
                    "if --patient_pattern was mended, make the store anew"
                )
            item.patient = patient
            block = known or Block(item.row, parts_folder(out) / f"{item.name}.frames")
            chosen[item.name] = replace(
                block, row={**block.row, "patient": patient, "machine": item.machine or block.row["machine"]}
            )
    if alone and labels is not None:
        raise UserError(
            f"{labels}: {alone} images do not say whose they are; "
            "give --patient_pattern to find the patient in their paths"
        )
    if alone:
        warn(
            f"{alone} files do not say whose they are, so each counts as a patient and nobody can see whether patients "
            "overlap; give --patient_pattern if their paths tell"
        )
    return list(chosen.values())


def rejected_table(out: Path, items: Sequence[Item], blocks: Sequence[Block], keep: bool) -> pd.DataFrame:
    """rejected.csv: a row a rejected scan.

    Args:
        out: the store.
        items: of this call.
        blocks: of the whole store.
        keep: those of earlier calls stay, too.
    """
    file = out / REJECTED
    before = pd.read_csv(intact(file), dtype=str, keep_default_na=False) if keep and file.exists() else pd.DataFrame()
    now = pd.DataFrame([item.row for item in items if item.outcome == "rejected"])
    table = pd.concat([before, now]).reindex(columns=list(REJECTED_COLUMNS)).drop_duplicates("scan", keep="last")
    table["share"] = pd.to_numeric(table["share"])
    return table[~table["scan"].isin([block.row["scan"] for block in blocks])]


def summarise(items: Sequence[Item], blocks: Sequence[Block], out: Path, private: Path, texts: int) -> None:
    """Say what is stored, what is not and why, and where to look."""
    outcomes = Counter(item.outcome for item in items)
    reasons = Counter(item.row["reason"] for item in items if item.outcome == "rejected")
    patients = len({block.row["patient"] for block in blocks})
    say(
        f"{out}: {len(blocks)} scans of {patients} patients; rejected {outcomes['rejected']}{_because(reasons)}, "
        f"duplicates {outcomes['duplicate']}; which file is which: {private / 'sources.csv'}"
    )
    refused: Counter[str] = Counter()
    for block in blocks:
        refused.update(left_out(block.row))
    say(f"frames kept: {sum(block.count for block in blocks)}")
    say(f"frames left out: {refused.total()}{_because(refused)}")
    say(f"look at them before you go on: {out / PAGE}")
    if texts:
        say(f"scans with text on the picture: {texts}; see whether names are among it: {private / REVIEW}")


def none_usable(items: Sequence[Item], private: Path) -> UserError:
    """The error of a call that has nothing to store."""
    reasons = Counter(item.row["message"] for item in items)
    listed = "; ".join(f"{count} x: {message}" for message, count in reasons.most_common(5))
    return UserError(
        f"none of the {len(items)} files can be used ({listed}); the files are listed in {private / 'sources.csv'}"
    )


def _because(reasons: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""
