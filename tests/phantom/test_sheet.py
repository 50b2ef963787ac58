"""The contact sheet has a cell for each plane of each patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sonolearn_phantom import contact_sheet


def test_sheet_has_planes_in_rows_and_patients_in_columns(tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(contact_sheet(tmp_path / "sheet.png", patients=2, size=40, seed=1)))
    assert sheet.shape == (5 * 40, 2 * 52)
    cells = sheet.reshape(5, 40, 2, 52).swapaxes(1, 2)
    assert (cells.std((2, 3)) > 20).all()
