"""The benchmark of fine-tuning: its row, and that both sides train on as many images, in as many steps."""

from __future__ import annotations

from math import isfinite

import pytest
import torch

from benchmarks.finetune import bare, between, ours, part, rows
from sonolearn.recipes import classify_recipe


def test_the_quick_row_has_no_target() -> None:
    (row,) = rows(quick=True)
    assert row.ratio
    assert isfinite(row.ratio)
    assert row.target is None


@pytest.mark.parametrize("side", [ours, bare])
def test_a_side_takes_every_step_and_ticks_once_an_epoch(side: object, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: steps.append(1) or original(self, *a, **k))
    config = classify_recipe("study", epochs=3, batch_size=8, precision="32-true", workers=0)
    seconds = between(lambda tick: side("test_resnet", part(20, 32), part(10, 32), config, tick))  # type: ignore[operator]
    assert len(steps) == 3 * 3
    assert len(seconds) == 2  # the first epoch does not count
    assert min(seconds) > 0
