"""Options of `phantom` and `prepare`: everything before a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from sonolearn.config.base import at_least_one, not_negative, require, require_each, require_pattern, share

Reason = Literal["blank", "menu", "spectral", "split", "rendering", "doppler", "dark", "small", "frozen"]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class CleaningConfig:
    """Options of cleaning, each step of which can be switched off."""

    sector: bool = True
    """Keep the ultrasound picture alone: crop to it, and set everything outside to 0."""
    marks: Literal["telea", "navier_stokes", "keep"] = "telea"
    """Callipers, text, arrows and traces on the picture: fill them by this method, or keep them."""
    reject: tuple[Reason, ...] = REASONS
    """Leave out frames that are or show this: blank, menu (a page of text), spectral (Doppler or M-mode beside the
    picture), split (several pictures), rendering (3D), doppler (colour), dark, small, frozen. `[]` leaves out none."""
    doppler_share: float = 0.002
    """Share of the sector that must be coloured area for `doppler`."""
    dark_level: int = 24
    """Grey level that the brightest hundredth of the sector reaches unless the frame is `dark`."""
    smallest: int = 64
    """Shorter side of the sector in px below which it is `small`."""
    least_change: float = 0.0
    """Leave out a frame that differs from the last kept one by less than this share of the grey range; 0 keeps all."""

    def __post_init__(self) -> None:
        require_each(self, share, "give a share from 0 to 1", "doppler_share", "least_change")
        require_each(self, not_negative, "give 0 or more", "dark_level", "smallest")
        require(len(set(self.reject)) == len(self.reject), f"--cleaning.reject {self.reject}: names a reason twice")


@dataclass(frozen=True)
class PhantomConfig:
    """Options of `sonolearn phantom`: synthetic fetal-heart scans with ground truth."""

    patients: int = 20
    """Number of made-up patients (pregnancies)."""
    labelled: float = 0.5
    """Share of the patients who give labelled PNG stills; the others give unlabelled scans. The two never overlap."""
    scans: int = 2
    """Scans (cines) of each unlabelled patient, alternately DICOM and MP4."""
    frames: int = 60
    """Frames of a scan."""
    stills: int = 25
    """Labelled stills of a labelled patient, spread evenly over the five planes."""
    size: int = 256
    """Height of the ultrasound picture in px; the screen around it is a little larger."""
    text: bool = True
    """Write machine text, a depth ruler and a grey bar on the screen."""
    callipers: float = 0.2
    """Share of the scans and stills with callipers and dotted lines on the picture."""
    doppler: float = 0.0
    """Share of the scans in colour Doppler."""
    split: float = 0.0
    """Share of the scans as a split screen of two views."""
    workers: int = 0
    """Processes that render; 0 takes all cores. The files do not depend on it."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "patients", "frames")
        require_each(self, not_negative, "give 0 or more", "scans", "stills", "workers")
        require_each(self, share, "give a share from 0 to 1", "labelled", "callipers", "doppler", "split")
        require(self.size >= 32, f"--size {self.size}: give at least 32 px")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a label table, where they differ from ours."""

    image: str = "image"
    """Path of the still or scan, absolute or relative to the table."""
    plane: str = "plane"
    """The class."""
    patient: str = "patient"
    """Who was scanned; parts of a split never share a patient."""
    split: str = "split"
    """Optional: train, valid or test."""
    machine: str = "machine"
    """Optional: ultrasound machine."""
    scan: str = "scan"
    """Optional: the recording that a still was taken from."""
    frame: str = "frame"
    """Optional: index of the frame, where `image` is a scan."""


@dataclass(frozen=True)
class PrepareConfig:
    """Options of `sonolearn prepare`: from files to a store of clean grey frames."""

    size: int = 256
    """Side of the stored square frames in px; the aspect is kept, the rest padded with 0."""
    frame_skip: int = 5
    """Take every n-th frame of a scan; stills are taken whole."""
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """What is taken away, and which frames are left out."""
    dry_run: int = 0
    """Clean only this many scans, spread over all, into OUT/dry-run, to look at its report first; 0 does all."""
    patient_pattern: str | None = None
    """Regular expression that finds the patient in a file's path: its first group, else the whole match.
    Without it the patient is the DICOM PatientID, and files that have none count as a patient each."""
    columns: Columns = field(default_factory=Columns)
    """Names of the label table's columns."""
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Shares of the labelled patients for train, valid and test; a split column in the table goes first."""
    split_seed: int = 0
    """Seed of that split."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` beside the store or above it."""
    workers: int = 0
    """Processes that read and clean; 0 takes all cores. The store does not depend on it."""

    def __post_init__(self) -> None:
        require(16 <= self.size <= 4096, f"--size {self.size}: give a side from 16 to 4096 px")
        require(self.frame_skip >= 1, f"--frame_skip {self.frame_skip}: give 1 (every frame) or more")
        require_each(self, not_negative, "give 0 or more", "workers", "dry_run")
        require_pattern(self.patient_pattern)
        require(
            len(self.split) == 3 and min(self.split) >= 0 and self.split[0] > 0 and abs(sum(self.split) - 1) < 1e-6,
            f"--split {self.split}: give three shares (train, valid, test) that add up to 1, the first above 0",
        )
