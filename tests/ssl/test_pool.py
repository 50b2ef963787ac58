"""Part of the training frames: exact counts, even spread, and patients of a smaller part among those of a larger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonolearn.config import PoolConfig
from sonolearn.console import UserError
from sonolearn.ssl.frames import FramePool, at_equal_steps, draw_pool, even_shares, training_frames
from sonolearn.store.store import Store
from stores import write_store

Recordings = list[list[int]]
"""For each patient the number of frames of each scan."""

RECORDINGS = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4), min_size=1, max_size=6)
SEEDS = st.integers(0, 99)


class TableOnly:
    """A store of which only the tables are asked for."""

    def __init__(self, patient_of_scan: Sequence[str], frames_of_scan: Sequence[int]) -> None:
        self.scans = pd.DataFrame({"patient": patient_of_scan})
        self.scan_of_frame = np.repeat(np.arange(len(frames_of_scan)), frames_of_scan)

    def __len__(self) -> int:
        return len(self.scan_of_frame)


def make_pool(recordings: Recordings) -> FramePool:
    """The scans of all patients in one store, the first of each, then the second of each, and so on."""
    order = sorted((i, patient) for patient, scans in enumerate(recordings) for i in range(len(scans)))
    counts = [recordings[patient][i] for i, patient in order]
    patients = [f"P-{patient}" for _, patient in order]
    store = TableOnly(patients, counts)
    rows = np.arange(len(store))
    owners = np.array(patients, dtype=object)[store.scan_of_frame]
    return FramePool([store], np.zeros(len(store), np.int64), rows, owners)  # type: ignore[list-item]


def rows_by_scan(pool: FramePool) -> dict[int, list[int]]:
    return {int(s): [int(r) for r in pool.row_of_frame[pool.scan_of_frame == s]] for s in np.unique(pool.scan_of_frame)}


def available(pool: FramePool) -> list[int]:
    counts = Counter(pool.patient_of_frame)
    return [counts[patient] for patient in pool.patients]


@given(RECORDINGS, SEEDS)
def test_with_the_defaults_all_frames_are_kept_in_their_order(recordings: Recordings, seed: int) -> None:
    pool = make_pool(recordings)
    drawn = draw_pool(pool, PoolConfig(seed=seed))
    assert np.array_equal(drawn.row_of_frame, pool.row_of_frame)
    assert np.array_equal(drawn.store_of_frame, pool.store_of_frame)
    assert drawn.patients == pool.patients


@given(RECORDINGS, SEEDS, st.data())
def test_patients_are_whole_and_those_of_fewer_are_among_those_of_more(recordings, seed, data) -> None:
    pool = make_pool(recordings)
    more = data.draw(st.integers(1, len(recordings)))
    fewer = data.draw(st.integers(1, more))
    large, small = (draw_pool(pool, PoolConfig(patients=n, seed=seed)) for n in (more, fewer))
    assert len(set(large.patients)) == more
    assert len(set(small.patients)) == fewer
    assert set(small.patients) <= set(large.patients)
    everything = dict(zip(pool.patients, available(pool), strict=True))
    assert dict(zip(large.patients, available(large), strict=True)) == {p: everything[p] for p in large.patients}


@given(RECORDINGS, SEEDS, st.integers(1, 5), st.data())
def test_scans_are_whole_the_same_with_fewer_patients_and_those_of_fewer_among_more(recordings, seed, scans, data):
    pool = make_pool(recordings)
    patients = data.draw(st.integers(1, len(recordings)))
    every, one_less, some = (
        rows_by_scan(draw_pool(pool, config))
        for config in (
            PoolConfig(scans=scans, seed=seed),
            PoolConfig(scans=max(1, scans - 1), seed=seed),
            PoolConfig(scans=scans, patients=patients, seed=seed),
        )
    )
    whole = rows_by_scan(pool)
    assert len(every) == sum(min(scans, len(of_one)) for of_one in recordings)
    assert all(rows == whole[scan] for scan, rows in every.items())
    assert set(one_less) <= set(every)
    assert set(some) <= set(every)


@given(RECORDINGS, st.integers(1, 15))
def test_skipping_takes_every_nth_frame_of_each_scan_from_its_first(recordings, skip) -> None:
    pool = make_pool(recordings)
    drawn = draw_pool(pool, PoolConfig(frame_skip=skip))
    assert rows_by_scan(drawn) == {scan: rows[::skip] for scan, rows in rows_by_scan(pool).items()}


@given(RECORDINGS, SEEDS, st.integers(1, 3), st.data())
def test_frames_are_as_many_as_asked_and_spread_evenly_over_patients_and_their_scans(recordings, seed, skip, data):
    there = draw_pool(make_pool(recordings), PoolConfig(frame_skip=skip))
    frames = data.draw(st.integers(len(recordings), len(there)))
    drawn = draw_pool(make_pool(recordings), PoolConfig(frames=frames, frame_skip=skip, seed=seed))
    assert len(drawn) == frames
    assert set(drawn.row_of_frame) <= set(there.row_of_frame)
    shares = dict(zip(drawn.patients, available(drawn), strict=True))
    assert sorted(shares.values()) == sorted(dealt_one_by_one(available(there), frames))
    for patient in there.patients:
        scans = Counter(there.scan_of_frame[there.patient_of_frame == patient])
        taken = Counter(drawn.scan_of_frame[drawn.patient_of_frame == patient])
        assert sorted(taken[s] for s in scans) == sorted(dealt_one_by_one(list(scans.values()), shares[patient]))


def dealt_one_by_one(available: list[int], total: int) -> list[int]:
    """Give out one at a time, to whoever has got the fewest and can take another."""
    shares = [0] * len(available)
    for _ in range(total):
        open_ones = [i for i, most in enumerate(available) if shares[i] < most]
        shares[min(open_ones, key=lambda i: shares[i])] += 1
    return shares


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.data())
def test_shares_are_those_of_dealing_one_by_one(most, data) -> None:
    total = data.draw(st.integers(0, sum(most)))
    shares = even_shares(most, total)
    assert sum(shares) == total
    assert all(share <= m for share, m in zip(shares, most, strict=True))
    assert sorted(shares) == sorted(dealt_one_by_one(most, total))


def test_what_does_not_divide_goes_to_the_first() -> None:
    assert even_shares([5, 5, 5, 5], 10) == [3, 3, 2, 2]
    assert even_shares([1, 9, 9], 10) == [1, 5, 4]


@given(st.integers(1, 60), st.data())
def test_frames_of_a_scan_are_at_equal_steps(length, data) -> None:
    count = data.draw(st.integers(0, length))
    chosen = at_equal_steps(np.arange(length), count)
    assert len(set(chosen)) == count
    if count:
        middles = (np.arange(count) + 0.5) * length / count
        assert (np.abs(chosen + 0.5 - middles) <= 0.5).all()


@given(RECORDINGS, SEEDS, st.data())
def test_what_is_drawn_does_not_depend_on_pseudonyms(recordings, seed, data) -> None:
    patients = data.draw(st.integers(1, len(recordings)))
    config = PoolConfig(patients=patients, scans=2, frames=patients, seed=seed)
    names = data.draw(st.permutations(range(len(recordings))))
    pool, renamed = make_pool(recordings), make_pool(recordings)
    renamed.patient_of_frame = np.array([f"Q-{names[n]}" for n in pool.patient_number], dtype=object)
    assert np.array_equal(draw_pool(pool, config).row_of_frame, draw_pool(renamed, config).row_of_frame)


def test_another_seed_draws_other_patients_and_scans() -> None:
    pool = make_pool([[3] * 12] * 20)
    patients = {tuple(draw_pool(pool, PoolConfig(patients=5, seed=seed)).patients) for seed in (0, 0, 1, 2)}
    scans = {tuple(rows_by_scan(draw_pool(pool, PoolConfig(scans=3, seed=seed)))) for seed in (0, 0, 1, 2)}
    assert len(patients) == len(scans) == 3


def test_frames_of_several_stores_are_read_where_they_lie(tmp_path: Path) -> None:
    stores = [Store(write_store(tmp_path / str(seed), patients=3, frames=6, seed=seed)) for seed in (1, 2)]
    drawn = draw_pool(training_frames(stores), PoolConfig(frames=12))
    assert available(drawn) == [2] * 6
    for index in range(12):
        store, row = stores[drawn.store_of_frame[index]], drawn.row_of_frame[index]
        assert np.array_equal(drawn.read(index), store.read(np.array([row]))[0])
        assert row % 6 in (1, 4), "the middles of the two halves of a scan"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (PoolConfig(patients=4), "--pool.patients 4: 3 are there to learn from; give at most 3"),
        (PoolConfig(frames=31), "--pool.frames 31: 30 are there to choose from; give at most 30"),
        (PoolConfig(frames=16, frame_skip=2), "--pool.frames 16: 15 are there to choose from; give at most 15"),
        (PoolConfig(frames=2), "--pool.frames 2: each of the 3 patients gives at least one; give at least 3, or"),
    ],
)
def test_more_than_there_is_and_less_than_a_frame_a_patient_is_refused(config: PoolConfig, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        draw_pool(make_pool([[10], [6, 4], [10]]), config)


@pytest.mark.parametrize("name", ["patients", "scans", "frames", "frame_skip"])
def test_nothing_of_something_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"--pool.{name} 0: give at least 1"):
        PoolConfig(**{name: 0})


def test_fewer_frames_than_patients_are_refused_before_data_are_read() -> None:
    with pytest.raises(
        UserError, match=r"--pool\.frames 5: each of the 8 patients gives at least one, give at least 8"
    ):
        PoolConfig(patients=8, frames=5)
