"""Views against torchvision, and their range and repeatability."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from sonolearn.config import ViewsConfig
from sonolearn.recipes import recipe
from sonolearn.ssl.views import make_view
from sonolearn.ssl.views.plain import Window, draw_window, jitter

PLAIN = ViewsConfig(flip=0, jitter=0, blur=(0, 0), solarize=(0, 0))


def frame(height: int = 48, width: int = 48) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (127 + 90 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8)


@settings(max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(1, 70),
    which=st.sampled_from([0, 1]),
    seed=st.integers(0, 2**32),
)
def test_any_frame_gives_a_uint8_view_of_the_size_asked_for(height, width, size, which, seed) -> None:
    view = make_view(frame(height, width), size, ViewsConfig(), which, np.random.default_rng(seed))
    assert view.shape == (size, size)
    assert view.dtype == np.uint8


def test_a_view_depends_on_its_seed_alone() -> None:
    original = frame()
    one, again, other = (make_view(original, 32, ViewsConfig(), 0, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(original, frame()), "the frame itself is not changed"


def test_crops_are_distributed_as_torchvision_draws_them() -> None:
    rng, torch_image = np.random.default_rng(0), torch.zeros(1, 256, 256)
    drawn = [draw_window((256, 256), 8, (0.08, 1), (3 / 4, 4 / 3), 0, rng) for _ in range(4000)]
    ours = np.array([(window.height, window.width) for window in drawn])
    torch.manual_seed(0)
    crop = RandomResizedCrop(8)
    boxes = [crop.make_params([torch_image]) for _ in range(4000)]
    theirs = np.array([(box["height"], box["width"]) for box in boxes])
    for statistic in (np.mean, np.std):
        np.testing.assert_allclose(statistic(ours, axis=0), statistic(theirs, axis=0), rtol=0.03)
    assert np.mean(np.log(ours[:, 1] / ours[:, 0])) == pytest.approx(0, abs=0.02)


def test_an_impossible_aspect_falls_back_to_the_middle() -> None:
    window = draw_window((10, 100), 8, (1, 1), (3 / 4, 4 / 3), 0, np.random.default_rng(0))
    assert window == Window((10, 100), 8, top=0, left=43, height=10, width=13)


def test_a_whole_crop_of_the_same_size_is_the_frame() -> None:
    config = ViewsConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter=0, blur=(0, 0), solarize=(0, 0))
    assert np.array_equal(make_view(frame(), 48, config, 0, np.random.default_rng(0)), frame())


@pytest.mark.parametrize("size", [24, 96])
def test_resizing_agrees_with_torchvisions_antialiased_bicubic(size: int) -> None:
    ours = Window((48, 48), size, 0, 0, 48, 48).view(frame()).astype(float)
    theirs = tv.resize(torch.from_numpy(frame())[None], [size, size], tv.InterpolationMode.BICUBIC, antialias=True)[0]
    # Area against antialiased bicubic when shrinking; the same cubic with another coefficient when enlarging.
    assert np.abs(ours - theirs.numpy()).mean() < 2.0


def test_jitter_is_torchvisions_brightness_and_contrast_in_either_order() -> None:
    image = torch.from_numpy(frame())[None]
    rng, replay = np.random.default_rng(3), np.random.default_rng(3)
    orders = set()
    for _ in range(20):
        ours = jitter(frame(), 0.4, 0.4, rng).astype(float)
        b, c = replay.uniform(0.6, 1.4), replay.uniform(0.6, 1.4)
        if brightness_first := replay.random() < 0.5:
            theirs = tv.adjust_contrast(tv.adjust_brightness(image, b), c)
        else:
            theirs = tv.adjust_brightness(tv.adjust_contrast(image, c), b)
        assert np.abs(ours - theirs[0].numpy()).max() <= 2  # rounding of the table against rounding twice
        orders.add(brightness_first)
    assert orders == {True, False}


def test_second_views_are_solarized_as_torchvision_does_it() -> None:
    config = ViewsConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter=0, blur=(0, 0), solarize=(0, 1))
    rng = np.random.default_rng(0)
    theirs = tv.solarize(torch.from_numpy(frame())[None], 128)[0].numpy()
    assert np.array_equal(make_view(frame(), 48, config, 1, rng), theirs)
    assert np.array_equal(make_view(frame(), 48, config, 0, rng), frame()), "first views are not"


def test_blur_agrees_with_torchvision() -> None:
    config = ViewsConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter=0, blur=(1, 0), blur_sigma=(1.5, 1.5))
    ours = make_view(frame(), 48, config, 0, np.random.default_rng(0)).astype(float)
    theirs = tv.gaussian_blur(torch.from_numpy(frame())[None], [9, 9], [1.5, 1.5])[0].numpy()
    assert np.abs(ours - theirs)[6:-6, 6:-6].max() <= 2


@pytest.mark.parametrize("which", [0, 1])
def test_first_and_second_views_are_blurred_each_as_often_as_asked_for(which: int) -> None:
    never = {"crop_scale": (1, 1), "crop_ratio": (1, 1), "flip": 0, "jitter": 0, "solarize": (0, 0)}
    shares = (0.75, 0.2)
    config, rng = ViewsConfig(**never, blur=shares), np.random.default_rng(0)
    blurred = [not np.array_equal(make_view(frame(), 48, config, which, rng), frame()) for _ in range(400)]
    assert np.mean(blurred) == pytest.approx(shares[which], abs=0.08)


def test_half_of_the_views_are_flipped() -> None:
    config = ViewsConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0.5, jitter=0, blur=(0, 0), solarize=(0, 0))
    rng = np.random.default_rng(0)
    flipped = [np.array_equal(make_view(frame(), 48, config, 0, rng), frame()[:, ::-1]) for _ in range(400)]
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.08)


CALLS = ("resize", "flip", "sepFilter2D", "calcHist", "mean", "LUT", "cvtColor", "filter2D", "warpAffine")


@pytest.mark.parametrize("method", ["simclr", "barlow_twins"])
def test_a_view_is_resized_first_and_then_changed_once_by_each_operation_as_uint8_of_one_channel(
    method, monkeypatch
) -> None:
    made: list[tuple[str, np.ndarray]] = []
    for name in CALLS:
        monkeypatch.setattr(cv2, name, counted(name, getattr(cv2, name), made))
    config, rng = recipe(method, None).views, np.random.default_rng(0)
    for which in (0, 1) * 30:
        made.clear()
        make_view(frame(96, 96), 64, config, which, rng)
        names = [name for name, _ in made]
        assert names[0] == "resize"
        assert set(names) <= set(CALLS[:6])
        assert all(names.count(name) <= (2 if name == "LUT" else 1) for name in names)
        assert all(view.shape == (64, 64) and view.dtype == np.uint8 for _, view in made[1:])


def counted(name, original, made):
    def call(view, *arguments, **named):
        made.append((name, np.squeeze(np.asarray(view))))
        return original(view, *arguments, **named)

    return call


def test_a_view_takes_less_memory_than_one_copy_of_it_as_floats() -> None:
    size, config, rng = 224, recipe("simclr", None).views, np.random.default_rng(0)
    original = frame(256, 256)
    for _ in range(30):
        tracemalloc.start()
        make_view(original, size, config, 0, rng)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size * size < peak < 4 * size * size
