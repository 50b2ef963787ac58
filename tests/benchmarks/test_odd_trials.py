"""Odd trials: each kind says what is right of it, and the same number and seed give the same trial."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.trials.odd import ODD, odd_trial

VERDICTS = {
    "Doppler in few frames": "doppler",
    "colour box alone": "doppler",
    "tissue Doppler over a strip": "spectral",
}


@pytest.mark.parametrize("kind", ODD)
def test_each_kind_has_its_verdict_and_whole_truth(kind: str) -> None:
    made = odd_trial(kind, 0)
    assert set(made.verdicts) == {VERDICTS.get(kind, "")}
    assert len(made.frames) == len(made.unmarked) == len(made.sectors) == len(made.marks) == len(made.verdicts)
    assert made.sector.any()
    for frame, sector, marks in zip(made.frames, made.sectors, made.marks, strict=True):
        assert frame.shape == (*ODD[kind].size, 3)
        assert not marks[~sector].any()
    assert made.traits == (kind,)


def test_the_same_number_and_seed_give_the_same_trial() -> None:
    first, same, other = odd_trial("marked still", 2), odd_trial("marked still", 2), odd_trial("marked still", 2, 1)
    assert np.array_equal(first.frames[0], same.frames[0])
    assert not np.array_equal(first.frames[0], other.frames[0])


def test_what_rests_under_the_probe_stands_still_and_the_rest_moves() -> None:
    made = odd_trial("still near field", 2)
    change = np.ptp(np.stack(made.unmarked), axis=0)
    rows = np.flatnonzero(made.sector.any(axis=1))
    top, far = rows[len(rows) // 10], rows[len(rows) * 3 // 4]
    assert np.median(change[top][made.sector[top]]) < 30 < np.median(change[far][made.sector[far]])
