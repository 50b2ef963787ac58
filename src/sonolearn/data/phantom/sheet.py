"""A contact sheet of the phantom for the documentation: planes in rows, patients in columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from sonolearn.data.phantom.patient import Patient, generator
from sonolearn.data.phantom.picture import Probe, render
from sonolearn.data.phantom.planes import PLANES
from sonolearn.data.phantom.sweep import still_pose
from sonolearn.data.phantom.tissue import Fetus


def contact_sheet(out_png: Path, patients: int = 6, size: int = 192, seed: int = 0) -> Path:
    """Draw the five planes (rows, in the order of `PLANES`) of `patients` patients (columns), each `size` px high."""
    columns = []
    for index in range(patients):
        fetus = Fetus(Patient.draw(seed, index))
        probe = Probe.of(fetus.patient, size, round(1.3 * size))
        cells = []
        for row, plane in enumerate(PLANES):
            rng = generator(seed, index, 6, row)
            cells.append(render(fetus, still_pose(fetus, plane, rng), probe, rng.random(), row)[0])
        columns.append(np.vstack(cells))
    Pillow.fromarray(np.hstack(columns)).save(out_png)
    return out_png
