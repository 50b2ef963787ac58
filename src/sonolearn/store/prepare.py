"""`sonolearn prepare`: from files to a store. Scans are read by processes into parts, then assembled in a fixed order.

What is stored depends on the files, the options and the key alone, not on the number of processes or on interruptions.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sonolearn.cleaning.similar import near_pairs, same_picture
from sonolearn.config import PrepareConfig
from sonolearn.console import Interrupted, UserError, progress, warn
from sonolearn.runs import AnyPath, naming_disk_errors, paths_of
from sonolearn.scans.find import find_sources
from sonolearn.scans.scan import Pixels, Rejected
from sonolearn.store.items import (
    Item,
    choose,
    labelled_items,
    none_usable,
    outside_stores,
    rejected_table,
    remember,
    summarise,
    unchanged_scans,
    unlabelled_items,
)
from sonolearn.store.labelling import check_alike, check_duplicates, check_patients, label_rows
from sonolearn.store.labels import read_labels
from sonolearn.store.parts import Options, Row, Task, content_hash, drop_parts, make_part, parts_folder, rejection_row
from sonolearn.store.pseudonyms import Pseudonyms, open_private, private_folder, read_sources
from sonolearn.store.review import write_texts_page
from sonolearn.store.store import DUPLICATES, LABELS, REJECTED, Store
from sonolearn.store.write import DRY_RUN, DUPLICATE_COLUMNS, Block, check_free, claim_store, is_begun, write_store
from sonolearn.workers import Died, each


def run_tasks(tasks: Sequence[Task], workers: int) -> list[Row]:
    """Make the part of each task; rows in the order of `tasks`.

    Args:
        tasks: what to read.
        workers: processes; 0 takes all cores, 1 stays in this process.

    Raises:
        UserError: parts cannot be written.
    """
    count = min(workers or os.cpu_count() or 1, len(tasks))
    order, rows = longest_first(tasks), dict[int, Row]()
    with progress("reading scans", len(tasks)) as bar:
        for number, row in each(make_part, [tasks[i] for i in order], count):
            rows[order[number]] = _crash(tasks[order[number]]) if isinstance(row, Died) else row
            bar.advance()
    return [rows[i] for i in range(len(tasks))]


def _crash(task: Task) -> Row:
    scan = task.pseudonyms.scan(content_hash(task.paths))
    return rejection_row(scan, "", Rejected("crash", "makes its decoder crash: the file is damaged"))


def longest_first(tasks: Sequence[Task]) -> list[int]:
    """Indices of the tasks, those with the largest files first: a long scan begun last would keep one process alone."""
    return sorted(range(len(tasks)), key=lambda i: -_bytes(tasks[i]))


def _bytes(task: Task) -> int:
    try:
        return sum(path.stat().st_size for path in task.paths)
    except OSError:  # said of the scan when it is read
        return 0


Pair = tuple[Block, Block]


def alike_scans(blocks: Sequence[Block], size: int) -> list[Pair]:
    """Pairs of scans that show the same, in the order of the store.

    Args:
        blocks: all scans of a store.
        size: side S of its frames in px.
    """
    found = set(sharing(blocks))
    stills = [number for number, block in enumerate(blocks) if block.row["print"] is not None]
    prints = np.array([blocks[number].row["print"] for number in stills], np.uint64).reshape(-1, 4)
    near = [(stills[i], stills[j]) for i, j in near_pairs(prints)]
    with progress("comparing stills", len(near)) as bar:
        for i, j in near:
            if (i, j) not in found and same_picture(_frame(blocks[i], size), _frame(blocks[j], size)):
                found.add((i, j))
            bar.advance()
    return [(blocks[i], blocks[j]) for i, j in sorted(found)]


def sharing(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Numbers i < j of scans that share a frame to the byte; of several with one frame, each and the next."""
    owner = np.repeat(np.arange(len(blocks)), [block.count for block in blocks])
    checksums = np.array([checksum for block in blocks for checksum in block.row["checksum"]], np.uint64)
    order = np.argsort(checksums, kind="stable")
    same = np.diff(checksums[order]) == 0
    one, other = owner[order][:-1][same], owner[order][1:][same]
    return sorted({(int(i), int(j)) for i, j in zip(one, other, strict=True) if i != j})


def alike_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """duplicates.csv: a row a pair, by the pseudonyms of both."""
    rows = [(one.row["scan"], other.row["scan"]) for one, other in pairs]
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))


def _frame(still: Block, size: int) -> Pixels:
    return np.frombuffer(next(still.read(size)), np.uint8).reshape(size, size)


