from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from planes.labelled_store import tiny, write_store
from sonolearn.config import PretrainConfig
from sonolearn.planes.classify import classify
from sonolearn.runs import claim
from sonolearn.ssl.encoders import Card, build, save_encoder


def write_pretrain_run(folder: Path) -> Path:
    """A pre-training run as `ssl/pretrain.py` leaves it."""
    config = PretrainConfig(encoder="test_resnet", epochs=20, image_size=32)
    claim(folder, "pretrain", config, {"store 0 scans": "abc123"})
    card = Card("test_resnet", image_size=32, mean=0.3, std=0.2, method="barlow_twins")
    save_encoder(folder / "encoder.safetensors", build(card, 7), card)
    rows = [{"step": s, "epoch": 0, "part": p, "loss": 10 / s} for s in (10, 20) for p in ("train", "valid")]
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    cv2.imwrite(str(folder / "views.png"), np.zeros((30, 80), np.uint8))
    # P11 is a test patient of the labelled store.
    patients = pd.DataFrame({"key_id": "key-a", "patient": ["X1", "P11"], "part": "train"})
    patients.to_csv(folder / "patients.csv", index=False)
    store = {"name": "scans", "fingerprint": "abc123", "frames": 5120, "scans": 64, "patients": 32}
    summary = {
        "method": "barlow_twins", "encoder": "test_resnet", "steps": 20, "epochs": 20, "seconds": 754.2,
        "frames": 5120, "scans": 64, "patients": 32, "machines": ["Voluson E8"], "stores": [store],
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-training run "bt", linear runs "random" and "pretrained" on one store, and a kNN run "other" on another."""
    folder = tmp_path_factory.mktemp("study")
    store, other = write_store(folder / "hearts"), write_store(folder / "clinic", stills=3)
    made = {name: folder / name for name in ("random", "pretrained", "other")}
    made["bt"] = write_pretrain_run(folder / "bt")
    classify(store, made["random"], tiny(seeds=3))
    classify(store, made["pretrained"], tiny(seeds=3, init=str(made["bt"]), encoder=None))
    classify(other, made["other"], tiny("knn", fractions=(1.0,), seeds=1))
    return made
