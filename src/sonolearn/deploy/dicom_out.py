"""`sonolearn dicom`: a run of `predict` as DICOM: a Structured Report and the best frames of each scan."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydicom import Dataset, dcmread

from sonolearn.checksums import intact
from sonolearn.config import CleaningConfig
from sonolearn.config.hospital import DeidentifyConfig, DicomConfig
from sonolearn.console import UserError, progress, say
from sonolearn.deploy.best_frames import read_frames, write_best_frames
from sonolearn.deploy.confidentiality import clean_header, read_kept, sop_class_of
from sonolearn.deploy.dicom_report import Model, structured_report
from sonolearn.deploy.results import PREDICTIONS, SCANS
from sonolearn.runs import RUN_FILE, naming_disk_errors, read_json, writing
from sonolearn.scans.dicom_header import data_set
from sonolearn.scans.find import is_dicom
from sonolearn.scans.scan import Rejected
from sonolearn.store.cleaned_scan import content_hash
from sonolearn.store.pseudonyms import Pseudonyms, open_private, private_folder, read_sources

REPORT_ENDING, FRAMES_ENDING = ".sr.dcm", ".sc.dcm"
_IDENTITY = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientName",
    "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
    "AccessionNumber", "NumberOfFrames", "ContentDate", "ContentTime",
)  # fmt: skip
_OPTIONAL = ("NumberOfFrames", "ContentDate", "ContentTime", "SpecificCharacterSet")


@dataclass(frozen=True)
class Run:
    """A finished run of `predict`.

    Attributes:
        scans: scans.csv.
        frames: rows of predictions.csv by scan.
        paths: the file of each scan.
        model: what classified.
        step: every n-th frame was taken.
        cleaning: how frames were cleaned.
    """

    scans: pd.DataFrame
    frames: Mapping[str, pd.DataFrame]
    paths: Mapping[str, Path]
    model: Model
    step: int
    cleaning: CleaningConfig


def dicom(run: Path, out: Path, config: DicomConfig) -> list[Path]:
    """Write a Structured Report of each scan, and its best frames as a secondary capture; those that are there stay.

    Args:
        run: a run of `predict`; its files must still be where they were.
        out: the folder: S-....sr.dcm and S-....sc.dcm.
        config: identity, best frames, key.

    Returns:
        The files of all scans that are DICOM; others have no instance that could be referred to.

    Raises:
        UserError: no such run, another key, a source that has gone, a full disk.
    """
    private = private_folder(run, config.key)
    pseudonyms = open_private(private)
    found = read_run(run, private, pseudonyms)
    written: list[Path] = []
    skipped = 0
    with naming_disk_errors(out), progress("writing DICOM", len(found.paths)) as bar:
        for scan, path in found.paths.items():
            if not path.exists():
                raise UserError(f"{run}: the file of {scan} is gone; sources.csv in {private} says which it was")
            if is_dicom(path):
                written += write_documents(found, scan, out, pseudonyms, config)
            else:
                skipped += 1
            bar.advance()
    others = f"; {skipped} scans are not DICOM and have none" if skipped else ""
    identity = "names and UIDs of the source" if config.keep_identity else "pseudonyms"
    say(f"{out}: {len(written)} DICOM files with {identity}{others}")
    return written


def read_run(run: Path, private: Path, pseudonyms: Pseudonyms) -> Run:
    """Read what a run of `predict` found, and which file is which.

    Raises:
        UserError: there is no such run, or it was made with another key.
    """
    description: dict[str, Any] = read_json(run / RUN_FILE)
    if description.get("command") != "predict":
        raise UserError(f"{run}: is not a run of `sonolearn predict`; give the folder that was its --out")
    if description["data"]["key"] != pseudonyms.key_id:
        raise UserError(f"{run}: was made with another key than that of {private}; give its folder with --key")
    scans = pd.read_csv(intact(run / SCANS))
    scans = scans[scans["reason"].isna() & (scans["frames"] > 0)]
    predictions = pd.read_csv(intact(run / PREDICTIONS), dtype={"plane": str})
    sources = read_sources(private)
    sources = sources[(sources["store"] == str(run.absolute())) & (sources["outcome"] == "classified")]
    paths = dict(zip(sources["scan"], map(Path, sources["path"]), strict=True))
    config = description["config"]
    cleaning: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config["cleaning"].items()
    }
    return Run(
        scans.set_index("scan"), {str(scan): rows for scan, rows in predictions.groupby("scan")},
        {scan: paths[scan] for scan in scans["scan"] if scan in paths},
        Model("sonolearn plane classifier", description["data"]["classifier"]), config["frame_skip"],
        CleaningConfig(**cleaning),
    )  # fmt: skip


def write_documents(run: Run, scan: str, out: Path, pseudonyms: Pseudonyms, config: DicomConfig) -> list[Path]:
    """Write what is not there yet of one scan's documents; the same scan, classifier and key give the same UIDs."""
    report, capture = out / f"{scan}{REPORT_ENDING}", out / f"{scan}{FRAMES_ENDING}"
    path, frames = run.paths[scan], run.frames[scan].reset_index(drop=True)
    source = source_header(path, str(run.scans.loc[scan, "patient"]), pseudonyms, config.keep_identity)
    uid = _uids(source, run.model, pseudonyms)
    if config.best_frames and not capture.exists():
        _write_capture(capture, run, path, frames, source, uid, config)
    if not report.exists():
        document = structured_report(source, scan, str(run.scans.loc[scan, "plane"]), frames, run.model, uid)
        with writing(report, checksum=False) as temporary:
            document.save_as(temporary, enforce_file_format=True)
    return [file for file in (report, capture) if file.exists()]


