"""What a finished pre-training leaves behind: the encoder, the patients behind it, and a summary."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from torch import nn

from sonolearn.config import PoolConfig, PretrainConfig
from sonolearn.data.store import Rows, Store
from sonolearn.runs import machine, plain, write_json, writing
from sonolearn.ssl.checkpoint import CHECKPOINT
from sonolearn.ssl.encoders import ENCODER_FILE, Card, save_encoder
from sonolearn.ssl.frames import FramePool
from sonolearn.ssl.monitors import has_collapsed
from sonolearn.version import __version__

SUMMARY = "summary.json"
PATIENTS = "patients.csv"


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has ended; its summary is written last."""
    return (folder / SUMMARY).exists()


def has_encoder(folder: Path) -> bool:
    """Whether the run in `folder` has ended and its encoder is still there; figures and tables need none."""
    return is_finished(folder) and (folder / ENCODER_FILE).exists()


def write_results(
    folder: Path, encoder: nn.Module, card: Card, config: PretrainConfig, pools: tuple[FramePool, FramePool],
    steps: int, seconds: float, device: str, monitors: dict[str, float],
) -> None:  # fmt: skip
    """Write encoder.safetensors, patients.csv and summary.json, and drop the checkpoint."""
    save_encoder(folder / ENCODER_FILE, encoder, card)
    with writing(folder / PATIENTS) as temporary:
        _patients(pools).to_csv(temporary, index=False)
    summary = {
        "method": config.method, "recipe": config.recipe, "views": config.views.name,
        "positives": config.positives.name, "encoder": card.encoder, "init": Path(config.init).name,
        "seed": config.seed,
        "image_size": config.image_size, "batch_size": config.batch_size,
        "patients_per_batch": config.patients_per_batch, "pool": _not_default(config.pool), "steps": steps,
        "epochs": round(steps * config.batch_size / len(pools[0]), 1),
        "seconds": round(seconds, 1), "device": device, "machine": machine(), "sonolearn": __version__,
        "frames": len(pools[0]), "patients": len(pools[0].patients), "scans": sum(_scans(pool) for pool in pools[:1]),
        "valid_frames": len(pools[1]), "valid_patients": len(pools[1].patients),
        "machines": _machines(pools[0]),
        "monitors": {name: round(value, 6) for name, value in monitors.items() if not math.isnan(value)},
        "collapsed": has_collapsed(monitors),
        "stores": [
            {"name": s.path.name, "fingerprint": s.fingerprint, "frames": len(s), "scans": len(s.scans),
             "patients": int(s.scans["patient"].nunique())} for s in pools[0].stores
        ],
    }  # fmt: skip
    write_json(folder / SUMMARY, summary)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _not_default(config: PoolConfig) -> dict[str, int]:
    default = plain(PoolConfig())
    return {name: value for name, value in plain(config).items() if value != default[name]}


def _patients(pools: tuple[FramePool, FramePool]) -> pd.DataFrame:
    """Columns key_id, patient, part: who was seen, so that an overlap with a test part can be told later."""
    tables = []
    for pool, part in zip(pools, ("train", "valid"), strict=True):
        keys = [pool.stores[i].key_id for i in pool.store_of_frame]
        tables.append(pd.DataFrame({"key_id": keys, "patient": pool.patient_of_frame, "part": part}).drop_duplicates())
    return pd.concat(tables).sort_values(["key_id", "patient"])


def _scans(pool: FramePool) -> int:
    return sum(len(set(store.scan_of_frame[rows])) for store, rows in _rows_by_store(pool))


def _machines(pool: FramePool) -> list[str]:
    names: set[str] = set()
    for store, rows in _rows_by_store(pool):
        names.update(store.scans["machine"].iloc[sorted(set(store.scan_of_frame[rows]))])
    return sorted(names - {""})


def _rows_by_store(pool: FramePool) -> list[tuple[Store, Rows]]:
    return [(store, pool.row_of_frame[pool.store_of_frame == i]) for i, store in enumerate(pool.stores)]
