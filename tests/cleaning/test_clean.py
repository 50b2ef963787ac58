"""The complete workflow, on trial scans whose truth is known to the pixel, and on drawn ones."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from benchmarks.trials import Trial, trial
from benchmarks.trials.plan import COUNT, plan_of
from echoes import Pixels, polar, scan_of, tissue
from sonolearn.cleaning.clean import Cleaned, clean
from sonolearn.cleaning.grey import fit
from sonolearn.config import CleaningConfig
from sonolearn.config.data import REASONS
from sonolearn.scans.scan import Frame, Region, Rejected, Scan

SIZE = 96
NUMBERS = {mode: number for number in range(COUNT - 1, -1, -1) for mode in [plan_of(number).mode]}
"""The first trial of each mode."""
KEEP_ALL = CleaningConfig(sector=False, marks="keep", reject=(), least_change=0)
FAN = polar(240, 320, 40, 210, 0.6)
LIVE = tissue(FAN, 12)


@cache
def shown(mode: str) -> Trial:
    return trial(NUMBERS[mode], frames=12, height=240, width=320)


def read(scan: Scan, config: CleaningConfig | None = None, size: int = SIZE) -> tuple[list[Frame], Cleaned]:
    cleaned = clean(scan, size, config=config)
    return list(cleaned.frames), cleaned


def reason(scan: Scan, config: CleaningConfig | None = None) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        read(scan, config)
    return caught.value.reason, caught.value.message


def pixels(frames: list[Frame]) -> Pixels:
    return np.stack([frame.pixels for frame in frames])


@pytest.mark.parametrize("mode", sorted(set(NUMBERS) - {"quad"}))  # it takes longest and is split, too
def test_frames_are_left_out_for_what_they_show(mode: str) -> None:
    truth = shown(mode)
    scan = scan_of(truth.frames, fps=truth.fps)
    good = [number for number, verdict in enumerate(truth.verdicts) if not verdict]
    if good:
        frames, cleaned = read(scan)
        assert [frame.index for frame in frames] == good
        assert cleaned.refused == {verdict: truth.verdicts.count(verdict) for verdict in set(truth.verdicts) - {""}}
    else:
        assert reason(scan)[0] == truth.verdicts[0]


@pytest.mark.parametrize("number", [3, 5, 6])
def test_everything_outside_the_sector_is_black(number: int) -> None:
    truth = trial(number, frames=8, height=240, width=320)
    frames, cleaned = read(scan_of(truth.frames, fps=truth.fps))
    assert cleaned.sector is not None
    near = cv2.dilate(truth.sector.astype(np.uint8), np.ones((11, 11), np.uint8))
    outside = fit(cleaned.sector.crop(near) * np.uint8(255), SIZE) == 0
    assert outside.any()
    assert not pixels(frames)[:, outside].any()
    inside = fit(cleaned.sector.crop(truth.sector) * np.uint8(255), SIZE) > 200
    assert np.median(pixels(frames)[:, inside]) > 5


def test_text_beside_the_picture_changes_nothing() -> None:
    written = LIVE.copy()
    for frame in written:
        cv2.putText(frame, "Anna 12:30", (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
        frame[60:200, 310:316] = 128
    assert np.array_equal(pixels(read(scan_of(written))[0]), pixels(read(scan_of(LIVE))[0]))


def test_marks_are_filled_close_to_what_was_under_them() -> None:
    written, ink = LIVE.copy(), np.zeros(FAN.shape, np.uint8)
    cv2.drawMarker(ink, (150, 120), 255, cv2.MARKER_CROSS, 13, 2)
    cv2.putText(ink, "LV", (140, 180), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    written[:, ink > 128] = 255
    (filled, cleaned), (kept, _) = read(scan_of(written)), read(scan_of(written), CleaningConfig(marks="keep"))
    under = pixels(read(scan_of(LIVE))[0]).astype(float)
    assert cleaned.sector is not None
    near = fit(cleaned.sector.crop(cv2.dilate(ink, np.ones((7, 7), np.uint8))), SIZE) > 0
    marked = fit(cleaned.sector.crop(ink), SIZE) > 128
    assert np.array_equal(pixels(filled)[:, ~near], pixels(kept)[:, ~near])
    wrong = [np.abs(pixels(frames)[:, marked] - under[:, marked]).mean() for frames in (filled, kept)]
    assert wrong[0] < 0.4 * wrong[1]
    assert 0 < cleaned.marked < 0.05


def test_dim_coloured_strokes_that_come_and_go_are_filled() -> None:
    """Nothing but their colour tells them: they are no brighter than tissue, and do not stand still."""
    written, ink = np.stack([LIVE] * 3, axis=-1), np.zeros(FAN.shape, np.uint8)
    cv2.line(ink, (130, 100), (130, 160), 255, 2)
    written[::2, ink > 0] = (0, 60, 220)
    (filled, cleaned), (kept, _) = read(scan_of(written)), read(scan_of(written), CleaningConfig(marks="keep"))
    assert cleaned.sector is not None
    marked = fit(cleaned.sector.crop(ink), SIZE) > 128
    assert marked.any()
    assert (pixels(filled)[::2, marked] != pixels(kept)[::2, marked]).mean() > 0.8
    assert np.array_equal(pixels(filled)[1::2], pixels(kept)[1::2])


def test_the_good_part_of_a_scan_that_changes_midway_is_kept() -> None:
    menu, other = shown("menu").frames[:6], tissue(polar(240, 320, 5, 180, 0.5), 12, seed=3)
    frames, cleaned = read(scan_of([*LIVE, *(frame[..., 0] for frame in menu), *other]))
    assert [frame.index for frame in frames] == [*range(12), *range(18, 30)]
    assert cleaned.refused == {"menu": 6}
    assert cleaned.taken == 30


@pytest.mark.parametrize("mode", ["good", "colour", "menu"])
def test_with_all_switched_off_frames_are_only_grey_and_scaled(mode: str) -> None:
    truth = shown(mode)
    frames, cleaned = read(scan_of(truth.frames), KEEP_ALL)
    expected = [fit(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), SIZE) for frame in truth.frames]
    assert np.abs(pixels(frames).astype(int) - expected).max() <= 1
    assert not cleaned.refused
    assert cleaned.marked == 0


@pytest.mark.parametrize("mode", sorted(set(NUMBERS) - {"good", "layout", "power", "quad", "m-mode"}))
def test_each_reason_can_be_switched_off(mode: str) -> None:
    truth = shown(mode)
    verdict = next(filter(None, truth.verdicts))
    frames, cleaned = read(scan_of(truth.frames), CleaningConfig(reject=()))
    assert len(frames) == 12
    assert not cleaned.refused
    rest = clean(scan_of(truth.frames), SIZE, config=CleaningConfig(reject=tuple(r for r in REASONS if r != verdict)))
    with contextlib.suppress(Rejected):  # there may be other reasons
        list(rest.frames)
    assert rest.taken == 12
    assert rest.refused[verdict] == 0


def test_without_the_sector_the_whole_screen_is_kept_and_marks_are_still_filled() -> None:
    written = LIVE.copy()
    for frame in written:
        cv2.putText(frame, "Gain 40", (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    frames, cleaned = read(scan_of(written), CleaningConfig(sector=False, marks="keep"), 320)
    assert np.array_equal(pixels(frames)[:, 40:280], written)
    assert cleaned.sector is not None
    assert cleaned.sector.source == "whole"


def test_a_picture_that_is_too_small_is_left_out_by_its_shorter_side() -> None:
    tiny = tissue(polar(240, 320, 20, 110, 0.35), 8)
    shorter = int(min(np.ptp(np.argwhere(tiny[0]), axis=0))) + 1
    assert reason(scan_of(tiny), CleaningConfig(smallest=shorter + 6))[0] == "small"
    assert len(read(scan_of(tiny), CleaningConfig(smallest=shorter - 6))[0]) == 8


def test_nearly_equal_frames_are_thinned() -> None:
    twice = LIVE.repeat(2, axis=0)
    frames, cleaned = read(scan_of(twice), CleaningConfig(reject=(), marks="keep", least_change=0.01))
    assert [frame.index for frame in frames] == list(range(0, 24, 2))
    assert cleaned.refused == {"alike": 12}
    few, _ = read(scan_of(twice), CleaningConfig(reject=(), marks="keep", least_change=1))
    assert [frame.index for frame in few] == [0]


def test_chosen_frames_only_and_every_nth() -> None:
    scan = scan_of(LIVE)
    assert [frame.index for frame in clean(scan, SIZE, only=[1, 4, 7]).frames] == [1, 4, 7]
    frames = list(clean(scan, SIZE, step=5).frames)
    assert [frame.index for frame in frames] == [0, 5, 10]
    assert [frame.time for frame in frames] == [0.0, 0.5, 1.0]
    assert all(frame.pixels.shape == (SIZE, SIZE) and frame.pixels.dtype == np.uint8 for frame in frames)
    assert all(frame.chroma is None for frame in frames)


def test_chosen_frames_are_kept_however_alike_they_are() -> None:
    config = CleaningConfig(reject=(), marks="keep", least_change=1)
    assert [frame.index for frame in clean(scan_of(LIVE), SIZE, only=[1, 4, 7], config=config).frames] == [1, 4, 7]


def test_colour_beside_luma_says_the_same_as_rgb() -> None:
    truth = shown("colour")
    planes = [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in truth.frames]
    luma = [np.ascontiguousarray(plane[..., 0]) for plane in planes]
    chroma = [np.ascontiguousarray(plane[::2, ::2, 2:0:-1]) for plane in planes]
    assert (
        reason(scan_of(luma, chroma, fps=truth.fps))[0] == reason(scan_of(truth.frames, fps=truth.fps))[0] == "doppler"
    )


def test_a_freeze_is_known_across_the_border_of_two_pieces() -> None:
    live = tissue(FAN, 46)
    frames, cleaned = read(scan_of([*live, *[live[-1]] * 12]))
    assert [frame.index for frame in frames] == list(range(46))
    assert cleaned.refused == {"frozen": 12}


def test_a_frame_does_not_depend_on_what_comes_a_piece_later() -> None:
    later = [*(LIVE // 2), *tissue(polar(240, 320, 5, 180, 0.5), 12, seed=3)]
    first = list(tissue(FAN, 96, pace=2))
    short, _ = read(scan_of(first))
    longer, _ = read(scan_of([*first, *later]))
    assert np.array_equal(pixels(short)[:48], pixels(longer)[:48])


def peak_memory(count: int) -> int:
    some = tissue(polar(120, 160, 20, 105, 0.6), 24)

    def source(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        yield from (Frame(index, index / 10, some[index % 24].copy()) for index in range(count) if takes(index))

    tracemalloc.start()
    try:
        for _ in clean(Scan("video", 120, 160, source, count=count), SIZE).frames:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length_of_a_scan() -> None:
    short = peak_memory(110)
    assert peak_memory(500) < 1.1 * short


def test_the_scale_is_the_machines_by_the_factor_of_the_picture() -> None:
    rows, columns = FAN.any(axis=1).nonzero()[0], FAN.any(axis=0).nonzero()[0]
    region = Region(1, 1, columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, mm_per_px=0.2)
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    _, cleaned = read(scan_of(LIVE, regions=(region,)))
    assert cleaned.mm_per_px == pytest.approx(0.2 * longer / SIZE, rel=0.04)
    _, unknown = read(scan_of(LIVE))
    assert unknown.mm_per_px is None
    _, spaced = read(replace(scan_of(LIVE), mm_per_px=0.5))
    assert spaced.mm_per_px == pytest.approx(0.5 * longer / SIZE, rel=0.04)


def test_where_the_picture_changes_its_size_midway_the_scale_is_unknown() -> None:
    other = tissue(polar(240, 320, 5, 180, 0.5), 12, seed=3)
    black = np.zeros((3, 240, 320), np.uint8)
    _, cleaned = read(replace(scan_of([*LIVE, *black, *other]), mm_per_px=0.5))
    assert cleaned.mm_per_px is None


def test_the_scale_of_the_whole_screen_is_known_however_long_the_scan() -> None:
    scan = replace(scan_of(tissue(FAN, 50)), mm_per_px=0.5)  # two pieces
    frames, cleaned = read(scan, CleaningConfig(sector=False, marks="keep", reject=()))
    assert len(frames) == 50
    assert cleaned.mm_per_px == pytest.approx(0.5 * 320 / SIZE)


def test_the_reason_of_a_scan_is_that_of_most_frames() -> None:
    black = [np.zeros((240, 320), np.uint8)] * 3
    code, message = reason(scan_of([*black, *(frame[..., 0] for frame in shown("menu").frames)]))
    assert code == "menu"
    assert "12 of 15 frames" in message


def test_examples_show_frames_before_and_after() -> None:
    _, cleaned = read(scan_of(LIVE))
    for example in cleaned.examples:
        assert example.screen.shape == (240, 320)
        assert example.clean is not None
        assert example.clean.shape == (SIZE, SIZE)
        assert example.sector is not None
    scan = scan_of(shown("menu").frames)
    refused = clean(scan, SIZE)
    with pytest.raises(Rejected):
        list(refused.frames)
    assert [example.clean for example in refused.examples] == [None]
