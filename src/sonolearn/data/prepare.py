"""`sonolearn prepare`: from files to a store. Scans are read by processes into parts, then assembled in a fixed order.

What is stored depends on the files, the options and the key alone, not on the number of processes or on interruptions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from sonolearn.config import PrepareConfig
from sonolearn.console import Interrupted, UserError, say, warn
from sonolearn.data.items import Item, labelled_items, remember, unchanged_scans, unlabelled_items
from sonolearn.data.labelling import check_duplicates, check_patients, label_rows
from sonolearn.data.labels import read_labels
from sonolearn.data.parts import Options, Task, drop_parts, parts_folder
from sonolearn.data.pseudonyms import Pseudonyms, open_private, private_folder
from sonolearn.data.scans.find import find_sources
from sonolearn.data.store import REJECTED, Store
from sonolearn.data.storing import REJECTED_COLUMNS, Block, claim_store, write_store
from sonolearn.data.work import run_tasks
from sonolearn.runs import naming_disk_errors


def prepare(paths: Sequence[Path], out: Path, labels: Path | None, config: PrepareConfig) -> Store:
    """Read scans and stills, clean them, and write or extend a store of grey frames.

    Args:
        paths: files and folders of unlabelled scans; none where `labels` is given.
        out: the store's folder. Started again it continues; with more paths it grows. A labelled store becomes what
            its table says.
        labels: a label table (CSV), or a folder with a sub-folder for each plane.
        config: size, frame skip, patients, split, ...

    Raises:
        UserError: nothing readable, a mistake in the label table, another store in `out`, a full disk.
        Interrupted: Ctrl-C; what was read is kept.
    """
    if bool(paths) == (labels is not None):
        raise UserError("give either files and folders to read, or --labels with a table or a folder, not both")
    out, private = Path(out), private_folder(Path(out), config.key)
    table, sources = None, []
    if labels is not None:
        table = read_labels(labels, config.columns, config.patient_pattern)
    else:
        sources = find_sources([Path(p) for p in paths])
        if not sources:
            raise UserError(f"{', '.join(map(str, paths))}: no DICOM file, video or image there")
    pseudonyms = open_private(private)
    if labels is not None and table is not None:
        check_patients(labels, table, pseudonyms)
        items = labelled_items(table, config.patient_pattern, pseudonyms)
    else:
        items = unlabelled_items(sources, config.patient_pattern, pseudonyms)
    try:
        with naming_disk_errors(out):
            blocks = _store(items, out, private, pseudonyms, config, labels, table)
    except KeyboardInterrupt as error:
        raise Interrupted(f"{out}: interrupted; run the same command again to continue") from error
    _summarise(items, blocks, out, private)
    return Store(out)


def _store(
    items: list[Item],
    out: Path,
    private: Path,
    pseudonyms: Pseudonyms,
    config: PrepareConfig,
    labels: Path | None,
    table: pd.DataFrame | None,
) -> list[Block]:
    """Read what is missing, write the store and the linking table, then delete the parts."""
    blocks = _read(items, out, private, pseudonyms, config, labels)
    label_table = None
    if labels is not None and table is not None:
        label_table = _label_table(labels, table, items, blocks, config, pseudonyms)
    options = asdict(_options(config, labels))
    write_store(out, blocks, options, pseudonyms.key_id, _rejected(out, items, blocks, labels), label_table)
    remember(items, private, out)
    drop_parts(out)
    return blocks


def _options(config: PrepareConfig, labels: Path | None) -> Options:
    return Options(config.size, config.frame_skip, config.crop, labels is not None)


def _read(
    items: list[Item], out: Path, private: Path, pseudonyms: Pseudonyms, config: PrepareConfig, labels: Path | None
) -> list[Block]:
    """Read what the store does not hold yet; give the blocks of the whole store in order.

    Raises:
        UserError: another store is in `out`, nothing can be read, or a stored scan would change its patient.
    """
    options = _options(config, labels)
    before = claim_store(out, options, pseudonyms.key_id)
    old = {block.name: block for block in before}
    unchanged = unchanged_scans(items, private, out)
    tasks = []
    for item in items:
        scan = unchanged.get(item.path)
        if scan is not None:
            item.row = {"scan": scan}
        if scan is None or item.name not in old:
            tasks.append(
                (
                    item,
                    Task(
                        item.source.paths,
                        parts_folder(out),
                        options,
                        pseudonyms,
                        item.only,
                        item.refused,
                        frozenset(old),
                    ),
                )
            )
    for (item, _), row in zip(tasks, run_tasks([task for _, task in tasks], config.workers), strict=True):
        item.row = row
    chosen = _choose(items, out, old, pseudonyms, labels)
    blocks = chosen if labels is not None else [*before, *(b for b in chosen if b.name not in old)]
    if not blocks:
        remember(items, private, out)
        reasons = Counter(item.row["message"] for item in items)
        listed = "; ".join(f"{count} x: {message}" for message, count in reasons.most_common(5))
        raise UserError(
            f"none of the {len(items)} files can be used ({listed}); the files are listed in {private / 'sources.csv'}"
        )
    return blocks


def _choose(
    items: Sequence[Item], out: Path, old: Mapping[str, Block], pseudonyms: Pseudonyms, labels: Path | None
) -> list[Block]:
    """Settle each item's outcome; give the blocks of those to be stored, in the items' order."""
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


def _label_table(
    labels: Path,
    table: pd.DataFrame,
    items: Sequence[Item],
    blocks: Sequence[Block],
    config: PrepareConfig,
    pseudonyms: Pseudonyms,
) -> pd.DataFrame:
    """labels.csv for the images that could be read."""
    first, row = {}, 0
    for block in blocks:
        first[block.name] = (row, block)
        row += block.count
    check_duplicates(labels, table, items)
    read = {str(item.source.paths[0]): first[item.name] for item in items if item.outcome == "stored"}
    rejected = sum(item.outcome == "rejected" for item in items)
    if rejected:
        warn(f"{rejected} of {len(items)} labelled files cannot be used; the others go on")
    return label_rows(labels, table, read, config, pseudonyms)


def _rejected(out: Path, items: Sequence[Item], blocks: Sequence[Block], labels: Path | None) -> pd.DataFrame:
    """rejected.csv: a row a rejected scan, those of earlier calls included."""
    file = out / REJECTED
    before = pd.read_csv(file, dtype=str, keep_default_na=False) if labels is None and file.exists() else pd.DataFrame()
    now = pd.DataFrame([item.row for item in items if item.outcome == "rejected"])
    table = pd.concat([before, now]).reindex(columns=list(REJECTED_COLUMNS)).drop_duplicates("scan", keep="last")
    return table[~table["scan"].isin([block.row["scan"] for block in blocks])]


def _summarise(items: Sequence[Item], blocks: Sequence[Block], out: Path, private: Path) -> None:
    """One line: what is stored, what is not and why."""
    outcomes = Counter(item.outcome for item in items)
    reasons = Counter(item.row["reason"] for item in items if item.outcome == "rejected")
    because = f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""
    patients = len({block.row["patient"] for block in blocks})
    say(
        f"{out}: {len(blocks)} scans, {sum(block.count for block in blocks)} frames of {patients} patients; "
        f"rejected {outcomes['rejected']}{because}, duplicates {outcomes['duplicate']}; "
        f"which file is which: {private / 'sources.csv'}"
    )
