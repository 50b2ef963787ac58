"""Ultrasound views against the physics: decibels, depth, Rayleigh's distribution, wedges of beams."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, stats

from sonolearn.config import ViewsConfig
from sonolearn.recipes import recipe
from sonolearn.ssl.views import make_view
from sonolearn.ssl.views.fan import find_beams
from sonolearn.ssl.views.plain import Window
from sonolearn.ssl.views.ultrasound import (
    RAYLEIGH_DB,
    Beams,
    add_power,
    add_speckle,
    scan_again,
    scattered,
    shadow,
    texture,
)
from sonolearn_phantom import Fetus, Patient, Probe, render, still_pose
from sonolearn_phantom.picture import sector

DB = 255 / 60
"""Grey values a dB where 255 of them show 60 dB."""
EVERYTHING = ViewsConfig(attenuation=1, gain=1, speckle=1, haze=1, shadow=1)


def uniform(grey: int = 130, size: int = 256) -> np.ndarray:
    """What a linear probe sees in a uniform phantom."""
    return np.full((size, size), grey, np.uint8)


def phantom(index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A frame of the phantom, and where its sector is."""
    fetus = Fetus(Patient.draw(0, index))
    probe = Probe.of(fetus.patient, 160, 160)
    frame, _ = render(fetus, still_pose(fetus, "4CH", np.random.default_rng(index)), probe)
    return frame, sector(probe)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth and place across the beams of each pixel of a linear probe's picture."""
    depth, across = (np.mgrid[:size, :size] / (size - 1)).astype(np.float32)
    return depth, across


def whole(frame: np.ndarray, size: int, degrees: float = 0.0) -> Window:
    return Window(frame.shape, size, 0, 0, *frame.shape, degrees)


def seen(config: ViewsConfig, frame: np.ndarray, seed: int = 0, degrees: float = 0.0) -> np.ndarray:
    """A view of the whole of a frame, as high as the frame is."""
    window = whole(frame, len(frame), degrees)
    return scan_again(Beams(frame), window, config, np.random.default_rng(seed)).astype(float)


def test_without_effects_the_frame_itself_comes_back_and_nothing_is_drawn() -> None:
    frame, rng = uniform(), np.random.default_rng(3)
    assert np.array_equal(scan_again(Beams(frame), whole(frame, 256), ViewsConfig(), rng), frame)
    assert rng.random() == np.random.default_rng(3).random()


