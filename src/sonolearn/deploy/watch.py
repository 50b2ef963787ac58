"""`sonolearn watch`: what arrives in a folder or an archive is classified, and its Structured Report sent back.

A report's UID follows from its scan, the classifier and the key; before one that was cut off is sent again,
the archive is asked whether it has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from sonolearn.config import PredictConfig
from sonolearn.config.hospital import DicomConfig, WatchConfig
from sonolearn.console import Interrupted, UserError, say, warn
from sonolearn.deploy.archive import Archive, ArchiveError, Instance
from sonolearn.deploy.dicom_out import REPORT_ENDING, read_run, write_documents
from sonolearn.deploy.ledger import FINISHED, Ledger
from sonolearn.deploy.predict import predict
from sonolearn.runs import naming_disk_errors, writing
from sonolearn.scans.find import is_dicom
from sonolearn.store.pseudonyms import open_private, private_folder, read_sources

_SETTLED, _AT_ONCE, _LONGEST = 2.0, 20, 60.0
"""Seconds that a file must have rested, scans that are classified together, seconds between tries of an archive."""


@dataclass(frozen=True)
class _Watch:
    """One watcher: what it reads, where it writes, whom it asks."""

    folder: Path | None
    archive: Archive
    out: Path
    private: Path
    ledger: Ledger
    config: WatchConfig


def watch(source: str, out: Path, config: WatchConfig) -> dict[str, int]:
    """Classify what arrives and send the reports back, until Ctrl-C, or with `once` until nothing new is there.

    Args:
        source: a folder, or the URL of an archive's DICOMweb root.
        out: ledger.sqlite, predictions/, reports/.
        config: classifier, archive, ...

    Returns:
        Scans by state.

    Raises:
        UserError: another watcher works there, no classifier, a full disk; with `once` also an archive that is down.
        Interrupted: Ctrl-C; the same command goes on.
    """
    remote = source.startswith(("http://", "https://"))
    url = source if remote else config.send_to
    if url is None:
        raise UserError("--send_to is missing: give the URL of the archive's DICOMweb root")
    if not remote and not Path(source).is_dir():
        raise UserError(f"{source}: is no folder; give a folder or the URL of an archive")
    folder = None if remote else Path(source)
    with ExitStack() as stack, naming_disk_errors(out):
        for place in (out, folder):
            if place is not None:
                stack.enter_context(_only_watcher(place))
        ledger = Ledger(out / "ledger.sqlite")
        stack.callback(ledger.close)
        private = private_folder(out / "predictions", config.key)
        watcher = _Watch(folder, Archive(url), out, private, ledger, config)
        try:
            _rounds(watcher)
        except KeyboardInterrupt as error:
            raise Interrupted(f"{out}: interrupted; run the same command again to continue") from error
        say(f"{out}: {', '.join(f'{count} {state}' for state, count in ledger.counts().items()) or 'no scans'}")
        return ledger.counts()


def _rounds(watcher: _Watch) -> None:
    """Round after round; while the archive is down the pauses double."""
    pause = watcher.config.poll
    while True:
        try:
            found = _round(watcher)
            pause = watcher.config.poll
        except ArchiveError as error:
            if watcher.config.once:
                raise
            warn(f"{error}; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause = min(2 * pause, max(_LONGEST, watcher.config.poll))
            continue
        if not found and watcher.config.once:
            return
        if not found:
            time.sleep(pause)


def _round(watcher: _Watch) -> int:
    """Classify and report some scans whose turn has come; how many there were.

    Raises:
        ArchiveError: the archive is down.
    """
    due = _due(watcher)
    if not due:
        return 0
    config = watcher.config
    options = PredictConfig(config.classifier, config.frame_skip, config.cleaning, key=watcher.private)
    predict(list(due.values()), watcher.out / "predictions", options)
    pseudonyms = open_private(watcher.private)
    run = read_run(watcher.out / "predictions", watcher.private, pseudonyms)
    table = read_sources(watcher.private)
    outcomes = {row.path: row for row in table[table["store"] == str(run_path(watcher))].itertuples()}
    for name, path in due.items():
        row = outcomes.get(str(path.absolute()))
        if row is None or row.outcome != "classified" or str(row.scan) not in run.paths:
            outcome = "duplicate" if row is not None and row.outcome == "duplicate" else "rejected"
            watcher.ledger.note(name, outcome, reason=str(row.reason) if row is not None else "unreadable")
        else:
            identity = DicomConfig(keep_identity=True, best_frames=False)
            write_documents(run, str(row.scan), watcher.out / "reports", pseudonyms, identity)
            _send(watcher, name, watcher.out / "reports" / f"{row.scan}{REPORT_ENDING}")
        if watcher.folder is None and watcher.ledger.state(name) in FINISHED:
            path.unlink(missing_ok=True)
    return len(due)


def _send(watcher: _Watch, name: str, file: Path) -> None:
    """Send a report, unless it is there: `sending` is noted before, `sent` after the archive confirmed."""
    uid, ledger = str(dcmread(file, stop_before_pixels=True).SOPInstanceUID), watcher.ledger
    if ledger.sent_before(uid):
        ledger.note(name, "duplicate", reason="another scan has its UID")
        return
    try:
        cut_off = ledger.state(name) == "sending"
        ledger.note(name, "sending", uid)
        if not (cut_off and watcher.archive.has(uid)):
            watcher.archive.send(file)
        ledger.note(name, "sent")
    except ArchiveError as error:
        if error.down:
            raise
        ledger.failed(name, str(error))
        warn(str(error))


def run_path(watcher: _Watch) -> Path:
    """The run of `predict` as the linking table names it."""
    return (watcher.out / "predictions").absolute()


def _due(watcher: _Watch) -> Mapping[str, Path]:
    """Some scans whose turn has come, by their name in the ledger; those of an archive are fetched."""
    due: dict[str, Path] = {}
    for name, found in _arrived(watcher):
        if not watcher.ledger.due(name):
            continue
        try:
            due[name] = found if isinstance(found, Path) else _fetched(watcher, found)
        except ArchiveError as error:
            if error.down:
                raise
            watcher.ledger.failed(name, str(error))
            warn(str(error))
        if len(due) == _AT_ONCE:
            break
    return due


def _arrived(watcher: _Watch) -> Iterator[tuple[str, Path | Instance]]:
    """What is there: ultrasound instances of the archive, or DICOM files that nobody is still writing."""
    if watcher.folder is None:
        dates = {"StudyDate": watcher.config.study_date} if watcher.config.study_date else {}
        yield from ((found.uid, found) for found in watcher.archive.instances(Modality="US", **dates))
        return
    for path in sorted(watcher.folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            if time.time() - status.st_mtime >= _SETTLED and is_dicom(path):
                yield f"{path.absolute()} {status.st_size} {status.st_mtime_ns}", path


def _fetched(watcher: _Watch, instance: Instance) -> Path:
    file = watcher.out / "incoming" / f"{instance.uid}.dcm"
    if not file.exists():
        content = watcher.archive.fetch(instance)
        with writing(file, checksum=False) as temporary:
            temporary.write_bytes(content)
    return file


@contextmanager
def _only_watcher(folder: Path) -> Iterator[None]:
    """Hold a folder; the system lets go of it however this process ends.

    Raises:
        UserError: another watcher holds it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".sonolearn-watch.lock").acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{folder}: another `sonolearn watch` works there; stop it, or give another folder") from error
    with lock:
        yield
