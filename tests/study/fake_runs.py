"""Pre-training runs as `ssl/pretrain.py` leaves them, of today and of before, written without training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from sonolearn.config import PretrainConfig
from sonolearn.runs import claim
from sonolearn.ssl.encoders import Card, build, save_encoder

MONITORED = {"feature_std": 0.52, "effective_rank": 17.25, "alignment": 0.25, "uniformity": -1.5}
STORE = {"name": "scans", "fingerprint": "abc123", "frames": 5120, "scans": 64, "patients": 32}


def write_pretrain_run(
    folder: Path, config: PretrainConfig, monitors: dict[str, float] | None = None, **summary: Any
) -> Path:
    """A run of today; more of `monitors` (may be NaN) and of the summary."""
    claim(folder, "pretrain", config, {"store 0 scans": "abc123"}, config.other_methods)
    figures = {**MONITORED, "knn_accuracy": math.nan, **(monitors or {})}
    rows = [
        *({"step": s, "epoch": 0, "part": p, "loss": 10 / s} for s in (10, 20) for p in ("train", "valid")),
        *({"step": s, "epoch": 0, "part": "monitor", **figures} for s in (0, 10, 20)),
    ]
    pd.DataFrame(rows).sort_values("step").to_csv(folder / "metrics.csv", index=False)
    write_rest(folder, config, {
        "recipe": config.recipe, "views": config.views.name, "positives": config.positives.name, "valid_frames": 300,
        "monitors": {name: value for name, value in figures.items() if not math.isnan(value)}, "collapsed": False,
        **summary,
    })  # fmt: skip
    if config.method in ("autoencoder", "inpainting"):
        cv2.imwrite(str(folder / "rebuilt.png"), np.full((30, 80), 99, np.uint8))
    return folder


def write_old_run(folder: Path) -> Path:
    """A run of before there were recipes, presets and monitors."""
    config = PretrainConfig(encoder="test_resnet", epochs=20, image_size=32)
    claim(folder, "pretrain", config, {"store 0 scans": "abc123"}, config.other_methods)
    record = json.loads((folder / "run.json").read_text())
    options = {k: v for k, v in record["config"].items() if k not in {"recipe", "positives", "optimizer"}}
    options["views"] = {k: v for k, v in options["views"].items() if k in ("crop_scale", "flip", "blur", "solarize")}
    options["barlow_twins"]["lr_weights"] = 0.2
    (folder / "run.json").write_text(json.dumps({**record, "config": options}))
    (folder / ".checksums").unlink()
    rows = [{"step": s, "epoch": 0, "part": p, "loss": 10 / s} for s in (10, 20) for p in ("train", "valid")]
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    write_rest(folder, config, {})
    return folder


def write_rest(folder: Path, config: PretrainConfig, more: dict[str, Any]) -> None:
    """What runs have had from the start: encoder, patients, views and summary."""
    card = Card("test_resnet", image_size=32, mean=0.3, std=0.2, method=config.method)
    save_encoder(folder / "encoder.safetensors", build(card, 7), card)
    cv2.imwrite(str(folder / "views.png"), np.zeros((30, 80), np.uint8))
    # P11 is a test patient of the labelled store.
    patients = pd.DataFrame({"key_id": "key-a", "patient": ["X1", "P11"], "part": "train"})
    patients.to_csv(folder / "patients.csv", index=False)
    summary = {
        "method": config.method, "encoder": "test_resnet", "steps": 20, "epochs": 20, "seconds": 754.2,
        "frames": 5120, "scans": 64, "patients": 32, "machines": ["Voluson E8"], "stores": [STORE], **more,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
