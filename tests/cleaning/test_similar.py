"""Copies of a still are found whatever was done to them, different stills are not; still frames are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from sonolearn.cleaning.grey import fit
from sonolearn.cleaning.similar import Print, Thinner, fingerprint, near_pairs, same_picture
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.scans.scan import Pixels

SIZE = 256


def still(anatomy: int, speckle: int = 0) -> Pixels:
    """A picture of speckle in a round field; one anatomy with another speckle is another moment of one view."""
    shape = gaussian_filter(np.random.default_rng(anatomy).normal(size=(SIZE, SIZE)), 16)
    grain = gaussian_filter(np.random.default_rng((anatomy, speckle)).normal(size=(SIZE, SIZE)), 2)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    grey = 110 + 45 * shape / shape.std() + 14 * grain / grain.std()
    return np.where(x**2 + y**2 < (0.48 * SIZE) ** 2, grey.clip(1, 255), 0).astype(np.uint8)


def compressed(grey: Pixels) -> Pixels:
    written = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_GRAYSCALE), np.uint8)


def resized(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda grey: fit(np.asarray(cv2.resize(grey, None, fx=factor, fy=factor), np.uint8), SIZE)


def toned(gain: float, offset: float) -> Callable[[Pixels], Pixels]:
    return lambda grey: np.where(grey > 0, (grey.astype(float) * gain + offset).clip(0, 255), 0).astype(np.uint8)


def cropped(grey: Pixels) -> Pixels:
    return np.asarray(cv2.resize(grey[1:, :-1], (SIZE, SIZE)), np.uint8)


def with_text(grey: Pixels) -> Pixels:
    return np.asarray(cv2.putText(grey.copy(), "BPD 48 mm", (150, 215), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255), np.uint8)


COPIES = {
    "compressed": compressed, "halved": resized(0.5), "doubled": resized(2), "brighter": toned(1, 25),
    "darker": toned(1, -25), "more contrast": toned(1.1, 0), "less contrast": toned(0.9, 0),
    "cropped by a pixel": cropped, "text on it": with_text,
    "compressed, cropped, less contrast": lambda grey: compressed(cropped(toned(0.9, 0)(grey))),
}  # fmt: skip


def bits_between(first: Print, second: Print) -> int:
    return sum((int(a) ^ int(b)).bit_count() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("made", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_found(made: Callable[[Pixels], Pixels]) -> None:
    for number in range(5):
        original = still(number)
        copy = made(original)
        assert bits_between(fingerprint(original), fingerprint(copy)) <= THRESHOLDS.similar.near
        assert same_picture(original, copy)


def test_a_box_over_it_and_a_wider_cut_do_not_make_another_picture() -> None:
    original = still(0)
    boxed = original.copy()
    boxed[180:240, 130:240] = 0
    assert same_picture(original, boxed)
    assert same_picture(original, np.asarray(cv2.resize(boxed[:-10], (SIZE, SIZE)), np.uint8))


def test_another_picture_is_not_near() -> None:
    assert near_pairs(np.stack([fingerprint(still(number)) for number in range(60)])) == []


def test_another_moment_of_one_view_is_near_but_not_the_same_picture() -> None:
    first, second = still(0), still(0, speckle=1)
    assert near_pairs(np.stack([fingerprint(first), fingerprint(second)])) == [(0, 1)]
    assert not same_picture(first, second)


def test_pictures_of_nothing_are_not_the_same() -> None:
    nothing = np.zeros((SIZE, SIZE), np.uint8)
    assert not same_picture(nothing, nothing)
    assert not same_picture(nothing, still(0))


def test_a_print_is_the_signs_of_the_lowest_frequencies_by_scipy() -> None:
    grey = still(3)
    waves = dctn(grey.reshape(64, 4, 64, 4).mean(axis=(1, 3)), norm="ortho")[:16, :16].ravel()
    expected = waves[1:] > np.median(waves[1:])
    bits = np.unpackbits(fingerprint(grey).view(np.uint8))
    # Shrinking rounds to whole grey levels, which can turn the frequencies nearest to the median.
    assert bits.shape == (256,)
    assert np.count_nonzero(bits[1:] != expected) <= 6


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 256), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_near_pairs_are_those_of_brute_force(count: int, limit: int, seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    prints = rng.integers(0, 2**64, (count, 4), dtype=np.uint64)
    for i in range(0, count - 1, 3):  # some near ones: a few bits of the next print
        prints[i] = prints[i + 1] ^ (np.uint64(1) << rng.integers(0, 64, 4, dtype=np.uint64))
    expected = [(i, j) for i, j in combinations(range(count), 2) if bits_between(prints[i], prints[j]) <= limit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonolearn.cleaning.similar.SIMILAR", replace(THRESHOLDS.similar, block=block))
        assert near_pairs(prints, limit) == expected


def passes_second(first: Pixels, second: Pixels, asked: float) -> bool:
    thinner = Thinner(asked)
    thinner.keeps(first)
    return thinner.keeps(second)


def test_a_frame_is_kept_if_it_differs_by_more_than_asked() -> None:
    levels = [100, 100, 104, 110, 111, 121, 100]
    frames = [np.full((SIZE, SIZE), level, np.uint8) for level in levels]
    for asked, kept in ((0.0, [100, 104, 110, 111, 121, 100]), (9.5 / 255, [100, 110, 121, 100]), (1.0, [100])):
        thinner = Thinner(asked)
        assert [level for level, frame in zip(levels, frames, strict=True) if thinner.keeps(frame)] == kept


def test_slow_change_adds_up() -> None:
    thinner = Thinner(10.5 / 255)
    frames = [np.full((SIZE, SIZE), 100 + i, np.uint8) for i in range(34)]
    assert [i for i, frame in enumerate(frames) if thinner.keeps(frame)] == [0, 11, 22, 33]


def test_the_black_around_the_picture_does_not_count() -> None:
    for side in (64, SIZE):
        first = np.zeros((SIZE, SIZE), np.uint8)
        first[:side, :side] = 100
        second = np.where(first > 0, 120, 0).astype(np.uint8)
        assert [passes_second(first, second, asked) for asked in (19.5 / 255, 20.5 / 255)] == [True, False]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_change_outside_0_to_1_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="share from 0 to 1"):
        Thinner(wrong)


def test_hc18_holds_these_stills_twice(shared_data: Path) -> None:
    """Seen by eye: the same freeze, with another box of text. 795 and 783 hold neighbouring frames, which are not."""
    files = sorted((shared_data / "hc18" / "labelled").glob("*.jpg"))
    stills = [fit(np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8), SIZE) for file in files]
    near = near_pairs(np.stack([fingerprint(grey) for grey in stills]))
    found = [(files[i].stem, files[j].stem) for i, j in near if same_picture(stills[i], stills[j])]
    assert found == [
        ("198_2HC", "198_HC"), ("243_3HC", "243_HC"), ("392_2HC", "392_3HC"), ("392_2HC", "392_HC"),
        ("392_3HC", "392_HC"), ("507_2HC", "507_HC"), ("720_2HC", "720_HC"), ("788_2HC", "788_HC"),
    ]  # fmt: skip
