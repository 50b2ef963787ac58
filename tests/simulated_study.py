"""Studies with known truth: each test patient's images are right with a chance that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from sonolearn.planes.metrics import macro_f1_of


def row(
    initialisation: str,
    seed: int,
    *,
    fraction: float = 1.0,
    pretrain_seed: int | None = None,
    pool: str = "",
    mode: str = "finetune",
    encoder: str = "resnet18",
    **more: int,
) -> dict[str, object]:
    key = [encoder, initialisation, pool, mode, fraction, pretrain_seed, seed]
    return {
        "run": "/".join(map(str, key)),
        "encoder": encoder,
        "initialisation": initialisation,
        "pool": pool,
        "mode": mode,
        "fraction": fraction,
        "pretrain_seed": pretrain_seed,
        "seed": seed,
        "train_images": int(1000 * fraction),
        "train_patients": int(50 * fraction),
        **more,
    }


def study(
    rows: Iterable[dict[str, object]],
    right: Callable[[dict[str, object]], np.ndarray],
    images: int = 4,
    classes: int = 3,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The table of runs and the matrices of their patients.

    Args:
        rows: made by `row`.
        right: of a row the (P,) or (P, C) number of right images of each patient and class; the others are taken for
            the next class.
        images: of each class and patient.
        classes: number of classes.
    """
    confusions, table = {}, []
    for entry in rows:
        hits = np.asarray(right(entry), float)
        hits = np.repeat(hits[:, None], classes, axis=1) if hits.ndim == 1 else hits
        matrix = hits[:, :, None] * np.eye(classes) + (images - hits)[:, :, None] * np.roll(np.eye(classes), 1, axis=1)
        confusions[str(entry["run"])] = matrix
        accuracy = float(hits.sum() / (images * hits.size))
        f1 = float(macro_f1_of(matrix.sum(0)))
        scores = {"macro_f1": f1, "balanced_accuracy": accuracy, "accuracy": accuracy}
        counts = {"test_images": images * hits.size, "test_patients": len(hits)}
        table.append({**entry, **scores, **counts})
    frame = pd.DataFrame(table)
    return frame.astype({"pretrain_seed": "Int64"}), confusions


def by_chance(
    rng: np.random.Generator,
    shift: Callable[[dict[str, object]], float],
    patients: int = 20,
    images: int = 4,
    classes: int = 3,
    spread: float = 0.5,
) -> Callable[[dict[str, object]], np.ndarray]:
    """A chance of being right with effects of initialisation x patient and of each training, both of SD `spread`.

    Args:
        rng: the source of chance.
        shift: of a row the logit of its chance of being right.
        patients: number of test patients.
        images: of each class and patient.
        classes: number of classes.
        spread: SD on the scale of logits.
    """
    of_patients: dict[object, np.ndarray] = {}

    def right(entry: dict[str, object]) -> np.ndarray:
        key = (entry["encoder"], entry["initialisation"], entry["pool"])
        own = of_patients.setdefault(key, rng.normal(0, spread, (patients, 1)))
        logit = shift(entry) + own + rng.normal(0, spread)
        return rng.binomial(images, 1 / (1 + np.exp(-logit)) * np.ones((patients, classes)))

    return right