def prepare(paths: AnyPath | Sequence[AnyPath], out: AnyPath, labels: AnyPath | None, config: PrepareConfig) -> Store:
    """Read scans and stills, clean them, and write or extend a store of grey frames.

    Args:
        paths: a file or folder of unlabelled scans, or several; none where `labels` is given.
        out: the store's folder. Started again it continues; with more paths it grows. A labelled store becomes what
            its table says.
        labels: a label table (CSV), or a folder with a sub-folder for each plane.
        config: size, frame skip, cleaning, patients, split, ...; with `dry_run` the store is `out/dry-run`, made anew,
            of some of the scans and without labels.

    Raises:
        UserError: nothing readable, a mistake in the label table, another store in `out`, a full disk.
        Interrupted: Ctrl-C; what was read is kept.
    """
    paths, out, labels = paths_of(paths), Path(out), None if labels is None else Path(labels)
    if bool(paths) == (labels is not None):
        raise UserError("give either files and folders to read, or --labels with a table or a folder, not both")
    private = private_folder(out, config.key)
    table, sources = None, []
    if labels is not None:
        table = read_labels(labels, config.columns, config.patient_pattern)
    else:
        sources = outside_stores(find_sources(paths))
        if not sources:
            raise UserError(f"{', '.join(map(str, paths))}: no DICOM file, video or image there")
    pseudonyms = open_private(private)
    if labels is not None and table is not None:
        if not config.dry_run:
            check_patients(labels, table, pseudonyms)
        known = set(read_sources(private)["patient"]) - {""}
        items = labelled_items(table, config.patient_pattern, pseudonyms, known)
    else:
        items = unlabelled_items(sources, config.patient_pattern, pseudonyms)
    job = Job(out, private, pseudonyms, config, labels, table)
    if config.dry_run:
        # Of a part of a table, neither split nor classes could be right: its images are looked at like any others.
        job = Job(_dry_run_folder(out), private, pseudonyms, config)
        count = min(config.dry_run, len(items))
        items = [items[len(items) * k // count] for k in range(count)]
    try:
        with naming_disk_errors(job.out):
            blocks = _store(job, items)
            texts = write_texts_page(private)
    except KeyboardInterrupt as error:
        raise Interrupted(f"{job.out}: interrupted; run the same command again to continue") from error
    summarise(items, blocks, job.out, private, texts)
    return Store(job.out)


@dataclass(frozen=True)
class Job:
    """One call: where to and how."""

    out: Path
    private: Path
    pseudonyms: Pseudonyms
    config: PrepareConfig
    labels: Path | None = None
    """File or folder of labels, of a labelled store."""
    table: pd.DataFrame | None = None
    """What `read_labels` read there."""

    @property
    def options(self) -> Options:
        """What frames depend on."""
        return Options(self.config.size, self.config.frame_skip, self.config.cleaning, self.labels is not None)


def _dry_run_folder(out: Path) -> Path:
    """The folder of a dry run, emptied of an earlier one; nothing else in `out` is touched."""
    if not is_begun(out):
        check_free(out)
    if is_begun(out / DRY_RUN):
        shutil.rmtree(out / DRY_RUN)
    return out / DRY_RUN


def _store(job: Job, items: list[Item]) -> list[Block]:
    """Read what is missing, write the store and the linking table, then delete the parts."""
    blocks = _read(job, items)
    alike = alike_scans(blocks, job.config.size)
    tables = {
        REJECTED: rejected_table(job.out, items, blocks, keep=job.labels is None),
        DUPLICATES: alike_table(alike),
    }
    if job.labels is not None and job.table is not None:
        tables[LABELS] = _label_table(job, job.labels, job.table, items, blocks, alike)
    if alike:
        warn(f"{len(alike)} pairs of scans show the same picture, or nearly; {job.out / DUPLICATES} lists them")
    write_store(job.out, blocks, job.options, job.pseudonyms.key_id, tables)
    remember(items, job.private, job.out)
    drop_parts(job.out)
    return blocks


def _read(job: Job, items: list[Item]) -> list[Block]:
    """Read what the store does not hold yet; give the blocks of the whole store in order.

    Raises:
        UserError: another store is in `out`, nothing can be read, or a stored scan would change its patient.
    """
    out, options, pseudonyms = job.out, job.options, job.pseudonyms
    before = claim_store(out, options, pseudonyms.key_id)
    old = {block.name: block for block in before}
    unchanged = unchanged_scans(items, job.private, out)
    waiting, tasks = [], []
    for item in items:
        scan = unchanged.get(item.path)
        if scan is not None:
            item.row = {"scan": scan}
        if scan is None or item.name not in old:
            paths, folder, held = item.source.paths, parts_folder(out), frozenset(old)
            tasks.append(Task(paths, folder, job.private, options, pseudonyms, item.only, item.refused, held))
            waiting.append(item)
    for item, row in zip(waiting, run_tasks(tasks, job.config.workers), strict=True):
        item.row = row
    chosen = choose(items, out, old, pseudonyms, job.labels)
    blocks = chosen if job.labels is not None else [*before, *(b for b in chosen if b.name not in old)]
    if not blocks:
        remember(items, job.private, out)
        raise none_usable(items, job.private)
    return blocks


def _label_table(
    job: Job,
    labels: Path,
    table: pd.DataFrame,
    items: Sequence[Item],
    blocks: Sequence[Block],
    alike: Sequence[tuple[Block, Block]],
) -> pd.DataFrame:
    """labels.csv for the images that could be read."""
    first, row = {}, 0
    for block in blocks:
        first[block.name] = (row, block)
        row += block.count
    check_duplicates(labels, table, items)
    read = {item.source.paths[0]: first[item.name] for item in items if item.outcome == "stored"}
    rejected = sum(item.outcome == "rejected" for item in items)
    if rejected:
        warn(f"{rejected} of {len(items)} labelled files cannot be used; the others go on")
    rows = label_rows(labels, table, read, job.config, job.pseudonyms)
    check_alike(labels, alike, rows, {name: row for name, (row, _) in first.items()}, items)
    return rows
