"""RandAugment against torchvision's, operation by operation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import RandAugment
from torchvision.transforms.v2 import functional as tv

from sonolearn.ssl.views.randaugment import MAX_MAGNITUDE, OPERATIONS, randaugment

PEER = RandAugment()
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
PHOTOMETRIC = tuple(name for name in OPERATIONS if name not in (*GEOMETRIC, "Solarize"))
PICTURES = [(kind, *size) for kind in ("smooth", "noise") for size in ((32, 32), (31, 45))]
# Slopes of 0.2 and of odd multiples of 0.04 put whole rows halfway between two pixels, where either is right.
WITHOUT_TIES = [m for m in range(MAX_MAGNITUDE + 1) if m % 8 != 4]


def picture(kind: str, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(7).integers(0, 256, (height, width)).astype(np.uint8)
    if kind == "noise":
        return noise
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 10, 240, cv2.NORM_MINMAX)


def their_strength(name: str, magnitude: int, shape: tuple[int, ...]) -> float:
    strengths = PEER._AUGMENTATION_SPACE[name][0](MAX_MAGNITUDE + 1, *shape)
    return 0.0 if strengths is None else float(strengths[magnitude])


def both(name: str, view: np.ndarray, magnitude: int, sign: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Ours and torchvision's result, as int so that they can be subtracted."""
    ours = OPERATIONS[name].apply(view, sign * OPERATIONS[name].strength(magnitude))
    assert ours.dtype == np.uint8
    strength = sign * their_strength(name, magnitude, view.shape)
    image = torch.from_numpy(view).unsqueeze(0)
    theirs = PEER._apply_image_or_video_transform(image, name, strength, PEER.interpolation, PEER._fill)
    return ours.astype(int), theirs[0].numpy().astype(int)


def signs(name: str) -> tuple[int, ...]:
    return (1, -1) if OPERATIONS[name].signed else (1,)


def test_the_operations_and_their_signs_are_torchvisions() -> None:
    assert {name: op.signed for name, op in OPERATIONS.items()} == {
        name: signed for name, (_, signed) in PEER._AUGMENTATION_SPACE.items()
    }


@pytest.mark.parametrize("magnitude", [0, 3, 5, 30])
@pytest.mark.parametrize("name", OPERATIONS)
def test_strengths_are_torchvisions(name, magnitude) -> None:
    height, width = 100, 37
    ours, theirs = OPERATIONS[name].strength(magnitude), their_strength(name, magnitude, (height, width))
    unit = {"TranslateX": width, "TranslateY": height, "Solarize": 1 / 255}.get(name, 1)
    ours = round(ours) if name == "Posterize" else ours * unit
    assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("which", PICTURES)
@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_grey_values_are_torchvisions(name, which) -> None:
    view = picture(*which)
    for magnitude in range(MAX_MAGNITUDE + 1):
        for sign in signs(name):
            ours, theirs = both(name, view, magnitude, sign)
            # Both cut fractions off: float32 strengths tip exact whole numbers (100 x 1.6 = 159.99999) to either side.
            assert np.abs(ours - theirs).max() <= 1, (magnitude, sign)
            assert abs(np.mean(ours - theirs)) < 0.25, "no drift, as rounding instead of cutting would bring"


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Posterize", "Color", "Identity"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (15, 17), (40, 41)])
@pytest.mark.parametrize("top", [1, 2, 30, 256])
def test_these_are_exactly_torchvisions(name, shape, top) -> None:
    view = np.random.default_rng(0).integers(0, top, shape).astype(np.uint8)
    for magnitude in (0, 5, 14, 30):
        ours, theirs = both(name, view, magnitude)
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("magnitude", range(MAX_MAGNITUDE + 1))
def test_solarize_differs_from_torchvision_at_most_at_the_threshold_itself(magnitude) -> None:
    view = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ours, theirs = both("Solarize", view, magnitude)
    # Some of torchvision's thresholds come out as 119.00001 where 119 is meant, so that 119 stays as it is.
    threshold = OPERATIONS["Solarize"].strength(magnitude)
    assert all(view[ours != theirs] == threshold)
    assert np.array_equal(ours == 255 - view, view >= threshold)


