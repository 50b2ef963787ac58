"""Write a trial as a scan file, with the truth beside it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.trial import Trial
from sonolearn_phantom.files import KINDS, write_dicom, write_mp4
from sonolearn_phantom.patient import Patient
from sonolearn_phantom.picture import Probe
from sonolearn_phantom.screen import Layout

_MASKS = ("sector", "sectors", "marks")


def write_trial(trial: Trial, folder: Path, name: str, form: Literal["mp4", "dicom"]) -> Path:
    """Write `trial` as NAME.mp4 or NAME.dcm into `folder`, and its truth as NAME.npz; returns the scan's path.

    Half of the DICOM files of good scans name the picture's region, as half of the machines do; grey scans become
    colour or monochrome files in turn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_truth(trial, folder / f"{name}.npz")
    if form == "mp4":
        path = folder / f"{name}.mp4"
        write_mp4(path, trial.frames, round(trial.fps))
        return path
    path = folder / f"{name}.dcm"
    draw = zlib.crc32(name.encode())
    patient = replace(Patient.draw(0, draw % 10_000), frame_rate=round(trial.fps))
    grey = all((frame == frame[..., :1]).all() for frame in trial.frames)
    kinds = [kind for kind in KINDS if grey or "MONOCHROME" not in kind]
    layout = _layout(trial, region=draw >> 8 & 1 == 1 and not any(trial.verdicts))
    write_dicom(path, trial.frames, patient, layout, 1, kinds[(draw >> 4) % len(kinds)], "doppler" in trial.verdicts)
    return path


def read_truth(file: Path) -> dict[str, NDArray[Any]]:
    """The truth of a trial from its .npz: the fields of `Trial` but `frames`, as arrays.

    `sector` (height, width), `sectors` and `marks` (frames, height, width) are bool, `unmarked` (frames, height,
    width) uint8, `verdicts` (frames,) and `traits` text, `shape` and `fps` single values.
    """
    with np.load(file, allow_pickle=False) as stored:
        truth = {name: stored[name] for name in stored.files}
    width = truth["unmarked"].shape[2]
    for name in _MASKS:
        truth[name] = np.unpackbits(truth[name], axis=-1, count=width).astype(bool)
    return truth


def _write_truth(trial: Trial, path: Path) -> None:
    masks = {name: np.packbits(np.asarray(getattr(trial, name)), axis=-1) for name in _MASKS}
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            unmarked=np.stack(trial.unmarked),
            verdicts=np.array(trial.verdicts, "U16"),
            shape=np.array(trial.shape),
            traits=np.array(trial.traits, "U32"),
            fps=np.array(trial.fps),
            **masks,
        )


def _layout(trial: Trial, region: bool) -> Layout:
    height, width = trial.sector.shape
    if not region:
        return Layout(height, width, (), Probe(1.0, 1e-3, 0.2 * (height - 2), height, width))
    rows, columns = (np.flatnonzero(trial.sector.any(axis=axis)) for axis in (1, 0))
    tall, wide = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    # A region's corner and size are what counts here; the pixels are given as 0.2 mm wide.
    probe = Probe(1.0, 1e-3, 0.2 * (tall - 2), tall, wide)
    return Layout(height, width, ((int(rows[0]), int(columns[0])),), probe)
