"""Masks hold exactly what was drawn over the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sonolearn.config import PhantomConfig
from sonolearn_phantom import PLANES, Fetus, Patient
from sonolearn_phantom.recording import Recording, record_scan, record_still

BARE = {"frames": 2, "size": 96, "text": False, "callipers": 0.0}


def scan(fetus: Fetus, **options: object) -> Recording:
    """A short scan with the overlays that `options` name."""
    return record_scan(fetus, 1, PhantomConfig(**{**BARE, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "layer"),
    [({"text": True}, "text"), ({"callipers": 1.0}, "callipers"), ({"doppler": 1.0}, "colour")],
)
@pytest.mark.parametrize("index", [0, 1, 2, 4])
def test_frames_with_and_without_an_overlay_differ_only_in_its_mask(
    options: dict[str, object], layer: str, index: int
) -> None:
    fetus = Fetus(Patient.draw(0, index))
    plain, marked = scan(fetus), scan(fetus, **options)
    mask = marked.masks[layer]
    assert mask.any()
    for before, after in zip(plain.frames, marked.frames, strict=True):
        changed = (before != after).any(axis=2)
        assert changed.any()
        assert not (changed & ~mask).any()


def test_a_scan_without_overlays_is_grey_and_its_masks_are_empty(fetus: Fetus) -> None:
    plain = scan(fetus)
    assert [name for name, mask in plain.masks.items() if mask.any()] == ["sector"]
    frame = plain.frames[0]
    assert (frame[..., 0] == frame[..., 1]).all()
    assert (frame[..., 0] == frame[..., 2]).all()
    around = cv2.dilate(plain.masks["sector"].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert frame[~around].max() == 0


def test_callipers_lie_inside_the_sector_and_are_yellow(fetus: Fetus) -> None:
    marked = scan(fetus, callipers=1.0)
    mask = marked.masks["callipers"]
    assert mask[marked.masks["sector"]].sum() > 0.95 * mask.sum()
    red, _, blue = marked.frames[0][mask].astype(int).mean(0)
    assert red - blue > 80


def test_split_screen_shows_two_sectors_that_do_not_overlap(fetus: Fetus) -> None:
    both = scan(fetus, split=1.0)
    first, second = both.masks["sector"], both.masks["second_view"]
    assert not (first & second).any()
    assert first.sum() == second.sum()
    for mask in (first, second):
        assert both.frames[0][mask].std() > 15


def test_screen_is_a_little_larger_than_the_picture_and_even() -> None:
    for index in range(8):
        recording = scan(Fetus(Patient.draw(0, index)), size=97)
        height, width = recording.frames[0].shape[:2]
        assert height % 2 == width % 2 == 0
        assert 97 < height < 1.25 * 97
        assert height < width < 2 * height


def test_truth_has_time_phase_and_pose_of_each_frame(fetus: Fetus) -> None:
    rows = scan(fetus).rows
    assert [row["frame"] for row in rows] == [0, 1]
    assert rows[1]["time_s"] == pytest.approx(1 / fetus.patient.frame_rate, abs=1e-4)
    step = (float(str(rows[1]["cardiac_phase"])) - float(str(rows[0]["cardiac_phase"]))) % 1
    assert step == pytest.approx(fetus.patient.heart_rate / 60 / fetus.patient.frame_rate, abs=1e-4)
    normal = [float(str(rows[0][f"normal_{axis}"])) for axis in "xyz"]
    assert np.linalg.norm(normal) == pytest.approx(1, abs=1e-4)


def test_stills_take_the_planes_in_turn(fetus: Fetus) -> None:
    config = PhantomConfig(**BARE)  # type: ignore[arg-type]
    planes = [record_still(fetus, number, config).rows[0]["plane"] for number in range(1, 11)]
    assert planes == [*PLANES, *PLANES]
