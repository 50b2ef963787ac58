"""What became of each file: stored, rejected or a duplicate; and the words in which a person is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sonolearn.checksums import intact
from sonolearn.console import UserError, say, warn
from sonolearn.data.doubts import left_out
from sonolearn.data.items import Item
from sonolearn.data.parts import parts_folder
from sonolearn.data.pseudonyms import Pseudonyms
from sonolearn.data.report import PAGE
from sonolearn.data.store import REJECTED
from sonolearn.data.storing import REJECTED_COLUMNS, Block
from sonolearn.data.texts import REVIEW


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
