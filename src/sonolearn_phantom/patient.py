"""A made-up patient: everything that differs between one pregnancy (and its ultrasound machine) and the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonolearn_phantom.solids import Array

MACHINES = (("Nordlicht Medical", "Aurora 7"), ("Kestrel Imaging", "FH-8"), ("Tamarind Systems", "Vela Pro"))
"""Manufacturer and model of the three machines; no such makers exist."""

_SURNAMES = ("Ashdown", "Brook", "Carver", "Dalby", "Elm", "Fenwick", "Garth", "Holt", "Iverley", "Jessop", "Kirk")
_NAMES = ("Ada", "Bea", "Cleo", "Dora", "Edie", "Fay", "Greta", "Hedy", "Ines", "June", "Kaya", "Lou")


def generator(seed: int, patient: int, *stream: int) -> np.random.Generator:
    """The random numbers of one part of one patient: they depend on nothing but these numbers."""
    return np.random.default_rng((seed, patient, *stream))


@dataclass(frozen=True, eq=False)
class Patient:
    """One pregnancy, its fetus and the machine's settings. Lengths in mm, angles in radians, echoes in dB."""

    seed: int
    index: int
    gestational_age: float
    """Weeks, 18 to 34."""
    thorax_radius: float
    """Half the width of the chest; grows from 21 mm at 18 weeks (after Chitkara et al. 1987)."""
    thorax_depth: float
    """Half its depth from back to front, as a share of the radius."""
    cardiac_axis: float
    """Angle between the heart's septum and the body's middle plane; 45 +-10 degrees is normal (ISUOG 2023)."""
    heart_scale: float
    vessel_scale: float
    right_left_ratio: float
    wall: float
    """Thickness of the septum and the ventricles' walls, as a share of the usual."""
    jitter: Array
    """(12, 3) shifts of the great vessels' landmarks, in thorax radii."""
    heart_rate: float
    """Beats a minute, 120 to 160."""
    beam_angle: float
    """Where the probe lies: 0 looks at the breastbone, positive from the fetus's left, pi at the spine."""
    flipped: bool
    """Whether the fetus lies the other way round, so that its left appears on the other side."""
    probe_radius: float
    field_of_view: float
    depth: float
    """Depth of the picture below the probe's face."""
    standoff: float
    """Depth of the thorax's axis."""
    maternal_wall: float
    fluid_gap: float
    womb_shift: tuple[float, float]
    """How far the womb's middle lies from the fetus's, across and along its front, in thorax radii."""
    placenta_direction: Array
    """Unit vector (3,) towards the placenta."""
    placenta_distance: float
    arms: tuple[bool, bool]
    contrast: float
    """Depth of the blood's darkness, 0.6 (an obese mother) to 1."""
    ribs: float
    """Ossification of the ribs: share of the usual attenuation; `spine` likewise."""
    spine: float
    gain: float
    tgc: float
    dynamic_range: float
    blur_axial: float
    blur_lateral: float
    grey_gamma: float
    compounding: float
    """How much the machine averages looks from several angles, which smooths the speckle: 0 to 1."""
    contact: tuple[float, float, float]
    """Lost contact of the probe: centre (-1 to 1 across the picture), width, loss in dB."""
    frame_rate: int
    machine: int

    @classmethod
    def draw(cls, seed: int, index: int) -> Patient:
        """Make up patient `index` (from 0) of the family `seed`; other patients do not change it."""
        rng = generator(seed, index, 0)

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def normal(mean: float, spread: float) -> float:
            return float(np.clip(rng.normal(mean, spread), mean - 2 * spread, mean + 2 * spread))

        age = between(18, 34)
        radius = (21 + 1.2 * (age - 18)) * normal(1, 0.05)
        turned = rng.random() < 0.25
        angle = np.deg2rad(between(95, 150) if turned else between(0, 46)) * (1 if rng.random() < 0.5 else -1)
        depth = 2 * radius / between(0.88, 1.3)
        maternal_wall = between(0.05, 0.14) * depth
        gap = between(0.0, 0.28) * radius
        towards = rng.normal(size=3) * (1, 1, 0.3)
        return cls(
            seed=seed,
            index=index,
            gestational_age=age,
            thorax_radius=radius,
            thorax_depth=between(0.86, 0.98),
            cardiac_axis=np.deg2rad(normal(45, 6)).item(),
            heart_scale=normal(1.04, 0.06),
            vessel_scale=normal(1.1, 0.09),
            right_left_ratio=normal(1.03, 0.07),
            wall=between(0.8, 1.35),
            jitter=rng.normal(0, 0.014, (12, 3)).astype(np.float32),
            heart_rate=between(120, 160),
            beam_angle=float(angle),
            flipped=bool(rng.random() < 0.5),
            probe_radius=between(18, 42),
            field_of_view=np.deg2rad(between(52, 78)).item(),
            depth=depth,
            standoff=min(maternal_wall * 0.7 + radius * 0.95 + gap, 0.62 * depth),
            maternal_wall=maternal_wall,
            fluid_gap=gap,
            womb_shift=(between(-0.2, 0.2), between(-0.2, 0.2)),
            placenta_direction=(towards / np.linalg.norm(towards)).astype(np.float32),
            placenta_distance=between(1.08, 1.6),
            arms=(bool(rng.random() < 0.4), bool(rng.random() < 0.4)),
            contrast=between(0.6, 1),
            ribs=between(0.25, 1.2) * (0.5 + (age - 18) / 20),
            spine=between(0.5, 1.3),
            gain=normal(0, 3.5),
            tgc=normal(0, 0.07),
            dynamic_range=between(44, 62),
            blur_axial=between(0.15, 0.27),
            blur_lateral=between(0.34, 0.66),
            grey_gamma=between(0.85, 1.2),
            compounding=between(0.15, 1),
            contact=(between(-1.1, 1.1), between(0.08, 0.3), max(0.0, between(-30, 26))),
            frame_rate=int(rng.integers(25, 41)),
            machine=int(rng.integers(len(MACHINES))),
        )

    @property
    def name(self) -> str:
        """The made-up id, such as PH0007."""
        return f"PH{self.index + 1:04d}"

    @property
    def person(self) -> str:
        """A made-up person's name in DICOM form, such as Brook^Ada."""
        rng = generator(self.seed, self.index, 9)
        return f"{_SURNAMES[rng.integers(len(_SURNAMES))]}^{_NAMES[rng.integers(len(_NAMES))]}"

    @property
    def beam(self) -> Array:
        """Unit vector (3,) in body coordinates along which the probe's middle beam travels."""
        return np.array([-np.sin(self.beam_angle), -np.cos(self.beam_angle), 0], np.float32)