def _write_capture(
    capture: Path, run: Run, path: Path, frames: pd.DataFrame, source: Dataset, uid: Callable[[str], str],
    config: DicomConfig,
) -> None:  # fmt: skip
    """Write the best frames; under a pseudonym none that could show a name."""
    shown = [name for name in frames["plane"].dropna().unique() if f"p_{name}" in frames]
    best = {name: int(frames["frame"].iloc[frames[f"p_{name}"].argmax()]) for name in shown}
    if not best:
        return
    try:
        pictures, clear = read_frames(path, best, run.step, run.cleaning)
    except Rejected:  # changed since it was classified
        return
    clean = clear and run.cleaning.sector and run.cleaning.marks != "keep"
    if pictures and (clean or config.keep_identity):
        write_best_frames(capture, source, pictures, best, run.model, uid, readable=not clean)


def _uids(source: Dataset, model: Model, pseudonyms: Pseudonyms) -> Callable[[str], str]:
    """UIDs that follow from the study (series) or the instance, the classifier and the key."""

    def uid(what: str) -> str:
        of = source.StudyInstanceUID if what.startswith("series") else source.SOPInstanceUID
        return pseudonyms.uid(f"{what} {of} {model.version}")

    return uid


def source_header(path: Path, patient: str, pseudonyms: Pseudonyms, keep_identity: bool) -> Dataset:
    """The identity of an instance, patient and study included: its own, or that of its de-identified copy.

    Raises:
        UserError: its header cannot be read.
    """
    try:
        with warnings.catch_warnings(), data_set(path) as file:
            warnings.simplefilter("ignore")  # they may quote the header
            own = dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(_IDENTITY))
        frames = int(own.get("NumberOfFrames") or 1)
        if not keep_identity:
            config = DeidentifyConfig()
            kept = read_kept(path, config)
            header = clean_header(kept, patient, content_hash([path]), frames, (1, 1), pseudonyms, config)
            header.NumberOfFrames = frames
            return header
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path.name}: its header cannot be read any more; mend or remove the file") from error
    for name in _IDENTITY:
        if name not in own and name not in _OPTIONAL:
            setattr(own, name, "")
    own.SOPClassUID = own.SOPClassUID or sop_class_of("", frames)
    return own
