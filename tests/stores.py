"""Small stores for tests, written straight after the format that `sonolearn.store.store` documents."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from sonolearn.checksums import checksum_of
from sonolearn.store.store import FORMAT, FRAMES, LABELS, SCANS, VERSION


def write_store(
    folder: Path, patients: int = 6, frames: int = 8, size: int = 40, planes: tuple[str, ...] = (), seed: int = 0
) -> Path:
    """A store with one scan a patient: smooth random textures, brighter from patient to patient.

    With `planes`, every frame is labelled (a bar whose angle is the plane) and the first half of the patients is
    `train`, the next quarter `valid`, the rest `test`.
    """
    rng = np.random.default_rng(seed)
    count = patients * frames
    pictures = rng.integers(0, 120, (count, size, size)).astype(np.uint8)
    scan = np.repeat(np.arange(patients, dtype=np.int32), frames)
    names = [f"P-{seed:04d}{number:08d}" for number in range(patients)]
    label = np.arange(count) % max(1, len(planes))
    for row in range(count) if planes else ():
        _draw_bar(pictures[row], np.pi * label[row] / len(planes))
    folder.mkdir(parents=True)
    with h5py.File(folder / FRAMES, "w") as h5:
        h5.create_dataset("frames", data=pictures, chunks=(1, size, size))
        h5["scan"], h5["index"] = scan, np.tile(np.arange(frames, dtype=np.int32), patients)
        h5["time"] = np.tile(np.arange(frames, dtype=np.float32) / 10, patients)
        h5["checksum"] = np.array([checksum_of(picture.data) for picture in pictures], np.uint64)
        h5.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "size": size,
                "key_id": "test",
                "fingerprint": f"{seed}-{count}-{size}",
            }
        )
    pd.DataFrame(
        {
            "scan": [f"S-{n}" for n in names],
            "patient": names,
            "machine": "Phantom",
            "kind": "video",
            "first": np.arange(patients) * frames,
            "frames": frames,
        }
    ).to_csv(folder / SCANS, index=False)
    if planes:
        parts = np.where(scan < patients // 2, "train", np.where(scan < patients * 3 // 4, "valid", "test"))
        owner = [names[s] for s in scan]
        table = {
            "row": np.arange(count),
            "plane": [planes[i] for i in label],
            "patient": owner,
            "split": parts,
            "machine": "Phantom",
            "scan": owner,
        }
        pd.DataFrame(table).to_csv(folder / LABELS, index=False)
    return folder


def _draw_bar(picture: np.ndarray, angle: float) -> None:
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] - picture.shape[0] / 2
    picture[np.abs(x * np.sin(angle) - y * np.cos(angle)) < picture.shape[0] / 10] = 220
