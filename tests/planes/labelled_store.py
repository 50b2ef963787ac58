"""A tiny labelled store, written byte by byte as `data/store.py` describes it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from sonolearn.checksums import checksum_of
from sonolearn.config import ClassifyConfig, ClassifyRecipe
from sonolearn.recipes import classify_recipe
from sonolearn.store.store import FORMAT, VERSION

PLANES = ("3VV", "4CH", "LVOT")
SIZE = 32


def draw(plane: int, rng: np.random.Generator) -> np.ndarray:
    """A noisy frame whose class is the number of its bright quadrants' position: easy to tell apart."""
    frame = rng.integers(0, 60, (SIZE, SIZE))
    half = SIZE // 2
    if plane == 0:
        frame[half // 2 : half + half // 2, half // 2 : half + half // 2] += 150
    elif plane == 1:
        frame[:, half - 3 : half + 3] += 150
        frame[half - 3 : half + 3] += 150
    return np.clip(frame, 0, 255).astype(np.uint8)


def write_store(
    path: Path,
    planes: tuple[str, ...] = PLANES,
    patients: tuple[int, int, int] = (8, 3, 4),
    stills: int = 2,
    version: int = VERSION,
    shuffled: bool = False,
) -> Path:
    """A store whose patients (train, valid, test) have `stills` images of every plane."""
    rng = np.random.default_rng(0)
    rows = [
        {"plane": plane, "patient": f"P{patient:02d}", "split": part, "machine": f"M{patient % 2}"}
        for part, first, count in zip(("train", "valid", "test"), np.cumsum((0, *patients)), patients, strict=False)
        for patient in range(first, first + count)
        for plane in planes
        for _ in range(stills)
    ]
    table = pd.DataFrame(rows)
    table.insert(0, "row", np.arange(len(table)))
    table["scan"] = [f"S{i:03d}" for i in table["row"]]
    frames = np.stack([draw(planes.index(plane), rng) for plane in table["plane"]])
    if shuffled:
        table["plane"] = rng.permutation(table["plane"])
    path.mkdir(parents=True)
    with h5py.File(path / "frames.h5", "w") as h5:
        h5.create_dataset("frames", data=frames, chunks=(1, SIZE, SIZE))
        h5["scan"], h5["index"] = np.arange(len(frames), dtype=np.int32), np.zeros(len(frames), np.int32)
        h5["time"] = np.full(len(frames), np.nan, np.float32)
        h5["checksum"] = np.array([checksum_of(frame.data) for frame in frames], np.uint64)
        h5.attrs.update(
            {"format": FORMAT, "version": version, "key_id": "key-a", "fingerprint": f"{rng.bytes(6).hex()}"}
        )
    table[["scan", "patient", "machine"]].assign(kind="still", first=table["row"], frames=1).to_csv(
        path / "scans.csv", index=False
    )
    table.to_csv(path / "labels.csv", index=False)
    return path


def tiny(mode: str = "linear", recipe: ClassifyRecipe = "adapt", **options: object) -> ClassifyConfig:
    """The smallest useful configuration of a recipe."""
    settings: dict[str, object] = {
        "encoder": "test_resnet", "mode": mode, "fractions": (0.25, 1.0), "seeds": 2, "image_size": 32, "epochs": 3,
        "min_steps": 0, "batch_size": 16, "workers": 0, "accelerator": "cpu", "precision": "32-true",
    }  # fmt: skip
    return classify_recipe(recipe, **{**settings, **options})
