"""The rows on `prepare`: both sides take the same frames of the same clips."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import prepare as script
from benchmarks.figure import Row
from sonolearn.scans.video import open_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    return script.lengthened(script.rendered(0, folder, quick=True), folder / "long.mp4", 43)


def test_rows_are_of_both_numbers_of_frames_and_of_two_processes() -> None:
    found: list[Row] = list(script.rows(quick=True))
    assert [row.target for row in found] == [0.5, None, 1.8]
    assert ["frame_skip 5" in found[0].figure, "frame_skip 1" in found[1].figure] == [True, True]
    assert "two processes" in found[2].figure
    for row in found:
        assert row.ratio is not None
        assert math.isfinite(row.ratio)
        assert row.bound == "at least"


def test_a_longer_clip_has_the_frames_asked_for(clip: Path) -> None:
    frames = list(open_video(clip).frames())
    assert [frame.index for frame in frames] == list(range(43))
    times = [frame.time for frame in frames]
    assert times == sorted(times)


@pytest.mark.parametrize("skip", [1, 5])
def test_the_ceiling_decodes_the_frames_that_prepare_takes(clip: Path, tmp_path: Path, skip: int) -> None:
    store = script.prepared([clip], tmp_path / "out", frame_skip=skip)
    assert store.scans["taken"].tolist() == [script.decode(clip, skip)] == [math.ceil(43 / skip)]


def test_recordings_for_two_processes_differ_in_their_content(clip: Path, tmp_path: Path) -> None:
    scans = script.many([clip], tmp_path / "many", quick=True)
    assert len({scan.read_bytes() for scan in scans}) == len(scans) == 2