def test_each_effect_is_drawn_with_its_probability() -> None:
    rng, frame = np.random.default_rng(0), uniform(size=32)
    config = ViewsConfig(attenuation=0.3, attenuation_db=(-9, -9))
    changed = [not np.array_equal(scan_again(Beams(frame), whole(frame, 32), config, rng), frame) for _ in range(600)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("decibel", [-9.0, 6.0])
def test_attenuation_changes_the_level_in_decibels_linearly_with_depth(decibel) -> None:
    view = seen(ViewsConfig(attenuation=1, attenuation_db=(decibel, decibel)), uniform())
    expected = decibel * np.arange(256) / 255
    np.testing.assert_allclose((view - 130).mean(axis=1) / DB, expected, atol=0.2)
    assert np.ptp(view, axis=1).max() == 0, "no beam is treated differently"


def test_attenuation_runs_along_the_beams_of_a_fan() -> None:
    y, x = np.mgrid[:256, :256]
    distance, angle = np.hypot(x - 127.5, y + 60), np.arctan2(x - 127.5, y + 60)
    fan = (distance > 70) & (distance < 305) & (np.abs(angle) < 0.42)
    view = seen(ViewsConfig(attenuation=1, attenuation_db=(-12, -12)), np.where(fan, 200, 0).astype(np.uint8))
    expected = -12 * (distance - 70) / (305 - 70)
    inner = (distance > 80) & (distance < 295) & (np.abs(angle) < 0.4)
    assert np.abs((view - 200) / DB - expected)[inner].max() < 0.4


def test_six_decibels_more_gain_raise_grey_by_six_decibels() -> None:
    config = ViewsConfig(gain=1, gain_db=(6, 6), dynamic_range_db=(60, 60))
    assert seen(config, uniform(100)).mean() == pytest.approx(100 + 6 * DB, abs=0.6)
    assert seen(config, uniform(250)).max() == 255, "white stays white"


@pytest.mark.parametrize("dynamic_range", [45.0, 75.0])
@pytest.mark.parametrize("grey", [90, 160, 255])
def test_another_dynamic_range_shows_the_same_echo_on_another_scale(dynamic_range, grey) -> None:
    config = ViewsConfig(gain=1, gain_db=(0, 0), dynamic_range_db=(dynamic_range, dynamic_range))
    decibel = (grey / 255 - 1) * 60
    expected = np.clip(255 * (1 + decibel / dynamic_range), 0, 255)
    assert seen(config, uniform(grey)).mean() == pytest.approx(expected, abs=0.6)


def test_settings_keep_the_order_of_grey_values() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    for gain, dynamic_range in [(6, 75), (-6, 75), (6, 45), (-6, 45)]:
        config = ViewsConfig(gain=1, gain_db=(gain, gain), dynamic_range_db=(dynamic_range, dynamic_range))
        assert np.diff(seen(config, ramp)[32]).min() >= 0


def test_the_envelope_of_speckle_is_rayleigh_distributed() -> None:
    real, imaginary = scattered((1200, 900), np.random.default_rng(0))
    envelope = np.hypot(real, imaginary)[::8, ::8].ravel()  # so far apart that samples are independent
    assert stats.kstest(envelope, stats.rayleigh(scale=math.sqrt(0.5)).cdf).pvalue > 0.01
    assert np.std(20 * np.log10(envelope)) == pytest.approx(RAYLEIGH_DB, rel=0.03)
    drawn = stats.rayleigh.rvs(size=200_000, random_state=0)
    assert np.std(20 * np.log10(drawn)) == pytest.approx(RAYLEIGH_DB, rel=0.01)


def test_the_texture_is_the_logarithm_of_exponentially_distributed_powers() -> None:
    apart = texture()[::16, ::16].ravel() + np.random.default_rng(0).uniform(-0.5, 0.5, 64 * 40)
    nepers = (apart - texture().mean()) / texture().std() * math.pi / math.sqrt(6) - np.euler_gamma
    assert stats.kstest(nepers, stats.gumbel_l.cdf).pvalue > 0.01
    assert np.mean((texture() == 0) | (texture() == 255)) < 1e-3, "hardly anything is clipped"


@pytest.mark.parametrize("decibel", [1.0, 2.5])
def test_speckle_has_the_drawn_standard_deviation_around_the_level(decibel) -> None:
    view = seen(ViewsConfig(speckle=1, speckle_db=(decibel, decibel)), uniform())
    assert view.std() / DB == pytest.approx(decibel, rel=0.1)
    assert (view.mean() - 130) / DB == pytest.approx(0, abs=0.5)


def test_speckle_is_correlated_over_a_few_pixels_and_wider_across_the_beams() -> None:
    depth, across = grid(256)
    still, window = np.zeros((256, 256), np.float32), whole(uniform(), 256)
    pattern = add_speckle(still, depth, across, (255, 255), window, (2, 2), np.random.default_rng(0))
    assert pattern.mean() == pytest.approx(0, abs=0.15)
    pattern = pattern - pattern.mean()

    def correlation(rows: int, columns: int) -> float:
        moved = np.roll(pattern, (rows, columns), (0, 1))
        return float((pattern * moved)[16:-16, 16:-16].mean() / pattern.var())

    assert correlation(2, 0) > 0.2
    assert correlation(0, 2) > correlation(2, 0) + 0.1
    assert abs(correlation(12, 0)) < 0.1
    assert abs(correlation(0, 16)) < 0.1


@pytest.mark.parametrize("size", [128, 64, 50])
def test_a_small_view_has_as_much_speckle_as_a_large_one_that_is_shrunk(size) -> None:
    frame, config = uniform(), ViewsConfig(speckle=1, speckle_db=(2, 2))
    for degrees in (0.0, 10.0):
        window = whole(frame, size, degrees)
        small = scan_again(Beams(frame), window, config, np.random.default_rng(0)).astype(float)
        shrunk = cv2.resize(seen(config, frame, 0, degrees), (size, size), interpolation=cv2.INTER_AREA)
        middle = slice(size // 4, -size // 4)
        assert small[middle, middle].std() == pytest.approx(shrunk[middle, middle].std(), rel=0.4)


def test_a_shadow_takes_the_drawn_loss_and_leaves_the_other_beams_alone() -> None:
    depth, across = grid(256)
    for seed in range(20):
        loss = -shadow(depth, across, (20, 20), np.random.default_rng(seed))
        assert loss.min() == 0
        assert loss.max() == pytest.approx(20, abs=0.1)
        assert np.diff(loss, axis=0).min() >= 0, "once in the shadow, always in the shadow"
        assert 0.01 < (loss[-1] > 10).mean() < 0.26, "a wedge of beams"


def test_a_shadow_on_a_uniform_frame_is_as_deep_as_drawn() -> None:
    view = seen(ViewsConfig(shadow=1, shadow_db=(15, 15)), uniform(200), seed=1)
    assert (200 - view[-1].min()) / DB == pytest.approx(15, abs=0.3)
    assert np.median(view[-1]) == 200
    assert np.abs(np.diff(view, axis=0)).max() < 1.5 * DB, "its edge is soft"


def test_two_signals_of_equal_power_are_seen_3_decibels_brighter_and_a_weak_one_not_at_all() -> None:
    level, everywhere = np.full((32, 32), 120, np.float32), np.ones((8, 8), np.float32)
    equal = add_power(level, np.full((8, 8), 120, np.float32), everywhere)
    weak = add_power(level, np.full((8, 8), -100, np.float32), everywhere)
    assert (equal.mean() - 120) / DB == pytest.approx(10 * math.log10(2), abs=0.02)
    np.testing.assert_allclose(weak, 120, atol=0.01)


def test_haze_brightens_what_is_dark_near_the_probe() -> None:
    frame = uniform(20)
    view = np.mean([seen(ViewsConfig(haze=1, haze_level=(0.4, 0.4)), frame, seed) for seed in range(20)], axis=0)
    assert view.min() >= 19.5, "it only adds"
    rows = view[:, 32:-32].mean(axis=1)
    assert rows[16] == pytest.approx(0.4 * 255, abs=15)
    assert rows[16] > rows[80] + 20
    assert rows[-16] == pytest.approx(20, abs=3)


@pytest.mark.parametrize("index", range(4))
def test_outside_the_sector_black_stays_black(index) -> None:
    frame, shown = phantom(index)
    outside = ~shown & (frame == 0)  # the sector's rim is smoothed over its border
    strong = ViewsConfig(
        attenuation=1, attenuation_db=(12, 12), gain=1, gain_db=(12, 12), dynamic_range_db=(90, 90), speckle=1,
        speckle_db=(5, 5), haze=1, haze_level=(1, 1),
    )  # fmt: skip
    for seed in range(3):
        assert seen(strong, frame, seed)[outside].max() == 0
        turned = whole(frame, 160, 14).view(outside.astype(np.float32)) * (whole(frame, 160, 14).view(frame) == 0)
        assert seen(strong, frame, seed, 14)[turned > 0.999].max() == 0


def test_beyond_the_frame_a_turned_view_stays_black() -> None:
    frame = uniform(40)
    for seed in range(20):
        beyond = whole(frame, 256, seed + 1).view(np.ones(frame.shape, np.float32)) == 0
        assert beyond.any()
        assert seen(EVERYTHING, frame, seed, seed + 1)[beyond].max() == 0


@pytest.mark.parametrize("config", [EVERYTHING, recipe("simclr", views={"name": "ultrasound"}).views])
def test_a_view_depends_on_its_seed_alone(config) -> None:
    frame, _ = phantom()
    original = frame.copy()
    one, again, other = (make_view(frame, 224, config, 0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(frame, original), "the frame itself is not changed"


def polar(frame: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth and place across the beams of every pixel of the view, and its distance from the sector's end in px."""
    fan, (x, y) = find_beams(frame), window.places(window.size).astype(float)
    distance, angle = np.hypot(x - fan.apex[0], y - fan.apex[1]), np.arctan2(x - fan.apex[0], y - fan.apex[1])
    ends = fan.far - distance, distance - fan.near, (fan.right - angle) * distance, (angle - fan.left) * distance
    depth, across = (distance - fan.near) / (fan.far - fan.near), (angle - fan.left) / (fan.right - fan.left)
    return np.clip(depth, 0, 1), np.clip(across, 0, 1), np.min([*ends, x, y], axis=0)


def reference(frame: np.ndarray, window: Window, config: ViewsConfig, rng: np.random.Generator) -> np.ndarray:
    """The view with each formula in float64 at every pixel; haze up to the sector's end. The draws are the same."""
    chances = (config.haze, config.attenuation, config.shadow, config.speckle, config.gain)
    hazy, attenuated, shadowed, speckled, regained = (rng.random() < chance for chance in chances)
    depth, across, inside = polar(frame, window)
    places = window.places(window.size)[::-1].astype(float)
    level = ndimage.map_coordinates(frame.astype(float), places, order=1, mode="grid-constant") / DB
    if hazy:
        top, end = rng.uniform(*config.haze_level) * 60, rng.uniform(0.3, 0.8)
        noise = ndimage.map_coordinates(rng.standard_normal((40, 20), np.float32), [depth * 39, across * 19], order=1)
        haze = top * (1 - depth / end) + 3 * noise
        level = 10 * np.log10(10 ** (level / 10) + np.where(inside > 0, 10 ** (haze / 10), 0))
    change, dynamic_range = 0.0, 60.0
    if regained:
        change, dynamic_range = rng.uniform(*config.gain_db), rng.uniform(*config.dynamic_range_db)
    if attenuated:
        change = change + depth * rng.uniform(*config.attenuation_db)
    if shadowed:
        change = change + shadow(depth, across, config.shadow_db, rng)
    if speckled:
        counts = [round(2 * px / pitch) for px, pitch in zip(find_beams(frame).size, (1.5, 2.2), strict=True)]
        top, left = (int(rng.random() * (side - count)) for side, count in zip(texture().shape, counts, strict=True))
        rows, columns = np.rint(depth * counts[0]).astype(int) + top, np.rint(across * counts[1]).astype(int) + left
        change = change + (texture()[rows, columns] - 185.0) / 30 * rng.uniform(*config.speckle_db)
    shown, as_before = 255 * (1 + (level + change - 60) / dynamic_range), 255 * level / dynamic_range
    return np.clip(as_before + (shown - as_before) * np.minimum(level / 8, 1), 0, 255)


# Rounding alone takes 0.5; the edges of narrow shadows are steeper than the grid is fine.
@pytest.mark.parametrize(
    ("effect", "most", "nearly_always"),
    [("gain", 0.51, 0.5), ("attenuation", 0.8, 0.5), ("shadow", 20, 6), ("haze", 15, 2.5), ("speckle", 40, 1)],
)
def test_the_coarse_grid_gives_the_grey_values_of_every_pixels_own_formula(effect, most, nearly_always) -> None:
    config = ViewsConfig(**{effect: 1.0})
    for seed in range(9):
        frame, _ = phantom(seed % 3)
        window = Window(frame.shape, 224, 5, 10, 140, 145, 4.0 * seed - 15)
        ours = scan_again(Beams(frame), window, config, np.random.default_rng(seed))
        error = np.abs(ours - reference(frame, window, config, np.random.default_rng(seed)))
        if effect == "haze":  # fades out before the sector's end
            error = error[polar(frame, window)[2] > 10]
        assert error.max() <= most
        assert np.percentile(error, 99) <= nearly_always
        assert error.mean() <= 0.75


def test_views_of_the_preset_keep_the_frame_recognisable() -> None:
    frame, shown = phantom(1)
    config = recipe("barlow_twins", None, views={"name": "ultrasound"}).views
    smooth = cv2.GaussianBlur(frame, (0, 0), 3)[shown].astype(float)
    alike = [
        np.corrcoef(smooth, cv2.GaussianBlur(seen(config, frame, seed), (0, 0), 3)[shown])[0, 1] for seed in range(30)
    ]
    assert np.median(alike) > 0.85


@settings(max_examples=60)
@given(
    frame=hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90)), elements=st.integers(0, 255), fill=st.just(90)
    ),
    seed=st.integers(0, 2**32),
)
def test_any_frame_gives_a_uint8_view_of_the_size(frame, seed) -> None:
    view = scan_again(Beams(frame), whole(frame, 40, seed % 50), EVERYTHING, np.random.default_rng(seed))
    assert view.shape == (40, 40)
    assert view.dtype == np.uint8


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 3), (300, 20), (20, 300)])
@pytest.mark.parametrize("grey", [0, 1, 255])
def test_black_tiny_and_narrow_frames_pass_through(shape, grey) -> None:
    frame = np.full(shape, grey, np.uint8)
    view = scan_again(Beams(frame), whole(frame, 30), EVERYTHING, np.random.default_rng(0))
    assert view.shape == (30, 30)
    assert grey > 0 or view.max() == 0
