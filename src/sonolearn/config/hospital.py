"""Options of `deidentify`, `dicom` and `watch`: sonolearn between a hospital's scanners and its archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sonolearn.config.base import require, require_pattern
from sonolearn.config.data import CleaningConfig


@dataclass(frozen=True)
class DeidentifyConfig:
    """Options of `sonolearn deidentify`: cleaned DICOM copies that name nobody."""

    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """What is taken away, and which frames become black. Sector and marks cannot be kept."""
    dates: Literal["remove", "shift"] = "remove"
    """remove: no dates or times; shift: all dates of a patient go back by one number of days that only the key knows,
    so that intervals between exams stay (PS3.15: Retain Longitudinal Temporal Information with Modified Dates)."""
    retain_device: bool = False
    """Keep serial number, station name and UID of the device (PS3.15: Retain Device Identity); its make, model and
    software are kept in any case."""
    unclear: Literal["reject", "keep"] = "reject"
    """Scans whose picture has no clear outline, beside which text may be left: reject, or keep them to be looked at."""
    patient_pattern: str | None = None
    """Regular expression that finds the patient in a file's path: its first group, else the whole match.
    Without it the patient is the DICOM PatientID, and files that have none count as a patient each."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` beside OUT or above it."""

    def __post_init__(self) -> None:
        require_pattern(self.patient_pattern)


@dataclass(frozen=True)
class DicomConfig:
    """Options of `sonolearn dicom`: a run of `predict` as DICOM, for an archive."""

    keep_identity: bool = False
    """Write names and UIDs as the source has them, for work inside the hospital; else pseudonyms, and the UIDs that the
    copies of `deidentify` have under the same key."""
    best_frames: bool = True
    """Write the best frame of each plane, cleaned, as a secondary capture beside the report."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` beside RUN or above it."""


@dataclass(frozen=True)
class WatchConfig:
    """Options of `sonolearn watch`: what arrives is classified, and its report goes to the archive."""

    classifier: Path | None = None
    """A run of `classify --save_classifiers true` (its largest fraction, seed 0), or one file of its classifiers."""
    send_to: str | None = None
    """URL of the DICOMweb root that gets the reports, where SOURCE is a folder."""
    study_date: str | None = None
    """Only studies of this DICOM date or range, such as 20261127- for that day and later; None: all."""
    poll: float = 10.0
    """Seconds between two looks at SOURCE."""
    once: bool = False
    """End when nothing new is there."""
    frame_skip: int = 5
    """Take every n-th frame of a scan; stills are taken whole."""
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """What is taken away, and which frames are left out; best as in the store that the classifier learnt from."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` in OUT or above it."""

    def __post_init__(self) -> None:
        require(self.poll > 0, f"--poll {self.poll}: give more than 0")
        require(self.frame_skip > 0, f"--frame_skip {self.frame_skip}: give at least 1")
