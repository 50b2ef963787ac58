"""`sonolearn prepare`: from files to a store. Scans are read by processes into parts, then assembled in a fixed order.

What is stored depends on the files, the options and the key alone, not on the number of processes or on interruptions.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pandas as pd

from sonolearn.config import PrepareConfig
from sonolearn.console import Interrupted, UserError, progress, warn
from sonolearn.runs import AnyPath, naming_disk_errors, paths_of
from sonolearn.scans.find import find_sources
from sonolearn.scans.scan import Rejected
from sonolearn.store.cleaned_scan import (
    CleanedScan,
    Options,
    Row,
    Task,
    content_hash,
    drop_parts,
    make_part,
    part_name,
    parts_folder,
    rejection_row,
)
from sonolearn.store.duplicates import Pair, duplicates_table, find_duplicates
from sonolearn.store.labelling import check_duplicates, check_near_duplicates, check_patients, label_rows
from sonolearn.store.labels import read_labels
from sonolearn.store.pseudonyms import Pseudonyms, open_private, private_folder, read_sources
from sonolearn.store.review import write_texts_page
from sonolearn.store.sources import (
    SourceScan,
    labelled_sources,
    none_usable,
    outside_stores,
    rejected_table,
    remember,
    settle,
    summarise,
    unchanged_scans,
    unlabelled_sources,
)
from sonolearn.store.store import DUPLICATES, LABELS, REJECTED, Store
from sonolearn.store.write import DRY_RUN, check_free, claim_store, is_begun, write_store
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
    table, found = None, []
    if labels is not None:
        table = read_labels(labels, config.columns, config.patient_pattern)
    else:
        found = outside_stores(find_sources(paths))
        if not found:
            raise UserError(f"{', '.join(map(str, paths))}: no DICOM file, video or image there")
    pseudonyms = open_private(private)
    if labels is not None and table is not None:
        if not config.dry_run:
            check_patients(labels, table, pseudonyms)
        known = set(read_sources(private)["patient"]) - {""}
        sources = labelled_sources(table, config.patient_pattern, pseudonyms, known)
    else:
        sources = unlabelled_sources(found, config.patient_pattern, pseudonyms)
    job = Job(out, private, pseudonyms, config, labels, table)
    if config.dry_run:
        # Of a part of a table, neither split nor classes could be right: its images are looked at like any others.
        job = Job(_dry_run_folder(out), private, pseudonyms, config)
        count = min(config.dry_run, len(sources))
        sources = [sources[len(sources) * k // count] for k in range(count)]
    try:
        with naming_disk_errors(job.out):
            scans = _store(job, sources)
            texts = write_texts_page(private)
    except KeyboardInterrupt as error:
        raise Interrupted(f"{job.out}: interrupted; run the same command again to continue") from error
    summarise(sources, scans, job.out, private, texts)
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


def _store(job: Job, sources: list[SourceScan]) -> list[CleanedScan]:
    """Read what is missing, write the store and the linking table, then delete the parts."""
    before = claim_store(job.out, job.options, job.pseudonyms.key_id)
    held = {scan.name: scan for scan in before}
    rows = _read(job, sources, held)
    scans = settle(sources, rows, held, job.pseudonyms, job.labels)
    if job.labels is None:  # a labelled store becomes what its table says, others grow
        scans = [*before, *(scan for scan in scans if scan.name not in held)]
    if not scans:
        remember(sources, job.private, job.out)
        raise none_usable(rows, job.private)
    pairs = find_duplicates(scans, job.config.size)
    tables = {
        REJECTED: rejected_table(job.out, rows, scans, keep=job.labels is None),
        DUPLICATES: duplicates_table(pairs),
    }
    if job.labels is not None and job.table is not None:
        tables[LABELS] = _label_table(job, job.labels, job.table, sources, scans, pairs)
    if pairs:
        warn(f"{len(pairs)} pairs of scans show the same picture, or nearly; {job.out / DUPLICATES} lists them")
    write_store(job.out, scans, job.options, job.pseudonyms.key_id, tables)
    remember(sources, job.private, job.out)
    drop_parts(job.out)
    return scans


def _read(job: Job, sources: Sequence[SourceScan], held: Mapping[str, CleanedScan]) -> list[Row]:
    """Read the sources that the store does not hold yet; what became of each of them."""
    unchanged = unchanged_scans(sources, job.private, job.out)
    rows: dict[int, Row] = {}
    tasks: dict[int, Task] = {}
    for number, source in enumerate(sources):
        scan = unchanged.get(source.path)
        if scan is not None and part_name(scan, source.only) in held:
            rows[number] = scan
            continue
        tasks[number] = Task(
            source.source.paths, parts_folder(job.out), job.private, job.options, job.pseudonyms,
            source.only, source.refused, frozenset(held),
        )  # fmt: skip
    rows |= zip(tasks, run_tasks(list(tasks.values()), job.config.workers), strict=True)
    return [rows[number] for number in range(len(sources))]


def _label_table(
    job: Job,
    labels: Path,
    table: pd.DataFrame,
    sources: Sequence[SourceScan],
    scans: Sequence[CleanedScan],
    pairs: Sequence[Pair],
) -> pd.DataFrame:
    """labels.csv for the images that could be read."""
    first = dict(zip((scan.name for scan in scans), accumulate((s.row.frames for s in scans), initial=0), strict=False))
    by_name = {scan.name: scan for scan in scans}
    check_duplicates(labels, table, sources)
    read = {
        source.source.paths[0]: (first[source.name], by_name[source.name])
        for source in sources
        if source.outcome == "stored"
    }
    rejected = sum(source.outcome == "rejected" for source in sources)
    if rejected:
        warn(f"{rejected} of {len(sources)} labelled files cannot be used; the others go on")
    rows = label_rows(labels, table, read, job.config, job.pseudonyms)
    check_near_duplicates(labels, pairs, rows, first, sources)
    return rows
