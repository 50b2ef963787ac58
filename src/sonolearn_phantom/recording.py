"""Record scans and stills of one patient: frames, ground truth and masks, ready to be written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonolearn.config import PhantomConfig
from sonolearn_phantom.patient import MACHINES, generator
from sonolearn_phantom.picture import Image, render
from sonolearn_phantom.planes import PLANES, Pose, label
from sonolearn_phantom.screen import Canvas, Layout, Mask, colour_box, draw_callipers, draw_colour, draw_text, exam_date
from sonolearn_phantom.sweep import scan_poses, still_pose
from sonolearn_phantom.tissue import Fetus

_SCAN, _STILL = 2, 3
_MASKS = ("sector", "text", "callipers", "colour", "second_view")


@dataclass(frozen=True)
class Recording:
    """A scan, or a still as a scan of one frame.

    `frames` are (height, width, 3) uint8 RGB screens; `rows` the ground truth, a dictionary a frame; `masks` hold one
    bool array (height, width) for each of "sector", "text", "callipers", "colour" and "second_view": overlays stand
    still, so one mask serves all frames. "sector" is the first view's fan; `second_view` the second fan of a split
    screen.
    """

    frames: list[Image]
    rows: list[dict[str, object]]
    masks: dict[str, Mask]
    layout: Layout


def record_scan(fetus: Fetus, number: int, config: PhantomConfig) -> Recording:
    """Scan `number` (from 1) of an unlabelled patient: a sweep of `config.frames` frames."""
    patient = fetus.patient
    rng = generator(patient.seed, patient.index, _SCAN, number)
    extras = rng.random(3) < (config.callipers, config.doppler, config.split)
    poses = scan_poses(fetus, config.frames, rng)
    start = rng.random()
    beats = patient.heart_rate / 60 / patient.frame_rate
    phases = [float((start + index * beats) % 1) for index in range(config.frames)]
    return _record(fetus, poses, phases, config, rng, extras.tolist(), number)


def record_still(fetus: Fetus, number: int, config: PhantomConfig) -> Recording:
    """Still `number` (from 1) of a labelled patient; the five planes take turns, so that they are balanced."""
    patient = fetus.patient
    rng = generator(patient.seed, patient.index, _STILL, number)
    with_callipers = rng.random() < config.callipers
    pose = still_pose(fetus, PLANES[(number - 1) % len(PLANES)], rng)
    return _record(fetus, [pose], [rng.random()], config, rng, [with_callipers, False, False], 100_000 + number)


def _record(
    fetus: Fetus,
    poses: list[Pose],
    phases: list[float],
    config: PhantomConfig,
    rng: np.random.Generator,
    extras: list[bool],
    noise: int,
) -> Recording:
    patient = fetus.patient
    callipers, doppler, split = extras
    layout = Layout.of(patient, config.size, split)
    marks_seed, box = int(rng.integers(1 << 31)), colour_box(layout, rng)
    second = still_pose(fetus, PLANES[int(rng.integers(4))], rng)
    masks = {name: np.zeros((layout.height, layout.width), bool) for name in _MASKS}
    masks["sector"] = layout.sector()
    if split:
        masks["second_view"] = layout.sector(1)
    frames, rows = [], []
    for index, (pose, phase) in enumerate(zip(poses, phases, strict=True)):
        still = noise * 4096 + index
        picture, velocity = render(fetus, pose, layout.probe, phase, still, flow=doppler)
        screen = layout.placed(picture)
        if split:
            other, _ = render(fetus, second, layout.probe, phase, still + 1_000_000_000)
            screen = np.maximum(screen, layout.placed(other, 1))
        canvas = Canvas(screen, masked=index == 0)
        if doppler and velocity is not None:
            draw_colour(canvas, layout, velocity, box)
        if config.text:
            draw_text(canvas, layout, patient, exam_date(patient))
        if callipers:
            draw_callipers(canvas, layout, np.random.default_rng(marks_seed))
        masks.update(canvas.masks)
        frames.append(canvas.rgb)
        rows.append(_truth(fetus, pose, phase, index))
    return Recording(frames, rows, masks, layout)


def _truth(fetus: Fetus, pose: Pose, phase: float, index: int) -> dict[str, object]:
    patient = fetus.patient
    row: dict[str, object] = {
        "frame": index,
        "time_s": round(index / patient.frame_rate, 5),
        "patient": patient.name,
        "plane": label(fetus.heart, pose),
        "cardiac_phase": round(phase, 5),
    }
    for name in ("centre", "axial", "lateral", "normal"):
        vector = getattr(pose, name)
        row |= {f"{name}_{axis}": round(float(value), 5) for axis, value in zip("xyz", vector, strict=True)}
    return row | {
        "gestational_age_weeks": round(patient.gestational_age, 3),
        "thorax_radius_mm": round(patient.thorax_radius, 3),
        "heart_rate": round(patient.heart_rate, 2),
        "machine": " ".join(MACHINES[patient.machine]),
    }