@pytest.mark.parametrize("which", PICTURES)
@pytest.mark.parametrize("name", GEOMETRIC)
def test_pixels_are_torchvisions(name, which) -> None:
    view = picture(*which)
    for magnitude in WITHOUT_TIES:
        for sign in signs(name):
            ours, theirs = both(name, view, magnitude, sign)
            assert np.mean(ours == theirs) >= 0.98, (magnitude, sign)


@pytest.mark.parametrize("magnitude", set(range(MAX_MAGNITUDE + 1)) - set(WITHOUT_TIES))
@pytest.mark.parametrize("name", ["ShearX", "ShearY"])
def test_ties_of_a_shear_go_to_one_of_the_two_nearest_pixels(name, magnitude) -> None:
    view = picture("noise", 31, 45)
    along = 1 if name == "ShearX" else 0
    for sign in (1, -1):
        ours, theirs = both(name, view, magnitude, sign)
        same = (ours == theirs) | (ours == np.roll(theirs, 1, along)) | (ours == np.roll(theirs, -1, along))
        assert np.mean(same) >= 0.98, sign


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 9), (9, 2), (3, 3)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_tiny_views_are_torchvisions(name, shape) -> None:
    view = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    for magnitude in (0, 5, 30):
        for sign in signs(name):
            ours, theirs = both(name, view, magnitude, sign)
            assert np.abs(ours - theirs).max() <= 1, (magnitude, sign)


@settings(max_examples=200)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    operations=st.integers(0, 5),
    magnitude=st.integers(0, MAX_MAGNITUDE),
    seed=st.integers(0, 2**32),
)
def test_any_view_keeps_its_shape_and_the_seed_decides(height, width, operations, magnitude, seed) -> None:
    view = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    original = view.copy()
    first, again = (randaugment(view, operations, magnitude, np.random.default_rng(seed)) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == (height, width)
    assert np.array_equal(first, again)
    assert np.array_equal(view, original)


def test_results_come_as_often_as_from_torchvision() -> None:
    # Each operation and sign leaves its own picture, so how often a picture comes says how often it was drawn.
    view = picture("smooth", 24, 24)
    image, rng = torch.from_numpy(view).unsqueeze(0), np.random.default_rng(0)
    expected = {
        OPERATIONS[n].apply(view, s * OPERATIONS[n].strength(7)).tobytes() for n in OPERATIONS for s in signs(n)
    }
    ours = [randaugment(view, 1, 7, rng).tobytes() for _ in range(7000)]
    assert set(ours) == expected, "every operation occurs, with both signs"
    unchanged = ours.count(view.tobytes()) / len(ours)
    assert unchanged == pytest.approx(2 / 14, abs=0.02), "Identity and Color"
    torch.manual_seed(0)
    theirs = [np.array_equal(RandAugment(1, 7)(image)[0].numpy(), view) for _ in range(2000)]
    assert unchanged == pytest.approx(np.mean(theirs), abs=0.03)
    brighter = OPERATIONS["Brightness"].apply(view, OPERATIONS["Brightness"].strength(7)).tobytes()
    assert ours.count(brighter) / len(ours) == pytest.approx(1 / 28, abs=0.01), "half of one in fourteen"


def test_operations_follow_one_another() -> None:
    view = picture("smooth", 24, 24)
    changed = [not np.array_equal(randaugment(view, 5, 9, np.random.default_rng(s)), view) for s in range(300)]
    assert np.mean(changed) > 0.99, "five times in a row Identity or Color is rare"


def test_no_operations_leave_the_view_as_it_is() -> None:
    view = picture("noise", 8, 8)
    assert np.array_equal(randaugment(view, 0, 30, np.random.default_rng(0)), view)


def test_colour_of_one_channel_is_left_alone_by_torchvision_too() -> None:
    image = torch.from_numpy(picture("noise", 8, 8)).unsqueeze(0)
    assert torch.equal(tv.adjust_saturation(image, 1.9), image)
