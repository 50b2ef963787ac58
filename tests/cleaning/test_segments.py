"""Pieces of a recording: of one layout, of limited size, together the recording in its order."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoes import Pixels, polar, tissue
from sonolearn.cleaning.grey import Shot, layout_changed, pieces
from sonolearn.scans.scan import Frame

WIDE, NARROW = polar(96, 128, 20, 88, 0.6), polar(96, 128, 4, 60, 0.3)
LAYOUTS = {
    "wide": tissue(WIDE, 1)[0], "bright": np.full((96, 128), 180, np.uint8), "black": np.zeros((96, 128), np.uint8)
}  # fmt: skip


def frames_of(pictures: list[Pixels]) -> Iterator[Frame]:
    yield from (Frame(index, index / 10, pixels) for index, pixels in enumerate(pictures))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(sorted(LAYOUTS)), st.integers(1, 70)), max_size=6))
def test_pieces_are_the_frames_in_their_order_cut_wherever_the_layout_changes(runs: list[tuple[str, int]]) -> None:
    names = [name for name, count in runs for _ in range(count)]
    found = list(pieces(frames_of([LAYOUTS[name] for name in names])))
    assert [shot.frame.index for shots, _ in found for shot in shots] == list(range(len(names)))
    for shots, goes_on in found:
        first = shots[0].frame.index
        assert len({names[shot.frame.index] for shot in shots}) == 1
        assert goes_on == (first > 0 and names[first - 1] == names[first])


def test_moving_tissue_and_a_new_mark_are_no_new_layout() -> None:
    moving = list(tissue(WIDE, 20))
    for frame in moving[10:]:
        cv2.putText(frame, "LV", (50, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    assert [len(shots) for shots, _ in pieces(frames_of(moving))] == [20]


def test_another_size_of_the_picture_is_a_new_layout() -> None:
    pictures = [*tissue(WIDE, 5), *tissue(NARROW, 7)]
    assert [(len(shots), goes_on) for shots, goes_on in pieces(frames_of(pictures))] == [(5, False), (7, False)]


@pytest.mark.parametrize("shape", [(96, 128), (1000, 1500), (3000, 4000)])
def test_a_piece_holds_a_hundred_megabytes_or_four_frames_and_one_frame_at_most(shape: tuple[int, int]) -> None:
    picture = np.full(shape, 60, np.uint8)
    largest, total = 0, 0
    for shots, _ in pieces(Frame(n, 0.0, picture.copy()) for n in range(12 if shape[0] > 2000 else 130)):
        held = sum(shot.luma.nbytes for shot in shots)
        assert held - picture.nbytes <= 100e6 or len(shots) <= 4
        largest, total = max(largest, len(shots)), total + len(shots)
    assert total == (12 if shape[0] > 2000 else 130)
    assert largest < total


def test_a_piece_is_given_before_the_next_one_is_read() -> None:
    read: list[int] = []

    def source() -> Iterator[Frame]:
        for index in range(1000):
            read.append(index)
            yield Frame(index, index / 10, LAYOUTS["wide"])

    shots, _ = next(pieces(source()))
    assert len(read) <= len(shots) + 1 < 100


def test_a_shot_has_luma_and_the_colour_if_there_is_any() -> None:
    rgb = np.repeat(LAYOUTS["wide"][..., None], 3, axis=2)
    assert Shot(Frame(0, 0.0, rgb)).chroma is None
    rgb[40:50, 60:70] = (200, 30, 30)
    shot = Shot(Frame(0, 0.0, rgb))
    expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    assert shot.chroma is not None
    assert np.array_equal(shot.luma, expected[..., 0])
    assert np.array_equal(shot.chroma, expected[..., [2, 1]])


def test_no_frames_are_no_pieces() -> None:
    assert list(pieces(iter(()))) == []


@settings(max_examples=60)
@given(
    st.sampled_from([(96, 128), (100, 131), (20, 28), (24, 32)]),
    st.integers(0, 60),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_a_layout_changed_where_a_third_of_the_cells_did(
    size: tuple[int, int], change: int, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    before = random.integers(0, 190, size).astype(np.uint8)
    now = before.copy()
    now[: round(share * size[0])] += np.uint8(change)
    cells = [cv2.resize(screen, (32, 24), interpolation=cv2.INTER_AREA).astype(int) for screen in (before, now)]
    assert layout_changed(before, now) == (np.mean(np.abs(cells[0] - cells[1]) > 20) > 0.3)


def test_cells_are_compared_only_where_many_pixels_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[int] = []
    monkeypatch.setattr(cv2, "resize", lambda *a, real=cv2.resize, **k: scaled.append(1) or real(*a, **k))
    live = tissue(WIDE, 2, pace=1)
    assert not layout_changed(live[0], np.clip(live[0].astype(int) + 5, 0, 255).astype(np.uint8))
    assert scaled == []
    assert layout_changed(LAYOUTS["bright"], LAYOUTS["black"])
    assert len(scaled) == 2
