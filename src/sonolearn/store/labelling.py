"""From a label table and the scans of a store to labels.csv: a row a labelled frame, with its part of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonolearn.config import PrepareConfig
from sonolearn.console import UserError, warn
from sonolearn.scans.scan import printable
from sonolearn.store.cleaned_scan import CleanedScan
from sonolearn.store.duplicates import Pair
from sonolearn.store.labels import rows_named
from sonolearn.store.pseudonyms import Pseudonyms
from sonolearn.store.sources import SourceScan
from sonolearn.store.splits import check_disjoint, split_patients
from sonolearn.store.write import LABEL_COLUMNS


def check_patients(path: Path, table: pd.DataFrame, pseudonyms: Pseudonyms) -> None:
    """What can be checked before images are read: the table's patients, where it names them.

    Raises:
        UserError: only one patient, a patient in two parts, or a recording of two patients.
    """
    named = table[table["patient"] != ""]
    if len(named) == len(table) and named["patient"].nunique() < 2:
        raise UserError(
            f"{path}: all images are of one patient; a split by patient needs at least two, three for a test part"
        )
    for patient, group in named.groupby("patient"):
        parts = sorted(set(group["split"]) - {""})
        if len(parts) > 1:
            first = [group[group["split"] == part] for part in parts]
            where = "; ".join(f"{part}: {rows_named(rows)}" for part, rows in zip(parts, first, strict=True))
            raise UserError(
                f"{path}: patient {pseudonyms.patient(str(patient))} is in more than one part of the split ({where}); "
                "put all of a patient's rows into one part"
            )
    for _, group in named.groupby("path"):
        if group["patient"].nunique() > 1:
            raise UserError(f"{path}: {rows_named(group)} give one recording to two patients; keep the right one")


def check_duplicates(path: Path, table: pd.DataFrame, sources: Sequence[SourceScan]) -> None:
    """Images that are alike to the byte, under two names, must agree.

    Raises:
        UserError: they differ in plane, patient, part or frames.
    """
    first: dict[str, SourceScan] = {}
    for source in sources:
        if source.outcome == "rejected":
            continue
        other = first.setdefault(source.scan, source)
        if other is source:
            continue
        rows, others = (table[table["path"] == s.source.paths[0]] for s in (source, other))
        said = [sorted(zip(r["plane"], r["patient"], r["split"], r["frame"], strict=True)) for r in (rows, others)]
        if said[0] != said[1]:
            both = rows_named(pd.concat([others, rows]))
            raise UserError(
                f"{path}: {both} are the same image under two names, but are not labelled alike; keep the right one"
            )


def check_near_duplicates(
    path: Path, pairs: Sequence[Pair], labels: pd.DataFrame, first: Mapping[str, int], sources: Sequence[SourceScan]
) -> None:
    """Stills that are nearly the same picture must be in the same part of the split.

    Args:
        path: the table's file, for messages.
        pairs: stills that are nearly alike.
        labels: as `label_rows` gives it.
        first: name of a scan -> row of its first frame.
        sources: all files.

    Raises:
        UserError: the stills of a pair are in two parts; the first such pair is named.
    """
    part_of = dict(zip(labels["row"], labels["split"], strict=True))
    name_of = {source.name: source.source.name for source in sources if source.outcome == "stored"}
    found = [(pair, [part_of[first[scan.name]] for scan in pair]) for pair in pairs]
    apart = [(pair, parts) for pair, parts in found if parts[0] != parts[1]]
    if apart:
        (pair, parts), more = apart[0], len(apart) - 1
        names = " and ".join(name_of[scan.name] for scan in pair)
        raise UserError(
            f"{path}: {names} are nearly the same picture, but in different parts of the split "
            f"({' and '.join(parts)}); keep one of them, or give both to one patient"
            + (f" ({more} more such pair{'s' if more > 1 else ''})" if more else "")
        )


def label_rows(
    path: Path,
    table: pd.DataFrame,
    scans: Mapping[Path, tuple[int, CleanedScan]],
    config: PrepareConfig,
    pseudonyms: Pseudonyms,
) -> pd.DataFrame:
    """Make labels.csv.

    Args:
        path: the table's file, for messages.
        table: as `read_labels` gives it.
        scans: path of an image -> first row and block of its frames; images that were rejected are missing.
        config: the shares and the seed of the split.
        pseudonyms: for the table's names of recordings.

    Raises:
        UserError: too few patients, or one in two parts.
    """
    found: list[dict[str, Any]] = []
    lost = 0
    for row in table.to_dict("records"):
        if row["path"] not in scans:
            continue
        first, scan = scans[row["path"]]
        recording = scan.row.scan
        if row["scan"]:
            recording = pseudonyms.scan(f"recording {scan.row.patient} {row['scan']}")
        common = {
            "plane": row["plane"], "patient": scan.row.patient, "split": row["split"],
            "machine": printable(row["machine"]) or scan.row.machine, "scan": recording,
        }  # fmt: skip
        wanted = [i for i, number in enumerate(scan.index) if row["frame"] in (-1, number)]
        found += [{"row": first + i, **common} for i in wanted]
        lost += not wanted
    if lost:
        warn(f"{lost} labelled frames were left out; refused_frames in scans.csv says why")
    labels = pd.DataFrame(found, columns=list(LABEL_COLUMNS)).sort_values("row", kind="stable").reset_index(drop=True)
    if labels["patient"].nunique() < 2:
        raise UserError(f"{path}: all readable images are of one patient; a split by patient needs at least two")
    if labels["plane"].nunique() < 2:
        raise UserError(f"{path}: all readable images are of one plane; a classifier needs at least two")
    if (labels["split"] == "").all():
        labels["split"], lacking = split_patients(
            list(labels["patient"]), list(labels["plane"]), config.split, config.split_seed
        )
        for sentence in lacking:
            warn(sentence)
    check_disjoint(list(labels["patient"]), list(labels["split"]))
    labels["row"] = labels["row"].astype(np.int64)
    return labels
