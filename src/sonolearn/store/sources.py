"""Which files become scans of a store, whose they are, and what became of each: stored, rejected or a duplicate.

The linking table (`sources.csv` in the private folder) remembers it, so that unchanged files are not read again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sonolearn.checksums import intact
from sonolearn.console import UserError, say, warn
from sonolearn.scans.find import Source
from sonolearn.scans.scan import printable
from sonolearn.store.audit import PAGE, PICTURES, left_out
from sonolearn.store.cleaned_scan import (
    PARTS_FOLDER,
    REJECTED_COLUMNS,
    CleanedScan,
    RejectedScan,
    Row,
    part_name,
)  # fmt: skip
from sonolearn.store.labels import patient_in
from sonolearn.store.pseudonyms import Pseudonyms, read_sources, update_sources
from sonolearn.store.review import REVIEW
from sonolearn.store.store import REJECTED
from sonolearn.store.write import is_begun

NO_PATIENT = (
    "no_patient",
    "its path does not match --patient_pattern: correct the pattern, or rename or move the file",
)


@dataclass
class SourceScan:
    """One scan before it is read, and what became of it."""

    source: Source
    only: tuple[int, ...] | None = None
    """The frames that a label table asks for; None for every n-th."""
    patient: str = ""
    """Pseudonym by the table or the path; empty: the header decides."""
    machine: str = ""
    """By the table; empty: the header decides."""
    refused: tuple[str, str] | None = None
    """Why it cannot be used, where that is known already."""
    scan: str = ""
    """Pseudonym, once its content is known."""
    outcome: str = ""
    """stored, rejected or duplicate; classified by `predict`."""
    reason: str = ""
    """Of a rejected one."""

    @property
    def name(self) -> str:
        """Names its content and the frames that were asked for, see `CleanedScan.name`."""
        return part_name(self.scan, self.only)

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


def unlabelled_sources(
    found: Sequence[Source], patient_pattern: str | None, pseudonyms: Pseudonyms
) -> list[SourceScan]:
    """A source of each file or sequence; the patient by the path where there is a pattern."""
    return [_with_patient(SourceScan(source), "", patient_pattern, pseudonyms) for source in found]


def labelled_sources(
    table: pd.DataFrame, patient_pattern: str | None, pseudonyms: Pseudonyms, known: Collection[str] = ()
) -> list[SourceScan]:
    """A source of each file of the label table, in the table's order, with the frames that it names.

    A patient whom the table calls by one of the `known` pseudonyms, as a sheet of `suggest` does, keeps it: under
    another one nobody could see that a pre-training has met this patient.
    """
    sources = []
    for _, rows in table.groupby("path", sort=False):
        first = rows.iloc[0]
        only = None if (rows["frame"] < 0).any() else tuple(sorted({int(f) for f in rows["frame"]}))
        source = SourceScan(Source(first["name"], (Path(first["path"]),)), only, machine=printable(first["machine"]))
        if first["patient"] in known:
            source.patient = first["patient"]
        else:
            _with_patient(source, first["patient"], patient_pattern, pseudonyms)
        sources.append(source)
    return sources


def _with_patient(source: SourceScan, raw_id: str, pattern: str | None, pseudonyms: Pseudonyms) -> SourceScan:
    """The patient by the table, else by the path; a path that does not match is refused, not guessed."""
    found = raw_id or (patient_in(source.source.name, pattern) if pattern is not None else "")
    if found is None:
        source.refused = NO_PATIENT
    elif found:
        source.patient = pseudonyms.patient(found)
    return source


def unchanged_scans(sources: Sequence[SourceScan], private: Path, out: Path) -> dict[str, str]:
    """Path -> scan of files that are as they were when they were stored: no need to read them again."""
    table = read_sources(private)
    table = table[(table["store"] == str(out.absolute())) & table["outcome"].isin(["stored", "duplicate"])]
    known = {r["path"]: (r["scan"], (r["bytes"], r["changed"])) for r in table.to_dict("records")}
    return {
        source.path: str(known[source.path][0])
        for source in sources
        if source.refused is None and source.path in known and known[source.path][1] == source.changed()
    }


def remember(sources: Sequence[SourceScan], private: Path, out: Path) -> None:
    """Write the linking table."""
    rows = []
    for source in sources:
        size, changed = source.changed()
        rows.append({
            "store": str(out.absolute()), "scan": source.scan,
            "patient": "" if source.outcome == "rejected" else source.patient,
            "outcome": source.outcome, "reason": source.reason,
            "path": source.path, "bytes": size, "changed": changed,
        })  # fmt: skip
    update_sources(private, rows)


def settle(
    sources: Sequence[SourceScan],
    rows: Sequence[Row],
    held: Mapping[str, CleanedScan],
    pseudonyms: Pseudonyms,
    labels: Path | None,
) -> list[CleanedScan]:
    """Note what became of each source; give the scans to be stored, in the order of the sources.

    Args:
        sources: all of this call.
        rows: what reading each of them gave.
        held: the scans that the store holds already, by name.
        pseudonyms: for patients whom nothing names.
        labels: the label table of a labelled store, for messages.

    Raises:
        UserError: a stored scan would change its patient, or a labelled one has none.
    """
    kept: dict[str, CleanedScan] = {}
    unknown = 0
    for source, row in zip(sources, rows, strict=True):
        if isinstance(row, RejectedScan):
            source.scan, source.outcome, source.reason = row.scan, "rejected", row.reason
            continue
        source.scan = row if isinstance(row, str) else row.row.scan
        if source.name in kept:
            source.outcome, source.patient = "duplicate", kept[source.name].row.patient
            continue
        scan = held[source.name] if isinstance(row, str) else row
        patient = source.patient or scan.row.patient
        if not patient:
            patient, unknown = pseudonyms.unknown_patient(source.scan), unknown + 1
        if isinstance(row, str) and labels is None and patient != scan.row.patient:
            raise UserError(
                f"{source.path}: the store holds it under another patient; "
                "if --patient_pattern was corrected, make the store anew"
            )
        source.outcome, source.patient = "stored", patient
        machine = source.machine or scan.row.machine
        kept[source.name] = replace(scan, row=replace(scan.row, patient=patient, machine=machine))
    _say_unknown(unknown, labels)
    return list(kept.values())


def _say_unknown(count: int, labels: Path | None) -> None:
    """Warn of scans whose patient nothing names; refuse them in a labelled store."""
    if count and labels is not None:
        raise UserError(
            f"{labels}: {count} images do not say whose they are; "
            "give --patient_pattern to find the patient in their paths"
        )
    if count:
        warn(
            f"{count} files do not say whose they are, so each counts as a patient and nobody can see whether patients "
            "overlap; give --patient_pattern if their paths tell"
        )


def rejected_table(out: Path, rows: Iterable[Row], scans: Sequence[CleanedScan], keep: bool) -> pd.DataFrame:
    """rejected.csv: a row a rejected scan.

    Args:
        out: the store.
        rows: what reading gave in this call.
        scans: all that the store will hold.
        keep: those of earlier calls stay, too.
    """
    file = out / REJECTED
    before = pd.read_csv(intact(file), dtype=str, keep_default_na=False) if keep and file.exists() else pd.DataFrame()
    now = pd.DataFrame([row for row in rows if isinstance(row, RejectedScan)])
    table = pd.concat([before, now]).reindex(columns=list(REJECTED_COLUMNS)).drop_duplicates("scan", keep="last")
    table["share"] = pd.to_numeric(table["share"])
    return table[~table["scan"].isin([scan.row.scan for scan in scans])]


def summarise(
    sources: Sequence[SourceScan], scans: Sequence[CleanedScan], out: Path, private: Path, texts: int
) -> None:
    """Say what is stored, what is not and why, and where to look."""
    outcomes = Counter(source.outcome for source in sources)
    reasons = Counter(source.reason for source in sources if source.outcome == "rejected")
    patients = len({scan.row.patient for scan in scans})
    say(
        f"{out}: {len(scans)} scans of {patients} patients; rejected {outcomes['rejected']}{_because(reasons)}, "
        f"duplicates {outcomes['duplicate']}; which file is which: {private / 'sources.csv'}"
    )
    refused: Counter[str] = Counter()
    for scan in scans:
        refused.update(left_out(scan.row.refused_frames))
    say(f"frames kept: {sum(scan.row.frames for scan in scans)}")
    say(f"frames left out: {refused.total()}{_because(refused)}")
    say(f"review before continuing: {out / PAGE}")
    if texts:
        say(f"scans with text on the picture: {texts}; see whether names are among it: {private / REVIEW}")


def none_usable(rows: Sequence[Row], private: Path) -> UserError:
    """The error of a call that has nothing to store."""
    reasons = Counter(row.message for row in rows if isinstance(row, RejectedScan))
    listed = "; ".join(f"{count} x: {message}" for message, count in reasons.most_common(5))
    return UserError(
        f"none of the {len(rows)} files can be used ({listed}); the files are listed in {private / 'sources.csv'}"
    )


def _because(reasons: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""
