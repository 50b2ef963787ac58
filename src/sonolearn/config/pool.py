"""Options of the part of the training frames that SSL learns from."""

from __future__ import annotations

from dataclasses import dataclass

from sonolearn.checks import at_least_one, require, require_each


@dataclass(frozen=True)
class PoolConfig:
    """The part of the training frames that is learnt from: for asking whether more patients help, or more frames.

    It is drawn after patients are held out for validation, so runs of different parts but one `seed` of the run have
    the same validation frames.
    """

    patients: int | None = None
    """Learn from so many of the patients that are not held out, drawn so that those of a smaller number are among
    those of a larger one; none: from all."""
    scans: int | None = None
    """Take so many scans of each patient, and all where there are fewer; a still counts as a scan of one frame."""
    frames: int | None = None
    """Take so many frames in total: from all patients equally many, as far as they have them, then so from all scans
    of a patient, and within a scan at equal steps."""
    frame_skip: int = 1
    """1 in so many stored frames of each scan, its first included; `frames` is taken from what this leaves."""
    seed: int = 0
    """Seed of which patients and scans are drawn."""

    def __post_init__(self) -> None:
        names = ("patients", "scans", "frames", "frame_skip")
        require_each(self, at_least_one, "give at least 1", *(f"pool.{name}" for name in names))
        require(
            self.frames is None or self.patients is None or self.frames >= self.patients,
            f"--pool.frames {self.frames}: each of the {self.patients} patients gives at least one, give at least "
            f"{self.patients}, or a smaller --pool.patients",
        )
