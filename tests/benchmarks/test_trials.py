"""Trial scans: exact masks, verdicts and shares, and files that say the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pydicom
import pytest

from benchmarks.trials import Trial, read_truth, trial, write_trial
from benchmarks.trials.inks import FACES, WHITE, Style, drawn, write
from benchmarks.trials.placing import Wish, draw_beams, placed
from benchmarks.trials.plan import COUNT, plan_of
from benchmarks.trials.shapes import Fan, Flat, Place, View
from sonolearn_phantom import Patient

NUMBERS = {mode: number for number in range(COUNT - 1, -1, -1) for mode in [plan_of(number).mode]}
"""The first trial of each mode."""
VERDICT = {"colour": "doppler", "power": "doppler", "spectral": "spectral", "m-mode": "spectral", "split": "split",
           "quad": "split", "rendering": "rendering", "blank": "blank", "frozen": "frozen", "menu": "menu",
           "dark": "dark", "good": "", "layout": ""}  # fmt: skip


def small(number: int, frames: int = 5) -> Trial:
    """A trial that is quick to make."""
    return trial(number, frames=frames, height=240, width=320)


def test_shares_over_two_hundred_trials() -> None:
    plans = [plan_of(number) for number in range(COUNT)]
    good = [plan for plan in plans if plan.mode == "good"]
    assert len(good) == 120
    assert Counter(plan.shape for plan in good) == {"convex": 60, "phased": 24, "linear": 24, "trapezoid": 12}
    assert sum(plan.lie == "rotated" for plan in good) == 18
    assert sum(plan.marks == 0 for plan in good) == 42
    assert sum(plan.mode in ("colour", "power") for plan in plans) == 24
    assert plan_of(COUNT + 7) == plan_of(7)


@pytest.mark.parametrize("mode", sorted(NUMBERS))
def test_each_mode_has_its_verdict_and_whole_truth(mode: str) -> None:
    made = small(NUMBERS[mode])
    assert len(made.frames) == len(made.unmarked) == len(made.sectors) == len(made.marks) == len(made.verdicts) == 5
    assert set(made.verdicts) <= {"", VERDICT[mode]}
    assert VERDICT[mode] in made.verdicts
    for frame, unmarked, sector, marks in zip(made.frames, made.unmarked, made.sectors, made.marks, strict=True):
        assert frame.shape == (240, 320, 3)
        assert frame.dtype == unmarked.dtype == np.uint8
        assert not marks[~sector].any()
        assert not unmarked[~sector].any()


def test_good_frames_differ_from_the_tissue_only_where_marks_are() -> None:
    grey = [number for number in range(40) if plan_of(number).mode == "good" and not plan_of(number).tint][:8]
    for number in grey:
        made = small(number, 3)
        for frame, unmarked, sector, marks in zip(made.frames, made.unmarked, made.sectors, made.marks, strict=True):
            bare = sector & ~marks
            assert (frame[bare] == unmarked[bare][:, None]).all()
            assert plan_of(number).marks > 0 or not marks.any()


def test_a_freeze_repeats_the_picture_and_starts_with_a_good_frame() -> None:
    made = trial(NUMBERS["frozen"], frames=12, height=240, width=320)
    held = [index for index, verdict in enumerate(made.verdicts) if verdict == "frozen"]
    assert made.verdicts[held[0] - 1] == ""
    for index in held:
        assert (made.unmarked[index] == made.unmarked[held[0] - 1]).all()
    assert (made.unmarked[held[0] - 1] != made.unmarked[held[0] - 2]).any()


def test_the_same_number_and_seed_give_the_same_trial() -> None:
    first, second, other = small(5, 2), small(5, 2), trial(5, 1, 2, 240, 320)
    assert all((a == b).all() for a, b in zip(first.frames, second.frames, strict=True))
    assert (first.frames[0] != other.frames[0]).any()


@pytest.mark.parametrize(
    "beams", [Fan(20, 0.5, 80), Fan(2, 0.75, 90), Flat(20, 50), Flat(20, 50, 0.3, 0.0, True), Flat(20, 50, 0.0, 0.3)]
)
def test_shares_and_points_are_inverse(beams: Fan | Flat) -> None:
    across, along = np.meshgrid(np.linspace(-1, 1, 9, dtype=np.float32), np.linspace(0, 1, 7, dtype=np.float32))
    back = beams.shares(*beams.points(across, along))
    np.testing.assert_allclose(back[0], across, atol=1e-4)
    np.testing.assert_allclose(back[1], along, atol=1e-4)


def test_a_turned_rectangle_covers_what_it_should() -> None:
    place = Place(200, 300, (0, 200, 0, 300), scale=2.0, origin=(150.0, 50.0), angle=0.3)
    sector = View(Flat(20, 50), place).sector
    (_, _), sides, angle = cv2.minAreaRect(np.argwhere(sector)[:, ::-1].astype(np.float32))
    assert sorted(sides) == pytest.approx([80, 100], abs=2)
    assert abs(np.rad2deg(0.3) - angle % 90) < 1


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_cut_off_picture_reaches_the_rim_of_its_window(side: str) -> None:
    rng = np.random.default_rng(1)
    wish = Wish("phased", cut=(side,))
    view = placed(wish, draw_beams(wish, Patient.draw(0, 1), rng), 240, 320, (10, 230, 20, 300), rng)
    top, bottom, left, right = view.place.window
    rim = {"top": np.s_[top], "bottom": np.s_[bottom - 1], "left": np.s_[:, left], "right": np.s_[:, right - 1]}[side]
    assert view.sector[rim].any()


def test_text_changes_no_pixel_outside_its_mask() -> None:
    for face in FACES:
        screen, style = np.full((60, 90, 3), 90, np.uint8), Style(18, face, WHITE, True)
        mask = drawn(screen, [lambda image, _, mask, how=style: write(image, "LV", (70, 8), how, mask)], 0)
        changed = (screen != 90).any(axis=2)
        assert changed.any()
        assert not (changed & ~mask).any()


@pytest.mark.parametrize("form", ["mp4", "dicom"])
def test_files_hold_the_frames_and_the_truth(form: str, tmp_path: Path) -> None:
    made = small(NUMBERS["good"], 3)
    path = write_trial(made, tmp_path, "007", form)  # type: ignore[arg-type]
    if form == "mp4":
        with av.open(str(path)) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    else:
        shown = list(pydicom.dcmread(path).pixel_array)
    assert len(shown) == 3
    grey = np.asarray(shown[0]).reshape(240, 320, -1).mean(axis=2)
    assert np.abs(grey - made.frames[0].mean(axis=2)).mean() < 4
    truth = read_truth(tmp_path / "007.npz")
    assert (truth["sector"] == made.sector).all()
    assert (truth["marks"] == np.stack(made.marks)).all()
    assert (truth["unmarked"] == np.stack(made.unmarked)).all()
    assert truth["verdicts"].tolist() == made.verdicts
    assert str(truth["shape"]) == made.shape
