"""Results of a study that nobody ran: any number of initialisations, seeds, pools; predictions of a drawn skill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from sonolearn.planes.metrics import macro_f1_of
from sonolearn.runs import generator_for, hash_of
from sonolearn.study.read import PretrainRun
from sonolearn.study.results import StudyResults

PLANES = ("3VV/3VT", "4CH", "LVOT", "RVOT", "non-heart")
SKILLS = {
    "random": 0.6, "ImageNet": 1.3, "Barlow Twins": 2.0, "VICReg": 1.9, "SimCLR": 1.6, "MoCo": 1.5, "BYOL": 1.55,
    "autoencoder": 0.9, "inpainting autoencoder": 1.0, "DINO": 1.7, "MAE": 1.1, "SwAV": 1.4,
}  # fmt: skip
WITHOUT_PRETRAINING = ("random", "ImageNet")
NO_POOL = ("", 0, 0, 0)
WHOLE = ("pool_patients", "pool_scans", "pool_frames", "pretrain_seed")
MODE_SKILL = {"finetune": 0.25, "linear": 0.0, "knn": -0.25, "logistic": 0.0}


@dataclass(frozen=True)
class Wish:
    """What the study should be like.

    Attributes:
        initialisations: how many of `SKILLS`.
        pools: name, patients, scans and frames of each pool of the part on variance against size.
        pooled_modes: how many of the modes, from the first, are run on those pools.
        machines: of the test images.
    """

    initialisations: int = 3
    fractions: tuple[float, ...] = (0.1, 1.0)
    modes: tuple[str, ...] = ("finetune", "linear")
    encoders: tuple[str, ...] = ("resnet18",)
    seeds: int = 3
    pools: tuple[tuple[str, int, int, int], ...] = ()
    pooled_modes: int = 1
    planes: tuple[str, ...] = PLANES
    patients: int = 12
    images: int = 60
    machines: tuple[str, ...] = ("Voluson E8", "V830")
    missing: int = 0
    failures: int = 0
    embeddings: bool = True
    cams: int = 0
    plan: dict[str, Any] = field(default_factory=dict)
    title: str = "Fetal cardiac planes"
    warnings: tuple[str, ...] = ()


REALISTIC = Wish(
    initialisations=9,
    fractions=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0),
    modes=("finetune", "linear", "knn"),
    encoders=("resnet50", "narrow_resnet18"),
    pools=(("10 patients", 10, 40, 6000), ("40 patients", 40, 160, 6000), ("10 patients, all frames", 10, 40, 24000),
           ("40 patients, all frames", 40, 160, 24000)),
    patients=48, images=500, machines=("Voluson E8", "S10 Expert", "V830"), missing=3, failures=2, cams=3,
)  # fmt: skip


def study_of(wish: Wish) -> StudyResults:
    """The results of such a study; equal wishes give equal results."""
    images = _images(wish)
    names = list(SKILLS)[: wish.initialisations]
    runs, predictions = [], []
    for row, skill in _planned(wish, names):
        number = len(runs)
        table = _predictions(images, wish.planes, skill, generator_for("fake", row["run"]))
        index = {plane: i for i, plane in enumerate(wish.planes)}
        truth, predicted = (table[c].map(index).to_numpy(np.int64) for c in ("plane", "predicted"))
        runs.append({**row, **_scores(truth, predicted, len(wish.planes)), "seconds": 20.0 + number % 7})
        predictions.append(table.assign(run=row["run"]))
    table = pd.DataFrame(runs).astype(dict.fromkeys(WHOLE, "Int64"))
    joined = pd.concat(predictions, ignore_index=True)
    if wish.missing:
        gone = set(table["run"].iloc[3 :: max(1, len(table) // wish.missing)][: wish.missing])
        table, joined = table[~table["run"].isin(gone)], joined[~joined["run"].isin(gone)]
    for column in ("run", "patient", "plane", "predicted"):
        joined[column] = joined[column].astype("category")
    return StudyResults(
        title=wish.title,
        plan={"store": "/home/anna/stores/hearts", "modes": list(wish.modes), "seeds": wish.seeds, **wish.plan},
        store=_store(wish, images),
        planes=wish.planes,
        runs=table.reset_index(drop=True),
        predictions=joined[["run", "row", "patient", "plane", "predicted", *(f"p_{p}" for p in wish.planes)]],
        images=images,
        pretrained={key: _pretrained(key, row) for key, row in _pretrainings(table).items()},
        embeddings=_embeddings(wish, names, images) if wish.embeddings else {},
        cams={f"{name} ({wish.encoders[0]})": _sheet() for name in names[: wish.cams]},
        failures=pd.DataFrame(
            [{"task": f"classify {i}", "error": "/home/anna/runs/a: out of memory & <lost>_100%"}
             for i in range(wish.failures)], columns=["task", "error"],
        ),
        missing=wish.missing,
        warnings=list(wish.warnings),
        machine={"cores": 16, "processor": "AMD EPYC", "system": "Linux", "python": "3.12.3"},
        seconds=float(table["seconds"].sum()),
        wall_seconds=float(table["seconds"].sum() / 4),
    )  # fmt: skip


def _planned(wish: Wish, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], float]]:
    """Rows of the runs table without scores, and the skill of each."""
    main = [(name, NO_POOL) for name in names]
    learnt = [name for name in names if name not in WITHOUT_PRETRAINING][:2]
    varied = [(name, pool) for name in learnt for pool in wish.pools]
    for name, pool in [*main, *varied]:
        for encoder in wish.encoders:
            for mode in wish.modes if not pool[0] else wish.modes[: wish.pooled_modes]:
                for fraction in wish.fractions:
                    for seed in range(wish.seeds):
                        row = _run(wish, name, pool, encoder, mode, fraction, seed)
                        more = 0.0 if not pool[0] else 0.35 * np.log10(pool[1] / 40)
                        noise = generator_for("skill", row["run"]).normal(0, 0.15)
                        yield row, SKILLS[name] + MODE_SKILL[mode] + more + np.log10(fraction) * 0.55 + noise


def _run(
    wish: Wish, name: str, pool: tuple[str, int, int, int], encoder: str, mode: str, fraction: float, seed: int
) -> dict[str, Any]:
    learnt = name not in WITHOUT_PRETRAINING
    key = {"initialisation": name, "encoder": encoder, "pool": pool[0]}
    numbers = pool[1:] if pool[0] else ((40, 160, 24000) if learnt else (pd.NA,) * 3)
    unit = {**key, "mode": mode, "fraction": fraction, "seed": seed}
    return {
        "run": hash_of(unit), **key,
        **dict(zip(("pool_patients", "pool_scans", "pool_frames"), numbers, strict=True)),
        "start": hash_of({**key, "start": seed}),
        "pretrain": hash_of({**key, "seed": seed}) if learnt else "",
        "pretrain_seed": seed if learnt else pd.NA,
        "mode": mode, "fraction": fraction, "seed": seed,
        "best_epoch": 7, "regularisation": np.nan, "valid_balanced_accuracy": 0.5,
        "train_images": round(1200 * fraction), "train_patients": max(3, round(90 * fraction**0.5) - seed),
        "valid_images": 200, "valid_patients": 20, "test_images": wish.images, "test_patients": wish.patients,
        "data_hash": "d" * 12, "config_hash": "c" * 12, "sonolearn": "0.1.0",
    }  # fmt: skip


def _scores(truth: np.ndarray, predicted: np.ndarray, planes: int) -> dict[str, float]:
    counts = np.zeros((planes, planes))
    np.add.at(counts, (truth, predicted), 1)
    recall = np.diag(counts) / np.maximum(counts.sum(1), 1)
    return {
        "macro_f1": float(macro_f1_of(counts)),
        "balanced_accuracy": float(recall[counts.sum(1) > 0].mean()),
        "accuracy": float(np.diag(counts).sum() / counts.sum()),
    }


def _images(wish: Wish) -> pd.DataFrame:
    draw = generator_for("images", wish.images)
    patient = np.sort(np.arange(wish.images) % wish.patients)
    return pd.DataFrame({
        "row": np.arange(wish.images) + 1000,
        "plane": np.resize(np.array(wish.planes, object), wish.images)[draw.permutation(wish.images)],
        "patient": [f"P{number:03d}" for number in patient],
        "machine": [wish.machines[number % len(wish.machines)] for number in patient],
    })  # fmt: skip


def _predictions(images: pd.DataFrame, planes: Sequence[str], skill: float, draw: np.random.Generator) -> pd.DataFrame:
    index = {plane: i for i, plane in enumerate(planes)}
    truth = images["plane"].map(index).to_numpy(np.int64)
    logits = draw.normal(size=(len(images), len(planes)))
    logits[np.arange(len(images)), truth] += max(0.1, skill + 0.6)
    by_patient = draw.normal(0, 0.6, (images["patient"].nunique(), len(planes)))
    logits += by_patient[pd.factorize(images["patient"])[0]]
    shares = np.exp(1.6 * logits)
    shares /= shares.sum(1, keepdims=True)
    table = images[["row", "patient", "plane"]].assign(predicted=np.array(planes, object)[shares.argmax(1)])
    return table.assign(**{f"p_{plane}": shares[:, i] for i, plane in enumerate(planes)})


def _store(wish: Wish, images: pd.DataFrame) -> dict[str, Any]:
    counts = images["plane"].value_counts()
    sizes = (("train", 1200, 90), ("valid", 200, 20), ("test", len(images), wish.patients))
    return {
        "name": "hearts", "fingerprint": "0123456789ab", "key_id": "k", "frame_size": 256,
        "patients": 110 + wish.patients, "machines": sorted(wish.machines), "planes": list(wish.planes),
        "parts": {
            name: {"images": size, "patients": patients,
                   "planes": {p: int(counts.get(p, 0) * size / len(images)) for p in wish.planes}}
            for name, size, patients in sizes
        },
    }  # fmt: skip


def _pretrainings(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    learnt = runs[runs["pretrain"] != ""].drop_duplicates("pretrain")
    return {row["pretrain"]: row for row in learnt.to_dict("records")}


def _pretrained(key: str, row: dict[str, Any]) -> PretrainRun:
    draw = generator_for("pretrain", key)
    steps = np.arange(0, 5001, 500)
    grown = 1 - np.exp(-steps / 1500)
    rank = 20 + 60 * grown * draw.uniform(0.6, 1.2) + draw.normal(0, 1, len(steps))
    monitors = pd.DataFrame({
        "step": steps, "epoch": 0, "part": "monitor", "loss": np.nan, "feature_std": 0.2 + 0.5 * grown,
        "effective_rank": rank, "alignment": 0.6 - 0.3 * grown, "uniformity": -1 - 2 * grown,
        "knn_accuracy": 0.3 + 0.4 * grown + draw.normal(0, 0.02, len(steps)),
    })  # fmt: skip
    losses = pd.DataFrame({"step": steps[1:], "epoch": 0, "part": "train", "loss": 3 - grown[1:]})
    last = monitors.iloc[-1]
    summary = {
        "method": "barlow_twins", "encoder": row["encoder"], "steps": 5000, "epochs": 20, "seconds": 5400.0,
        "frames": row["pool_frames"], "scans": row["pool_scans"], "patients": row["pool_patients"],
        "machines": ["Voluson E8"], "stores": [], "collapsed": row["initialisation"] == "autoencoder",
        "monitors": {k: float(last[k]) for k in ("feature_std", "effective_rank", "alignment", "uniformity")},
    }  # fmt: skip
    record = {"command": "pretrain", "config": {"method": "barlow_twins"}, "hash": key}
    return PretrainRun(Path("/home/anna/runs") / key, record, summary, pd.concat([monitors, losses]), None, None)


def _embeddings(wish: Wish, names: Sequence[str], images: pd.DataFrame) -> dict[str, np.ndarray]:
    index = {plane: i for i, plane in enumerate(wish.planes)}
    truth = images["plane"].map(index).to_numpy(np.int64)
    found = {}
    for encoder in wish.encoders:
        for name in names:
            draw = generator_for("embedding", encoder, name)
            centres = draw.normal(size=(len(wish.planes), 64)) * SKILLS[name] * 0.3
            found[f"{name} ({encoder})"] = (centres[truth] + draw.normal(size=(len(images), 64))).astype(np.float32)
    return found


def _sheet() -> bytes:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    coloured = cv2.applyColorMap(np.tile(ramp, (160, 1)), cv2.COLORMAP_VIRIDIS)
    return bytes(cv2.imencode(".png", coloured)[1].tobytes())
