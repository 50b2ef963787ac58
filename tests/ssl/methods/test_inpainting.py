"""The inpainting autoencoder: what it is shown, and what it is to rebuild."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import mse_loss

from sonolearn.ssl.frames import training_frames
from sonolearn.ssl.loader import PairMaker
from sonolearn.store.store import Store
from ssl_methods import frames, make, small
from stores import write_store


def test_the_loss_is_the_squared_error_against_the_clean_view() -> None:
    method = make(small("inpainting")).eval()
    erased, clean = frames(3)
    rebuilt = method.rebuild(erased)
    assert rebuilt is not None
    torch.testing.assert_close(method(erased, clean)[0], mse_loss(rebuilt, clean))


def test_the_input_is_the_clean_view_but_for_a_rectangle_of_the_asked_size(tmp_path: Path) -> None:
    pool = training_frames([Store(write_store(tmp_path / "store"))])
    config = small("inpainting", inpainting={"erase_scale": (0.2, 0.3)})
    pairs = PairMaker(pool, config, "erased_view")
    shares = []
    for sample in range(20):
        erased, clean = pairs.make(0, sample)
        rows, columns = np.nonzero(erased != clean)
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        shares.append(box / clean.size)
        assert len(rows) > 0.9 * box, "nearly every pixel of the rectangle is noise"
    assert min(shares) > 0.15
    assert max(shares) < 0.35
