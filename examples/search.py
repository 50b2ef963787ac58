"""The search behind `--recipe adapt`: one setting at a time around a base, on development data only.

    python examples/search.py OUT --data hc18=LABELLED,EXTRA lungs=ZONE+B_LINES,CINES --weights FILE [--workers 12]

Each entry of --data names labelled stores (+ between those of the same frames) whose test part is a *development* part
(patients of the real training and validation parts, never of the real test part), and stores without labels. Every
setting is pre-trained `--seeds` times and judged by linear heads over label fractions and draws. Rows are added to
OUT/search.csv as they come; called again, it goes on with those that are missing. docs/results/search.md shows them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

FRACTIONS = (0.01, 0.05, 0.1, 0.25, 1.0)
DRAWS = 10
FINETUNE_FRACTIONS = (0.01, 0.1, 1.0)
FINETUNE_DRAWS = 2

BASE: dict[str, Any] = {"method": "vicreg"}
SETTINGS: dict[str, dict[str, Any]] = {
    "base": {},
    **{f"method {m}": {"method": m} for m in ("barlow_twins", "simclr", "byol", "moco", "autoencoder", "inpainting")},
    "views study": {"views": {"name": "study"}},
    "crop 0.2": {"views": {"name": "ultrasound", "crop_scale": (0.2, 1.0)}},
    "crop 0.8": {"views": {"name": "ultrasound", "crop_scale": (0.8, 1.0)}},
    "rate 1e-4": {"optimizer": {"lr": 1e-4}},
    "rate 1e-3": {"optimizer": {"lr": 1e-3}},
    "200 steps": {"max_steps": 200, "optimizer": {"warmup_steps": 20}},
    "800 steps": {"max_steps": 800, "optimizer": {"warmup_steps": 80}},
    "projector 2048 2048 2048": {"vicreg": {"projector": (2048, 2048, 2048)}},
    "nearby frames": {"positives": {"name": "nearby_frames", "seconds": 0.5}},
    "128 px": {"image_size": 128},
    "random weights": {"init": "random"},
}
ONLY_VIDEO = ("nearby frames",)
STILL = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "blur": (0.0, 0.0),
         "solarize": (0.0, 0.0)}  # fmt: skip


FINETUNE: dict[str, dict[str, Any]] = {
    "finetune base": {},
    "finetune rate 1e-4": {"lr": 1e-4},
    "finetune rate 1e-3": {"lr": 1e-3},
    "finetune layer decay 0.9": {"layer_decay": 0.9},
    "finetune layer decay 0.6": {"layer_decay": 0.6},
    "finetune 40 epochs": {"epochs": 40, "min_steps": 200},
    "finetune average 0.9": {"average": 0.9},
    "finetune views none": {"views": STILL},
}
"""Settings of fine-tuning; each is judged at several mixtures of the linear evaluation and the fine-tuned weights."""


def jobs(data: list[str], seeds: int) -> Iterator[tuple[str, str, int]]:
    """What is to be done, the starts without pre-training first."""
    yield from ((name, "ImageNet", 0) for name in data)
    for seed in range(seeds):
        if seed == 1:  # from ImageNet (0) and from the pre-training of the base (1)
            for setting in FINETUNE:
                yield from ((name, setting, start) for name in data for start in (0, 1))
        for setting in SETTINGS:
            yield from ((name, setting, seed) for name in data if setting not in ONLY_VIDEO or name != "hc18")


def run(
    job: tuple[str, str, int], labelled: list[Path], others: list[Path], weights: str, encoder: str, out: Path
) -> list[dict[str, Any]]:
    """Pre-train and judge one setting; returns a row a labelled store."""
    import cv2
    import torch

    from sonolearn.recipes import recipe
    from sonolearn.ssl.pretrain import pretrain

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    name, setting, seed = job
    start, folder = time.monotonic(), out / "runs" / f"{name}-{setting}-{seed}".replace(" ", "_")
    init, size = weights, 112
    if setting in FINETUNE:
        if seed:
            init = str(out / "runs" / f"{name}-base-0")
    elif setting != "ImageNet":
        options = {"encoder": encoder, "init": weights, "seed": seed, "workers": 0, **BASE, **SETTINGS[setting]}
        config = recipe(**options)
        pretrain([labelled[0], *others], folder, config)
        init, size = str(folder), config.image_size
    rows = []
    for store in labelled[:1] if setting in FINETUNE else labelled:
        if setting in FINETUNE:
            scores: dict[str, Any] = judge_finetuning(store, init, encoder, size, FINETUNE[setting])
        else:
            scores = judge(store, init, encoder, size)
        rows.append({"data": store.name, "setting": setting, "seed": seed, **scores})
    return [{**row, "seconds": round(time.monotonic() - start, 1)} for row in rows]


def judge(store: Path, init: str, encoder: str, size: int) -> dict[str, float]:
    """Mean macro F1 of linear heads at each label fraction, over draws of labels."""
    from sonolearn.config import ClassifyConfig
    from sonolearn.planes.images import LabelledImages
    from sonolearn.planes.initialisation import Initialisation
    from sonolearn.planes.metrics import scores
    from sonolearn.planes.results import Unit
    from sonolearn.planes.run import Trainer
    from sonolearn.store.store import Store

    config = ClassifyConfig(encoder=None if Path(init).is_dir() else encoder, init=init, image_size=size, mode="linear")
    opened = Store(store)
    assert opened.labels is not None
    units = [Unit(fraction, draw) for fraction in FRACTIONS for draw in range(DRAWS if fraction < 1 else 1)]
    trainer = Trainer(LabelledImages(opened, opened.labels, size), Initialisation(config), 0, units)
    # Many small heads are solved faster where nobody waits for a device.
    trainer.features.update({part: features.cpu() for part, features in trainer.features.items()})
    found: dict[float, list[float]] = {fraction: [] for fraction in FRACTIONS}
    for unit in units:
        predicted = trainer.fit(unit).predict(trainer.features["test"]).argmax(1)
        found[unit.fraction].append(scores(trainer.parts["test"].targets, predicted)["macro_f1"])
    return {f"{fraction:g}": round(sum(values) / len(values), 4) for fraction, values in found.items()}


def judge_finetuning(store: Path, init: str, encoder: str, size: int, settings: dict[str, Any]) -> dict[str, str]:
    """Mean macro F1 at each label fraction of the linear evaluation / half way / the fine-tuned weights."""
    import torch

    from sonolearn.planes.finetune import fit_finetune, mixture, start_from_logistic
    from sonolearn.planes.head import PlaneClassifier
    from sonolearn.planes.images import LabelledImages
    from sonolearn.planes.initialisation import Initialisation
    from sonolearn.planes.metrics import scores
    from sonolearn.recipes import classify_recipe
    from sonolearn.ssl.devices import make_fabric
    from sonolearn.ssl.encoders import feature_count
    from sonolearn.store.splits import label_fraction
    from sonolearn.store.store import Store

    name = None if Path(init).is_dir() else encoder
    config = classify_recipe(encoder=name, init=init, image_size=size, workers=0, mixture=1.0, **settings)
    opened, fabric = Store(store), make_fabric(config.accelerator, config.precision)
    assert opened.labels is not None
    images = LabelledImages(opened, opened.labels, size)
    parts = images.parts
    found = dict.fromkeys((f"{fraction:g}" for fraction in FRACTIONS), "")
    for fraction in FINETUNE_FRACTIONS:
        sums = [0.0, 0.0, 0.0]
        draws = FINETUNE_DRAWS if fraction < 1 else 1
        for draw in range(draws):
            subset = parts["train"].at(label_fraction(opened.labels, opened.planes, fraction, draw).rows)
            train = images.frames("train")[parts["train"].positions(subset.rows)], subset
            network, card = Initialisation(config).load(0)
            head = PlaneClassifier(network, feature_count(network), len(opened.planes), 0.0, 0)
            start_from_logistic(head, card, train, len(opened.planes), config, fabric)
            start = {key: value.clone() for key, value in head.state_dict().items()}
            network, card = Initialisation(config).load(0)
            fitted = fit_finetune(network, card, train, None, len(opened.planes), config, draw, fabric)
            assert fitted.classifier is not None
            end = {key: value.clone() for key, value in fitted.classifier.state_dict().items()}
            for number, share in enumerate((0.0, 0.5, 1.0)):
                fitted.classifier.load_state_dict(mixture(start, end, share))
                predicted = fitted.predict(torch.from_numpy(images.frames("test"))).argmax(1)
                sums[number] += scores(parts["test"].targets, predicted)["macro_f1"] / draws
        found[f"{fraction:g}"] = " ".join(f"{value:.3f}" for value in sums)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default="", help="regular expression of the settings to run")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing after so many seconds")
    arguments = parser.parse_args()
    data = {}
    for word in arguments.data:
        name, _, paths = word.partition("=")
        first, *others = paths.split(",")
        data[name] = [Path(path) for path in first.split("+")], [Path(path) for path in others]
    arguments.out.mkdir(parents=True, exist_ok=True)
    table, end = arguments.out / "search.csv", time.monotonic() + arguments.seconds
    columns = ["data", "setting", "seed", *(f"{fraction:g}" for fraction in FRACTIONS), "seconds"]
    if not table.exists():
        table.write_text(",".join(columns) + "\n")
    done = {tuple(line.split(",")[:3]) for line in table.read_text().splitlines()[1:]}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    waiting = [
        job
        for job in jobs(list(data), arguments.seeds)
        if not {(store.name, *map(str, job[1:])) for store in data[job[0]][0]} <= done
        and re.search(arguments.only, job[1])
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        fixed = arguments.weights, arguments.encoder, arguments.out
        futures = {pool.submit(run, job, *data[job[0]], *fixed): job for job in waiting}
        for future in as_completed(futures):
            if future.cancelled():
                continue
            if error := future.exception():
                print(*futures[future], "failed:", error, flush=True)
                continue
            lines = [",".join(str(row[column]) for column in columns) for row in future.result()]
            with table.open("a") as file:
                file.write("\n".join(lines) + "\n")
            print(*lines, sep="\n", flush=True)
            if time.monotonic() > end:
                pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
