"""`sonolearn predict`: which planes scans show, from their files; tables of frames and of scans.

Frames go to the network as they come, and of a frame only its probabilities are kept. A scan that was classified is
written at once, and the same command goes on with the others.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from sonolearn.config.classify import PredictConfig
from sonolearn.console import Interrupted, UserError, progress, say, warn
from sonolearn.deploy.classifier import REMEDY, Classifier, load_classifier
from sonolearn.deploy.frames import Batch, Cutting, Reading, batches, overlapped
from sonolearn.deploy.page import write_page
from sonolearn.deploy.results import Classified, done_row, write_scan, write_tables
from sonolearn.deploy.runtime import Runtime, make_runtime
from sonolearn.planes.card import Probabilities
from sonolearn.runs import claim, hash_file, naming_disk_errors, paths_of, plain
from sonolearn.scans.find import find_sources
from sonolearn.store.cleaned_scan import content_hash
from sonolearn.store.pseudonyms import Pseudonyms, open_private, private_folder
from sonolearn.store.sources import SourceScan, outside_stores, remember, unlabelled_sources

UNHASHED = ("classifier", "batch", "threads", "engine")
"""Options that do not change results, beyond the last digits of a probability; the classifier counts by its content."""


def predict(paths: Sequence[Path], out: Path, config: PredictConfig) -> pd.DataFrame:
    """Classify the frames of scans; `out` gets predictions.csv, a row a frame, scans.csv, a row a scan, and a page.

    Args:
        paths: files and folders of scans and stills.
        out: the run folder; the same call continues where it stopped, and takes more paths.
        config: classifier, frame skip, cleaning, engine, ...

    Returns:
        scans.csv.

    Raises:
        UserError: no scan there, no classifier, another run in `out`, ...
        Interrupted: Ctrl-C; scans that were classified are kept.
    """
    if config.classifier is None:
        raise UserError(f"--classifier is missing: {REMEDY}")
    sources = outside_stores(find_sources(paths_of(paths)))
    if not sources:
        raise UserError(
            f"{', '.join(map(str, paths_of(paths))) or 'predict'}: no DICOM file, video or image there; name scans"
        )
    classifier = load_classifier(Path(config.classifier))
    private = private_folder(Path(out), config.key)
    pseudonyms = open_private(private)
    read = {"classifier": hash_file(classifier.file), "key": pseudonyms.key_id}
    claim(out, "predict", dataclasses.replace(config, classifier=None), read, UNHASHED)
    _warn_of_other_cleaning(classifier, config)
    items = unlabelled_sources(sources, None, pseudonyms)
    try:
        with naming_disk_errors(out):
            waiting = _waiting(items, out, pseudonyms)
            if waiting:
                _classify(waiting, classifier, make_runtime(classifier, config), out, pseudonyms, config)
            scans = write_tables(out, classifier.card.planes)
            page = write_page(out, scans, classifier.card.planes)
            remember(items, private, out)
    except KeyboardInterrupt as error:
        raise Interrupted(f"{out}: interrupted; run the same command again to continue") from error
    _summarise(items, scans, out, private)
    say(f"look at {page}")
    return scans


def classify_scans(
    scans: Sequence[Reading], classifier: Classifier, runtime: Runtime, config: PredictConfig
) -> Iterator[tuple[Batch, Probabilities]]:
    """Batches of all scans, one scan after the other, with their (n, C) probabilities; cleaning and network overlap."""
    card = classifier.card
    cutting = Cutting(card.frame_size, classifier.image_size, config.frame_skip, config.cleaning, runtime.batch)

    def probabilities(batch: Batch) -> Probabilities:
        return runtime.classify(batch.frames) if len(batch.frames) else np.empty((0, len(card.planes)), np.float32)

    made = (batch for scan in scans for batch in batches(scan, cutting))
    with one_thread_each():
        yield from overlapped(made, probabilities, runtime.threads, runtime.in_thread)


def _classify(
    items: Sequence[SourceScan],
    classifier: Classifier,
    runtime: Runtime,
    out: Path,
    pseudonyms: Pseudonyms,
    config: PredictConfig,
) -> None:
    """Classify and write the scans of the items; each item learns its outcome."""
    by_name = {item.scan: item for item in items}
    scans = [Reading(name, item.source.paths) for name, item in by_name.items()]
    classified, started = Classified(), time.perf_counter()
    with progress("classifying scans", len(scans)) as bar:
        for batch, probabilities in classify_scans(scans, classifier, runtime, config):
            classified.add(batch, probabilities)
            if not batch.last:
                continue
            scan, now = batch.scan, time.perf_counter()
            item = by_name[scan.name]
            known = scan.patient_id
            item.patient = pseudonyms.patient(known) if known else pseudonyms.unknown_patient(scan.name)
            write_scan(out, scan, item.patient, classified, classifier.card.planes, now - started)
            item.outcome = "rejected" if scan.rejected else "classified"
            item.reason = scan.rejected.reason if scan.rejected else ""
            classified, started = Classified(), now
            bar.advance()


def _waiting(items: Sequence[SourceScan], out: Path, pseudonyms: Pseudonyms) -> list[SourceScan]:
    """Name each scan by its content; the items to be classified: not those done before, nor those given twice."""
    first: dict[str, SourceScan] = {}
    for item in items:
        try:
            name = pseudonyms.scan(content_hash(item.source.paths))
        except OSError:
            # Its content cannot name it, so its path does, which the key hides; reading it will say what is wrong.
            name = pseudonyms.scan(f"unread {item.source.paths[0].absolute()}")
        done = done_row(out, name)
        item.scan = name
        if name in first:
            item.outcome = "duplicate"
        elif done is not None:
            item.patient, item.outcome = done["patient"], "classified"
        first.setdefault(name, item)
    return [item for item in first.values() if not item.outcome]


def _warn_of_other_cleaning(classifier: Classifier, config: PredictConfig) -> None:
    learnt, asked = classifier.card.cleaning, plain(config.cleaning)
    differ = [name for name in asked if learnt is not None and learnt.get(name) != asked[name]]
    if differ:
        options = ", ".join(f"--cleaning.{name}" for name in differ)
        warn(f"{classifier.file.name}: learnt from frames that were cleaned with other {options}")


def _summarise(items: Sequence[SourceScan], scans: pd.DataFrame, out: Path, private: Path) -> None:
    """Say which planes were found, what was rejected and why, and where to look."""
    named = {item.scan for item in items if item.outcome == "classified"}
    now = scans[scans["scan"].isin(named)]
    planes = Counter(now["plane"])
    reasons = Counter(item.reason for item in items if item.outcome == "rejected")
    say(f"{out}: {len(now)} scans classified{_listed(planes)}; rejected {reasons.total()}{_listed(reasons)}")
    say(f"frames classified: {int(now['frames'].sum())}; which file is which: {private / 'sources.csv'}")


def _listed(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {name}' for name, count in sorted(counts.items()))})" if counts else ""


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While several threads work, OpenCV and PyTorch split nothing between further ones."""
    torch = sys.modules.get("torch")  # where nobody loaded it, it computes nothing
    before = cv2.getNumThreads(), torch.get_num_threads() if torch else 0
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        if torch:
            torch.set_num_threads(before[1])
