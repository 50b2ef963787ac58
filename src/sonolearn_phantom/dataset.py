"""Write a whole phantom data set: scans, stills, labels and ground truth, rendered by a pool of processes.

    OUT/phantom.json               format and config
    OUT/scans/PH0001_1.dcm, .mp4   scans of unlabelled patients
    OUT/stills/PH0002_01.png       stills of labelled patients
    OUT/labels.csv                 image, plane, patient, machine of the stills
    OUT/truth/frames.csv           one row for every frame of every scan and still
    OUT/truth/masks/PH0001_1.npz   sector, text, callipers, colour, second_view: bool (height, width) of the screen

Masks are of the whole screen and serve all frames of a file. A patient is complete once `truth/patients/<id>.csv` is
there; these rows become the two tables at the end. A second run with the same config renders only the patients that
are missing.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from sonolearn.config import PhantomConfig
from sonolearn.console import Interrupted, UserError, progress
from sonolearn.runs import is_leftover, naming_disk_errors, plain, read_json, write_json, writing
from sonolearn.workers import Died, each
from sonolearn_phantom.files import KINDS, write_dicom, write_mp4
from sonolearn_phantom.patient import Patient, generator
from sonolearn_phantom.picture import Probe, render
from sonolearn_phantom.planes import PLANES
from sonolearn_phantom.recording import Recording, record_scan, record_still
from sonolearn_phantom.sweep import still_pose
from sonolearn_phantom.tissue import Fetus


def contact_sheet(out_png: Path, patients: int = 6, size: int = 192, seed: int = 0) -> Path:
    """Draw the five planes (rows, in the order of `PLANES`) of `patients` patients (columns), each `size` px high."""
    columns = []
    for index in range(patients):
        fetus = Fetus(Patient.draw(seed, index))
        probe = Probe.of(fetus.patient, size, round(1.3 * size))
        cells = []
        for row, plane in enumerate(PLANES):
            rng = generator(seed, index, 6, row)
            cells.append(render(fetus, still_pose(fetus, plane, rng), probe, rng.random(), row)[0])
        columns.append(np.vstack(cells))
    Pillow.fromarray(np.hstack(columns)).save(out_png)
    return out_png


FORMAT = 1


def generate(out: Path, config: PhantomConfig) -> Path:
    """Write the phantom data set of `config` into the folder `out` and return `out`.

    The files depend on the config only, not on the number of workers; a patient's files do not depend on how many
    patients there are. An interrupted run is continued by the same call.

    Raises:
        UserError: `out` holds a phantom of another config, or cannot be written.
        Interrupted: the user pressed Ctrl-C; complete patients are kept.
    """
    _claim(out, config)
    missing = [index for index in range(config.patients) if not _complete(out, index)]
    try:
        with progress("phantom patients", len(missing)) as bar:
            count, died = min(config.workers or os.cpu_count() or 1, len(missing)), []
            for number, result in each(partial(write_patient, out, config), missing, count):
                died += [f"PH{missing[number] + 1:04d}"] if isinstance(result, Died) else []
                bar.advance()
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; complete patients are kept in {out}: run the same command to continue") from None
    if died:
        killed = f"the processes that rendered {', '.join(died)} were killed, perhaps for lack of memory"
        raise UserError(f"{out}: {killed}; give fewer --workers to continue")
    _write_tables(out, config)
    return out


def is_labelled(index: int, config: PhantomConfig) -> bool:
    """Whether patient `index` gives labelled stills; it does not depend on how many patients there are."""
    return _labelled_before(index + 1, config) > _labelled_before(index, config)


def write_patient(out: Path, config: PhantomConfig, index: int) -> None:
    """Render patient `index` and write all the files of that patient, the table of its frames last."""
    cv2.setNumThreads(1)
    fetus = Fetus(Patient.draw(config.seed, index))
    name = fetus.patient.name
    rows: list[dict[str, object]] = []
    if is_labelled(index, config):
        digits = len(str(config.stills))
        for number in range(1, config.stills + 1):
            file = Path("stills", f"{name}_{number:0{digits}d}.png")
            rows += _keep(out, file, record_still(fetus, number, config), _write_png)
    else:
        turn = index - _labelled_before(index, config)
        for number in range(1, config.scans + 1):
            rows += _write_scan(out, fetus, number, config, turn + number - 1)
    _write_csv(_record_of(out, index), rows)


def _write_scan(out: Path, fetus: Fetus, number: int, config: PhantomConfig, turn: int) -> list[dict[str, object]]:
    patient = fetus.patient
    recording = record_scan(fetus, number, config)
    if turn % 2:
        file = Path("scans", f"{patient.name}_{number}.mp4")
        return _keep(out, file, recording, lambda path, what: write_mp4(path, what.frames, patient.frame_rate))
    # Grey files would lose the colours of the flow.
    flow = bool(recording.masks["colour"].any())
    kinds = [kind for kind in KINDS if not flow or "MONOCHROME" not in kind]
    kind = kinds[(turn // 2) % len(kinds)]

    def write(path: Path, what: Recording) -> None:
        write_dicom(path, what.frames, patient, what.layout, number, kind, flow)

    return _keep(out, Path("scans", f"{patient.name}_{number}.dcm"), recording, write)


def _keep(
    out: Path, file: Path, recording: Recording, write: Callable[[Path, Recording], None]
) -> list[dict[str, object]]:
    with writing(out / file, checksum=False) as path:
        write(path, recording)
    with writing(out / _mask_of(file), checksum=False) as path, path.open("wb") as opened:
        np.savez_compressed(opened, allow_pickle=False, **recording.masks)
    return [{"file": file.as_posix(), **row} for row in recording.rows]


def _claim(out: Path, config: PhantomConfig) -> None:
    options = {name: value for name, value in plain(config).items() if name != "workers"}
    card = out / "phantom.json"
    if card.exists():
        found = read_json(card)
        before = {**found.get("config", {}), "format": found.get("format")}
        now = {**options, "format": FORMAT}
        differing = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if differing:
            remedy = "give an empty or new folder, or delete this one"
            raise UserError(f"{out} holds a phantom made with another {', '.join(differing)}: {remedy}")
        return
    with naming_disk_errors(out):
        if out.exists() and (not out.is_dir() or any(not is_leftover(path.name) for path in out.iterdir())):
            raise UserError(f"{out} exists and holds something other than a phantom: give an empty or new folder")
        out.mkdir(parents=True, exist_ok=True)
    write_json(card, {"format": FORMAT, "config": options}, checksum=False)


def _complete(out: Path, index: int) -> bool:
    record = _record_of(out, index)
    if not record.exists():
        return False
    with record.open(newline="", encoding="utf-8") as file:
        names = {row["file"] for row in csv.DictReader(file)}
    return all((out / name).exists() and (out / _mask_of(Path(name))).exists() for name in names)


def _write_tables(out: Path, config: PhantomConfig) -> None:
    frames: list[dict[str, str]] = []
    for index in range(config.patients):
        with _record_of(out, index).open(newline="", encoding="utf-8") as file:
            frames += csv.DictReader(file)
    labels = [
        {"image": row["file"], "plane": row["plane"], "patient": row["patient"], "machine": row["machine"]}
        for row in frames
        if row["file"].startswith("stills/")
    ]
    _write_csv(out / "truth" / "frames.csv", frames)
    _write_csv(out / "labels.csv", labels, ("image", "plane", "patient", "machine"))


def _labelled_before(index: int, config: PhantomConfig) -> int:
    return int(index * config.labelled + 1e-9)


def _mask_of(file: Path) -> Path:
    return Path("truth", "masks", f"{file.stem}.npz")


def _record_of(out: Path, index: int) -> Path:
    return out / "truth" / "patients" / f"PH{index + 1:04d}.csv"


def _write_csv(path: Path, rows: list[dict[str, object]] | list[dict[str, str]], columns: tuple[str, ...] = ()) -> None:
    with writing(path, checksum=False) as target, target.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns or list(rows[0] if rows else ("file",)), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _write_png(path: Path, recording: Recording) -> None:
    Pillow.fromarray(recording.frames[0]).save(path, "PNG")
