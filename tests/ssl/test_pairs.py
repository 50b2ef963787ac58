"""Pairs: what each method is shown, and which other frame the second view comes from."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonolearn.console import UserError
from sonolearn.runs import generator_for
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.ssl.loader import Neighbours, PairMaker
from sonolearn.ssl.pretrain import pretrain
from sonolearn.ssl.views import fan, make_view, ultrasound
from sonolearn.store.store import FRAMES, Store
from ssl_methods import small
from stores import write_store


class Scans:
    """What `Neighbours` needs of a pool."""

    def __init__(self, scan: list[int], time: list[float]) -> None:
        self.scan_of_frame, self.time_of_frame = np.array(scan), np.array(time)

    def __len__(self) -> int:
        return len(self.scan_of_frame)


frames_of_scans = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.just(float("nan")), st.integers(0, 40).map(lambda n: n / 10))),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200)
@given(frames=frames_of_scans, seconds=st.sampled_from([0.1, 0.5, 1.0]))
def test_neighbours_are_all_other_frames_of_the_scan_within_the_time_and_no_others(frames, seconds) -> None:
    scan, time = zip(*frames, strict=True)
    neighbours = Neighbours(Scans(list(scan), list(time)), seconds)  # type: ignore[arg-type]
    for one in range(len(scan)):
        expected = [
            other
            for other in range(len(scan))
            if other != one and scan[other] == scan[one] and abs(time[other] - time[one]) <= seconds + 1e-6
        ]
        assert list(neighbours.of(one)) == expected
        drawn = neighbours.draw(one, np.random.default_rng(one))
        assert drawn in expected or (not expected and drawn == one)


def test_each_neighbour_is_drawn_equally_often() -> None:
    neighbours = Neighbours(Scans([0] * 9, [i / 10 for i in range(9)]), 0.2)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    counts = np.bincount([neighbours.draw(4, rng) for _ in range(4000)], minlength=9)
    assert list(np.flatnonzero(counts)) == [2, 3, 5, 6]
    assert counts[[2, 3, 5, 6]].min() > 900


@pytest.fixture
def pool(tmp_path: Path) -> FramePool:
    stores = [Store(write_store(tmp_path / str(seed), patients=2, frames=6, seed=seed)) for seed in (0, 1)]
    return training_frames(stores)


def test_the_pool_knows_scan_and_time_of_its_frames_over_stores(pool: FramePool) -> None:
    assert list(pool.scan_of_frame) == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    np.testing.assert_allclose(pool.time_of_frame, np.tile(np.arange(6) / 10, 4), atol=1e-6)
    some = pool.of(pool.patient_of_frame == pool.patients[2])
    assert list(some.scan_of_frame) == [2] * 6


def test_views_of_nearby_frames_come_from_two_frames_of_one_scan(pool: FramePool) -> None:
    config = small("simclr", positives={"name": "nearby_frames", "seconds": 0.15})
    pairs = PairMaker(pool, config, "two_views")
    for sample in range(len(pool)):
        one, other = pairs.sources(3, sample)
        numbers = [next(i for i in range(len(pool)) if np.array_equal(pool.read(i), f)) for f in (one, other)]
        assert numbers[0] == sample
        assert abs(numbers[1] - sample) == 1
        assert pool.scan_of_frame[numbers[0]] == pool.scan_of_frame[numbers[1]]


def test_the_other_frame_changes_from_epoch_to_epoch_and_leaves_the_first_view_as_it_was(pool: FramePool) -> None:
    nearby = PairMaker(pool, small("simclr", positives={"name": "nearby_frames"}), "two_views")
    same = PairMaker(pool, small("simclr"), "two_views")
    others = {nearby.sources(epoch, 2)[1].tobytes() for epoch in range(8)}
    assert len(others) > 2
    assert np.array_equal(nearby.make(0, 2)[0], same.make(0, 2)[0])
    assert not np.array_equal(nearby.make(0, 2)[1], same.make(0, 2)[1])


def test_an_autoencoder_sees_one_view_and_other_methods_two(pool: FramePool) -> None:
    assert len(PairMaker(pool, small("autoencoder"), "one_view").make(0, 0)) == 1
    assert len(PairMaker(pool, small("inpainting"), "erased_view").make(0, 0)) == 2
    assert len(PairMaker(pool, small("byol"), "two_views").make(0, 0)) == 2


@pytest.mark.parametrize(("positives", "times"), [("same_frame", 1), ("nearby_frames", 2)])
def test_beams_are_found_once_for_each_frame_and_views_are_as_if_found_for_each_view(
    pool: FramePool, positives: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(ultrasound, "find_beams", lambda lit: found.append(lit) or fan.find_beams(lit))
    always = {"name": "ultrasound", "attenuation": 1.0, "haze": 1.0, "speckle": 1.0}
    config = small("simclr", positives={"name": positives}, views=always)
    pairs = PairMaker(pool, config, "two_views")
    made = [pairs.make(1, sample) for sample in range(6)]
    assert len(found) == 6 * times
    for sample, views in enumerate(made):
        sources, rng = pairs.sources(1, sample), generator_for(config.seed, "views", 1, sample)
        frames = (sources[0], sources[-1])
        alone = [make_view(frame, 32, config.views, which, rng) for which, frame in enumerate(frames)]
        assert np.array_equal(views, alone)


def test_a_store_of_stills_has_no_nearby_frames_and_says_what_to_do(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "stills")
    with h5py.File(folder / FRAMES, "a") as h5:
        h5["time"][:] = np.nan
    config = small("simclr", positives={"name": "nearby_frames"})
    with pytest.raises(UserError, match=r"no frame has another of its scan within 0\.5 s; give a larger"):
        pretrain([folder], tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_frames_without_a_neighbour_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_store(tmp_path / "store")
    with h5py.File(folder / FRAMES, "a") as h5:
        h5["time"][:8] = np.nan
    config = small("simclr", positives={"name": "nearby_frames"}, max_steps=1, valid_patients=0)
    pretrain([folder], tmp_path / "run", config)
    assert "8 of 48 frames have no other within 0.5 s" in capsys.readouterr().err
