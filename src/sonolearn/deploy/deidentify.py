"""`sonolearn deidentify`: copies of scans as DICOM that name nobody, in header or picture.

Frame n of a copy is frame n of its scan: the sector alone, grey, marks filled, all else black. A frame that shows
something else (a menu, colour Doppler, ...) is black as a whole, so that frame numbers and times stay right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydicom import Dataset

from sonolearn.cleaning.clean import Cleaned, clean
from sonolearn.cleaning.pictures import text_crops
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.config.hospital import DeidentifyConfig
from sonolearn.console import Interrupted, UserError, progress, say, warn
from sonolearn.deploy.confidentiality import clean_header, read_kept
from sonolearn.deploy.dicom_frames import FrameFile
from sonolearn.runs import claim, naming_disk_errors, read_json, write_json, writing
from sonolearn.scans.dicom_header import numbers
from sonolearn.scans.find import find_sources, open_guarded, own_fault
from sonolearn.scans.scan import Rejected, Scan
from sonolearn.store.cleaned_scan import content_hash
from sonolearn.store.pseudonyms import Pseudonyms, open_private, private_folder
from sonolearn.store.review import REVIEW, keep_crops, write_texts_page
from sonolearn.store.sources import SourceScan, outside_stores, remember, unlabelled_sources

COPIES = "copies.csv"
FOLDER = "scans"
COPY_COLUMNS = ("scan", "patient", "frames", "black", "texts", "reason", "message")
_UNCLEAR = ("unclear_outline", "has no clear outline, so text may be left beside its picture: see --unclear")


def deidentify(paths: Sequence[Path], out: Path, config: DeidentifyConfig) -> pd.DataFrame:
    """Write a de-identified DICOM copy of each scan, `out`/scans/S-....dcm, and copies.csv, a row a scan.

    Args:
        paths: files and folders of scans and stills: DICOM, videos, images.
        out: the folder; the same call continues where it stopped, and takes more paths.
        config: dates, device, cleaning, ...

    Returns:
        copies.csv: pseudonyms of scan and patient, frames, how many of them are black, words found and filled inside
        the sector, and why a scan was rejected.

    Raises:
        UserError: no scan there, something else in `out`, a full disk, or cleaning that keeps names.
        Interrupted: Ctrl-C; copies that were written are kept.
    """
    if not config.cleaning.sector or config.cleaning.marks == "keep":
        raise UserError("deidentify: what is outside the sector and marks must go; leave --cleaning.sector and .marks")
    found = outside_stores(find_sources(paths))
    if not found:
        raise UserError(f"{', '.join(map(str, paths))}: no DICOM file, video or image there; name scans")
    private = private_folder(out, config.key)
    pseudonyms = open_private(private)
    claim(out, "deidentify", config, {"key": pseudonyms.key_id})
    sources = unlabelled_sources(found, config.patient_pattern, pseudonyms)
    try:
        with naming_disk_errors(out):
            _copy_all(sources, out, private, pseudonyms, config)
            table = _write_table(out)
            remember(sources, private, out)
            texts = write_texts_page(private)
    except KeyboardInterrupt as error:
        raise Interrupted(f"{out}: interrupted; run the same command again to continue") from error
    _summarise(sources, out, private, texts)
    return table


def _copy_all(
    sources: Sequence[SourceScan], out: Path, private: Path, pseudonyms: Pseudonyms, config: DeidentifyConfig
) -> None:
    """Copy what is not copied yet; each source learns its outcome."""
    seen: set[str] = set()
    with progress("de-identifying", len(sources)) as bar:
        for source in sources:
            try:
                content = content_hash(source.source.paths)
                scan = pseudonyms.scan(content)
            except OSError:
                content = scan = pseudonyms.scan(f"unread {source.source.paths[0].absolute()}")
            file = out / FOLDER / f"{scan}.json"
            row: dict[str, Any] | None = read_json(file) if file.exists() else None
            source.scan = scan
            if scan in seen:
                source.outcome = "duplicate"
            elif row is None or "reason" in row:
                row = _copy(source, scan, content, out, private, pseudonyms, config)
                write_json(file, row)
            if scan not in seen:
                assert row is not None
                source.patient, source.reason = row["patient"], row.get("reason", "")
                source.outcome = "rejected" if source.reason else "copied"
            seen.add(scan)
            bar.advance()


def _copy(
    source: SourceScan,
    scan: str,
    content: str,
    out: Path,
    private: Path,
    pseudonyms: Pseudonyms,
    config: DeidentifyConfig,
) -> dict[str, Any]:
    """Write the copy of one scan; give its row."""
    try:
        if source.refused is not None:
            raise Rejected(*source.refused)
        opened = open_guarded(source.source.paths)
        patient = source.patient or (
            pseudonyms.patient(opened.patient_id) if opened.patient_id else pseudonyms.unknown_patient(scan)
        )
        cleaned = clean(opened, None, config=config.cleaning)
        with FrameFile(out / FOLDER) as frames:
            _add_frames(frames, opened, cleaned)
            if cleaned.misfit >= THRESHOLDS.sector.unclear and config.unclear == "reject":
                raise Rejected(*_UNCLEAR)
            kept = read_kept(source.source.paths[0], config) if opened.kind == "dicom" else Dataset()
            header = clean_header(kept, patient, content, frames.count, frames.shape, pseudonyms, config)
            _describe_image(header, opened, frames.count)
            frames.save(out / FOLDER / f"{scan}.dcm", header)
        keep_crops(private, scan, text_crops(cleaned.examples))
    except Rejected as rejected:
        return {"scan": scan, "patient": "", "frames": 0, "reason": rejected.reason, "message": rejected.message}
    except UserError:  # a full disk concerns all scans
        raise
    except Exception as error:  # one scan must not stop the others
        fault = own_fault(error)
        return {"scan": scan, "patient": "", "frames": 0, "reason": fault.reason, "message": fault.message}
    black = cleaned.refused.total()
    return {"scan": scan, "patient": patient, "frames": frames.count, "black": black, "texts": cleaned.texts}


def _add_frames(frames: FrameFile, scan: Scan, cleaned: Cleaned) -> None:
    """Write every frame of a scan in its place; those that were left out are black."""
    shape = (scan.height, scan.width)
    for frame in cleaned.frames:
        if frame.pixels.shape != shape:
            raise Rejected("size_changes", "changes its size midway: cut it into recordings of one size")
        frames.add_black(frame.index - frames.count, shape)
        frames.add(frame.pixels)
    frames.add_black(cleaned.taken - frames.count, shape)


def _describe_image(header: Dataset, scan: Scan, count: int) -> None:
    """The elements of the modules US Image, Cine and Multi-frame that depend on the frames (PS3.3 A.7)."""
    header.ImageType = ["DERIVED", "PRIMARY"]
    header.DerivationDescription = "Sector kept, all else black, marks filled, grey"
    header.UltrasoundColorDataPresent = 0
    if scan.kind == "video":
        header.LossyImageCompression = "01"
    if count == 1:
        for name in ("FrameTime", "FrameTimeVector", "CineRate", "StartTrim", "StopTrim"):
            header.pop(name, None)
        return
    header.NumberOfFrames = count
    if len(numbers(header, "FrameTimeVector")) == count:
        header.FrameIncrementPointer = 0x00181065
        return
    header.pop("FrameTimeVector", None)
    header.FrameIncrementPointer = 0x00181063
    if "FrameTime" not in header:
        # 0 says that nothing is known: a rate that is made up would be taken for measured.
        header.FrameTime = float(f"{1000 / scan.fps:.9g}") if scan.fps else 0


def _write_table(out: Path) -> pd.DataFrame:
    rows = [{**read_json(file), "scan": file.stem} for file in sorted((out / FOLDER).glob("S-*.json"))]
    table = pd.DataFrame(rows, columns=list(COPY_COLUMNS))
    with writing(out / COPIES) as temporary:
        table.to_csv(temporary, index=False)
    return table


def _summarise(sources: Sequence[SourceScan], out: Path, private: Path, texts: int) -> None:
    outcomes = Counter(source.outcome for source in sources)
    reasons = Counter(source.reason for source in sources if source.outcome == "rejected")
    listed = f" ({', '.join(f'{count} {name}' for name, count in sorted(reasons.items()))})" if reasons else ""
    say(
        f"{out}: {outcomes['copied']} scans de-identified; rejected {outcomes['rejected']}{listed}, duplicates "
        f"{outcomes['duplicate']}; which file is which: {private / 'sources.csv'}"
    )
    if texts:
        warn(f"text inside the picture of {texts} scans was filled; look at {private / REVIEW} before you share them")
