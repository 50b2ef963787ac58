"""What a run shows of itself: the loss on held-out patients, and what an autoencoder rebuilds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from sonolearn.ssl.pretrain import pretrain
from ssl_methods import small
from stores import write_store


def test_without_held_out_patients_the_monitors_watch_training_frames(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    run = pretrain([store], tmp_path / "run", small("vicreg", epochs=1, valid_patients=0))
    metrics = pd.read_csv(run / "metrics.csv")
    assert set(metrics["part"]) == {"train", "monitor"}
    assert metrics.loc[metrics["part"] == "monitor", "effective_rank"].notna().all()


@pytest.mark.parametrize("name", ["autoencoder", "inpainting"])
def test_an_autoencoder_leaves_a_sheet_of_clean_view_input_and_output(name, tmp_path: Path) -> None:
    config = small(name, epochs=60, optimizer={"lr": 3e-3}, views={"randaugment": (0, 0)}, valid_every=60)
    bars = write_store(tmp_path / "store", planes=("a", "b"), patients=8)
    run = pretrain([bars], tmp_path / "run", config)
    sheet = cv2.imread(str(run / "rebuilt.png"), cv2.IMREAD_GRAYSCALE).astype(float)
    clean, shown, rebuilt = sheet[:96, :96], sheet[100:196, :96], sheet[200:296, :96]
    assert np.array_equal(clean, shown) == (name == "autoencoder")
    assert np.corrcoef(clean.ravel(), rebuilt.ravel())[0, 1] > 0.5


def test_other_methods_leave_no_such_sheet(tmp_path: Path) -> None:
    run = pretrain([write_store(tmp_path / "store")], tmp_path / "run", small("moco", epochs=1))
    assert not (run / "rebuilt.png").exists()
    assert (run / "views.png").exists()
