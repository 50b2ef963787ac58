"""Cleaning takes whatever a reader can give: it ends with clean frames, or with a known reason in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from media import fan, speckle, write_dicom, write_still, write_video
from sonolearn.cleaning.clean import Cleaned, clean
from sonolearn.cleaning.pictures import sheet_of, text_crops
from sonolearn.config import CleaningConfig
from sonolearn.config.data import REASONS
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Frame, Region, Rejected, Scan

Pixels = NDArray[np.uint8]
KEEP_ALL = CleaningConfig(reject=(), least_change=0)
SIZE = 32
SIDES = st.one_of(st.integers(1, 9), st.integers(10, 130))


def scan_of(frames: Sequence[Pixels], chroma: Pixels | None = None, regions: tuple[Region, ...] = ()) -> Scan:
    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        yield from (Frame(i, i / 10, pixels, chroma) for i, pixels in enumerate(frames) if takes(i))

    return Scan("video", *frames[0].shape[:2], read, count=len(frames), regions=regions)


def outcome(scan: Scan, config: CleaningConfig | None = None) -> tuple[list[Pixels], str, Cleaned]:
    """Clean frames and no reason, or the reason why there are none; all that can be said of any of them is checked."""
    cleaned = clean(scan, SIZE, config=config)
    frames: list[Pixels] = []
    reason = message = ""
    try:
        frames += [frame.pixels for frame in cleaned.frames]
    except Rejected as rejected:
        reason, message = rejected.reason, rejected.message
    assert reason in {"", *REASONS, "no_frames", "size_changes", "unsupported"}
    assert not reason or len(message.split()) >= 3
    assert all(frame.shape == (SIZE, SIZE) and frame.dtype == np.uint8 for frame in frames)
    assert bool(frames) != bool(reason)
    assert len(frames) + cleaned.refused.total() == cleaned.taken
    assert 0 <= cleaned.marked <= 1
    if cleaned.taken:
        assert 1 <= len(cleaned.examples) <= 3
        assert sheet_of(cleaned.examples)[:2] == b"\xff\xd8"
        text_crops(cleaned.examples)
    return frames, reason, cleaned


@st.composite
def pictures(draw: st.DrawFn) -> list[Pixels]:
    """A few frames of one size, of one kind of content, grey or RGB."""
    height, width, count = draw(SIDES), draw(SIDES), draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    content = draw(st.sampled_from(["flat", "noise", "fan", "steps", "stripes", "still noise"]))
    if content == "flat":
        frames = np.full((count, height, width), draw(st.integers(0, 255)), np.uint8)
    elif content == "fan":
        frames = fan(count, height, width)
    elif content == "steps":
        frames = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (count, height, width))
    elif content == "stripes":
        frames = np.broadcast_to(np.uint8(255) * (np.arange(width) // 2 % 2).astype(np.uint8), (count, height, width))
    else:
        frames = random.integers(0, 256, (1 if content == "still noise" else count, height, width)).astype(np.uint8)
        frames = np.broadcast_to(frames, (count, height, width))
    if draw(st.booleans()):
        tint = draw(st.sampled_from([(1, 1, 1), (1, 0.5, 0), (0, 0, 1)]))
        frames = (frames[..., None] * np.array(tint)).astype(np.uint8)
    return [np.ascontiguousarray(frame) for frame in frames]


numbers = st.integers(-50, 400)
regions = st.builds(
    Region, st.integers(0, 6), st.integers(0, 20), numbers, numbers, numbers, numbers, st.sampled_from([None, 0.2])
)
configs = st.builds(
    CleaningConfig,
    sector=st.booleans(), marks=st.sampled_from(["telea", "navier_stokes", "keep"]),
    reject=st.sampled_from([REASONS, (), ("blank",), ("doppler", "frozen")]),
    least_change=st.sampled_from([0.0, 0.01, 1.0]), smallest=st.sampled_from([0, 64]),
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(pictures(), st.lists(regions, max_size=3), configs)
def test_frames_of_any_size_and_content_have_one_outcome(
    frames: list[Pixels], regions: list[Region], config: CleaningConfig
) -> None:
    found, _, _ = outcome(scan_of(frames, regions=tuple(regions)), config)
    if not config.reject and config.least_change == 0:
        assert len(found) == len(frames)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 120), st.integers(2, 120), st.integers(1, 5), st.booleans(), configs)
def test_videos_with_colour_at_half_the_size_have_one_outcome(
    height: int, width: int, count: int, coloured: bool, config: CleaningConfig
) -> None:
    chroma = np.full(((height + 1) // 2, (width + 1) // 2, 2), 128, np.uint8)
    if coloured:
        chroma[chroma.shape[0] // 2 :] = (90, 220)
    outcome(scan_of(list(fan(count, height, width)), chroma), config)


@pytest.mark.parametrize("config", [CleaningConfig(), KEEP_ALL], ids=["default", "keep all"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (241, 319)])
def test_screens_of_hardly_any_pixels_and_of_odd_sides(
    shape: tuple[int, int], colours: int, config: CleaningConfig
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, colours)).astype(np.uint8)
    frames, reason, _ = outcome(scan_of([noise[..., 0] if colours == 1 else noise]), config)
    assert len(frames) == 1 if config == KEEP_ALL else frames or reason


@pytest.mark.slow
def test_a_screen_of_twenty_million_pixels() -> None:
    frames, reason, _ = outcome(scan_of([fan(1, 4000, 5000)[0]]))
    assert len(frames) == 1
    assert not reason


@pytest.mark.parametrize(("grey", "reason"), [(0, "blank"), (255, "blank"), (7, "blank")])
def test_a_screen_of_one_grey_is_refused_as_what_it_is(grey: int, reason: str) -> None:
    assert outcome(scan_of([np.full((240, 320), grey, np.uint8)] * 3))[1] == reason


def test_a_recording_without_frames_is_refused() -> None:
    scan = Scan("video", 240, 320, lambda takes, colour: iter(()))
    assert outcome(scan)[1] == "no_frames"


def test_a_clip_whose_layout_changes_keeps_what_is_good_of_it() -> None:
    wide = fan(10, 240, 320, seed=1)
    moved = np.roll(fan(10, 240, 320, seed=2) // 2, 60, axis=2)
    menu = np.zeros((5, 240, 320), np.uint8)
    frames, _, cleaned = outcome(scan_of([*wide, *menu, *moved]))
    assert len(frames) >= 10
    assert cleaned.refused.total() >= 5


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_stills_of_any_mode_have_one_outcome(mode: str, tmp_path: Path) -> None:
    grey = fan(1, 241, 319)[0]
    file = tmp_path / ("a.tif" if mode in ("CMYK", "F") else "a.png")
    still = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    still.save(file)
    frames, reason, _ = outcome(open_scan(file))
    assert reason == ("unsupported" if mode == "F" else "") or mode == "1"
    if mode in ("L", "LA", "P", "RGB", "RGBA", "I;16"):
        (expected,), _, _ = outcome(scan_of([grey]))
        assert np.abs(frames[0].astype(int) - expected).mean() < 3


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_dicom_with_whole_planes_is_what_it_is_with_pixels(
    photometric: str, planar: int, tmp_path: Path
) -> None:
    grey = fan(3, 240, 320)
    colour = np.repeat(grey[..., None], 3, axis=3)
    if photometric == "YBR_FULL":
        colour[..., 1:] = 128
    stored = np.ascontiguousarray(colour.transpose(0, 3, 1, 2)) if planar else colour
    file = write_dicom(
        tmp_path / "a.dcm", colour, PhotometricInterpretation=photometric, PlanarConfiguration=planar,
        PixelData=stored.tobytes(),
    )  # fmt: skip
    (first, *_), _, _ = outcome(open_scan(file))
    (expected, *_), _, _ = outcome(scan_of(list(grey)))
    assert np.abs(first.astype(int) - expected).max() <= 1


def test_monochrome1_is_turned_round(tmp_path: Path) -> None:
    grey = fan(3, 240, 320)
    file = write_dicom(tmp_path / "a.dcm", 255 - grey, PhotometricInterpretation="MONOCHROME1")
    frames, _, _ = outcome(open_scan(file))
    expected, _, _ = outcome(scan_of(list(grey)))
    assert np.array_equal(frames, expected)


def test_a_sequence_whose_size_changes_is_refused(tmp_path: Path) -> None:
    write_still(tmp_path / "f_1.png", 1)
    write_still(tmp_path / "f_2.png", 2, 120, 160)
    assert outcome(open_scan(tmp_path))[1] == "size_changes"


def test_a_video_of_odd_size_is_cleaned(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.avi", speckle(4, 97, 129), "ffv1", "gray")
    assert len(outcome(open_scan(file), KEEP_ALL)[0]) == 4
