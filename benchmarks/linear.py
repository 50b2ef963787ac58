"""Linear evaluation over label fractions and seeds, against one pass of the encoder; heads together, against peers.

    python -m benchmarks.linear [--quick]

The first rows are the command `classify --recipe study --mode linear` from the store to the tables: images read,
features extracted, 60 heads (6 label fractions x 10 seeds) trained, chosen on the validation part, tested and written.
They are held against the extraction of the features alone, by the same function: what linear evaluation cannot do
without. To spare time it is done once and its time added to that of the command, which is handed the features where it
asks for them; that it asks once for each image is checked. The store holds noise with five planes, since time does not
depend on what is to be seen.

The other rows hold the heads alone against other ways to the same heads, on drawn features: five overlapping classes of
unequal size, 48 latent directions of falling strength mixed into all features, a little noise, and a softplus, as
behind an encoder's last activation. AdamW: `fit_linear_heads` against the usual loop (nn.Linear, nn.Dropout,
CrossEntropyLoss, AdamW, scikit-learn's score) on the same subsets, batches and epochs, a head at a time; the loop is
timed on one seed and multiplied. Logistic: `fit_heads` against scikit-learn's LogisticRegression at the loosest
tolerance (a power of ten) that brings it as near to the optimum as ours; it fits all strengths as ours does, and need
not choose one. All on one thread; processor time is compared, which other work on the machine disturbs less than it
does the clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from torch import Tensor, nn

from benchmarks.figure import Row, cost, in_turns, run_script, speed
from sonolearn.checksums import checksum_of
from sonolearn.config import ClassifyConfig
from sonolearn.planes import run as run_room
from sonolearn.planes.classify import classify
from sonolearn.planes.head import HeldOut, batches_of, class_weights, make_head
from sonolearn.planes.linear import fit_linear_heads, standardisation
from sonolearn.planes.logistic import fit_heads
from sonolearn.recipes import classify_recipe
from sonolearn.runs import generator_for
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import Card, build, load_file, save_encoder
from sonolearn.ssl.features import extract, read_images
from sonolearn.store.store import FORMAT, PARTS, VERSION, Store

SHARES = (0.3, 0.25, 0.2, 0.15, 0.1)
CLASSES = len(SHARES)
PLANES = tuple(f"plane {number}" for number in range(CLASSES))
Part = tuple[Tensor, NDArray[np.int64]]
Training = tuple[NDArray[np.int64], int]


def rows(quick: bool) -> Iterator[Row]:
    """Linear evaluation as a whole by both solvers, then the heads alone."""
    torch.set_num_threads(1)
    encoder, size, images = ("test_resnet", 32, 80) if quick else ("resnet18", 224, 1_000)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", images, size)
        file = Path(folder) / "encoder.safetensors"
        save_encoder(file, build(Card(encoder), 0), Card(encoder, image_size=size))
        extracted, least = extraction(store, file, size)
        for solver in ("adamw", "logistic"):
            config = classify_recipe(
                "study", mode="linear", init=str(file), solver=solver, seeds=2 if quick else 10,
                epochs=3 if quick else 100, accelerator="cpu", precision="32-true",
            )  # fmt: skip
            rest = evaluation(store, Path(folder) / solver, config, extracted)
            heads = f"{len(config.fractions)} fractions x {config.seeds} seeds, {images:,} images"
            command = f"`classify --recipe study --mode linear --solver {solver}`"
            figure = f"{command}: {heads}, {encoder} at {size} px, processor time"
            yield cost(figure, least + rest, "extracting the features alone", least, 1.2)
    yield adamw_heads(*((16, 60, 2) if quick else (512, 600, 10)), quick)
    yield logistic_heads(*((16, 60, 2) if quick else (128, 600, 3)))


def extraction(store: Path, file: Path, size: int) -> tuple[dict[bytes, Tensor], float]:
    """The features of each part, by the bytes of its images, and processor seconds."""
    source, fabric = Store(store), make_fabric("cpu", "32-true")
    assert source.labels is not None
    parts = [read_images(source, part["row"].to_numpy(), size) for _, part in source.labels.groupby("split")]
    encoder, card = load_file(file, ClassifyConfig(), 0)
    extract(encoder, card, parts[0][:16], fabric)  # the first call is slower
    started = time.process_time()
    features = [extract(encoder, card, part, fabric) for part in parts]
    seconds = time.process_time() - started
    return {part.tobytes(): found for part, found in zip(parts, features, strict=True)}, seconds


def evaluation(store: Path, out: Path, config: ClassifyConfig, extracted: dict[bytes, Tensor]) -> float:
    """Processor seconds of the whole command but the extraction; its output is of no use here."""
    left = dict(extracted)
    known = patch.object(run_room, "extract", lambda encoder, card, images, fabric: left.pop(images.tobytes()))
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), known:
        started = time.process_time()
        classify(store, out, config)
        seconds = time.process_time() - started
    if left:
        raise RuntimeError("classify has not extracted the features of all parts once")
    return seconds


def adamw_heads(features: int, images: int, seeds: int, quick: bool) -> Row:
    """Heads on drawn features against the usual loop."""
    config = classify_recipe("study", mode="linear", epochs=3 if quick else 100)
    train, valid = draw("train", images, features), draw("valid", images // 3, features)
    trainings = subsets_of(train[1], seeds, config)
    some = trainings[: len(config.fractions)]
    times = in_turns(
        {
            "together": lambda: fit_linear_heads(*train, trainings, HeldOut(*valid), CLASSES, config),
            "loop": lambda: [usual_loop(train, subset, valid, config, seed) for subset, seed in some],
        },
        1, time.process_time, warm_up=0,
    )  # fmt: skip
    figure = f"{len(trainings)} linear heads, AdamW, {config.epochs} epochs, {images} x {features} features"
    return speed(figure, times["together"], "torch loop, one by one", times["loop"] * seeds, None)


def logistic_heads(features: int, images: int, seeds: int) -> Row:
    """Heads of all strengths on drawn features against scikit-learn."""
    config = classify_recipe("study", mode="linear")
    train, valid = draw("train", images, features), draw("valid", images // 3, features)
    subsets, strengths = [subset for subset, _ in subsets_of(train[1], seeds, config)], config.regularisations
    patients = np.arange(images).astype(object)  # the validation part chooses, and no folds are made
    tolerance = as_near_as_ours(train, patients, subsets[: len(config.fractions)], valid, strengths)
    times = in_turns(
        {
            "together": lambda: fit_heads(*train, patients, subsets, HeldOut(*valid), CLASSES, config),
            "theirs": lambda: [peer(train, subset, valid, strengths, tolerance) for subset in subsets],
        },
        1, time.process_time, warm_up=0,
    )  # fmt: skip
    figure = f"{len(subsets) * len(strengths)} logistic heads, {images} x {features} features"
    return speed(figure, times["together"], f"scikit-learn, tol={tolerance:.0e}", times["theirs"], None)


def usual_loop(train: Part, subset: NDArray[np.int64], valid: Part, config: ClassifyConfig, seed: int) -> None:
    """One head as it is usually trained."""
    shift, scale = standardisation(train[0][subset], "each")
    inputs, targets = (train[0][subset] - shift) * scale, torch.from_numpy(train[1][subset])
    held_out, head = (valid[0] - shift) * scale, make_head(inputs.shape[1], CLASSES, seed)
    criterion, dropout = nn.CrossEntropyLoss(class_weights(train[1][subset], CLASSES)), nn.Dropout(config.dropout)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    best = -1.0
    for epoch in range(config.epochs):
        for batch in batches_of(len(subset), config.batch_size, seed, epoch):
            loss = criterion(head(dropout(inputs[batch])), targets[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        with torch.no_grad():
            found = head(held_out).argmax(1).numpy()
        score = float(recall_score(valid[1], found, average="macro", zero_division=0))
        if score > best:
            best, _ = score, {name: tensor.clone() for name, tensor in head.state_dict().items()}


def as_near_as_ours(
    train: Part, patients: NDArray[np.object_], subsets: list[NDArray[np.int64]], valid: Part,
    strengths: tuple[float, ...],
) -> float:  # fmt: skip
    """The loosest tolerance (1e-4 is scikit-learn's own) at which scikit-learn is as near to the optimum as we are."""
    truth = [peer(train, subset, valid, strengths, 1e-10, "newton-cholesky") for subset in subsets]
    each = [classify_recipe("study", mode="linear", regularisations=(strength,)) for strength in strengths]
    ours = [
        [fit_heads(*train, patients, [s], HeldOut(*valid), CLASSES, one)[0].predict(valid[0]) for one in each]
        for s in subsets
    ]
    error = max(float(np.abs(np.stack(a) - b).max()) for a, b in zip(ours, truth, strict=True))
    for digits in range(4, 10):
        found = [peer(train, subset, valid, strengths, 10.0**-digits) for subset in subsets]
        if max(float(np.abs(a - b).max()) for a, b in zip(found, truth, strict=True)) <= error:
            return 10.0**-digits
    return 1e-10


def peer(
    train: Part, subset: NDArray[np.int64], valid: Part, strengths: tuple[float, ...], tolerance: float,
    solver: str = "lbfgs",
) -> NDArray[np.float64]:  # fmt: skip
    """(L, m, C) probabilities of the validation part by scikit-learn."""
    features, targets = train[0][subset].double(), train[1][subset]
    shift, scale = standardisation(features, "each")
    weights = class_weights(targets, CLASSES).double().numpy()[targets]
    inputs, held_out = ((features - shift) * scale).numpy(), ((valid[0].double() - shift) * scale).numpy()
    found = []
    for strength in strengths:
        model = LogisticRegression(C=1 / (strength * len(subset)), tol=tolerance, solver=solver, max_iter=100_000)
        found.append(model.fit(inputs, targets, sample_weight=weights).predict_proba(held_out))
    return np.stack(found)


def draw(part: str, count: int, features: int) -> Part:
    """(count, features) float32 and (count,) classes."""
    mixing, own = generator_for("mixing", features), generator_for(part, features)
    fall = np.arange(1, 49) ** -0.5
    means = 1.1 * mixing.normal(size=(CLASSES, 48)) * fall
    mix = mixing.normal(size=(48, features)) / 48**0.5
    targets = own.choice(CLASSES, count, p=SHARES)
    latent = means[targets] + 2 * fall * own.normal(size=(count, 48))
    points = latent @ mix + 0.15 * own.normal(size=(count, features))
    return torch.tensor(np.logaddexp(0, 4 * points) / 4, dtype=torch.float32), targets


def subsets_of(targets: NDArray[np.int64], seeds: int, config: ClassifyConfig) -> list[Training]:
    """For each seed and fraction a share of each class, at least one image."""
    found: list[Training] = []
    for seed in range(seeds):
        order = [generator_for("order", seed, c).permutation(np.flatnonzero(targets == c)) for c in range(CLASSES)]
        shares = [[o[: max(1, round(fraction * len(o)))] for o in order] for fraction in config.fractions]
        found += [(np.concatenate(share), seed) for share in shares]
    return found


def write_store(path: Path, images: int, size: int) -> Path:
    """A labelled store of noise: ten images a patient, 60, 20 and 20 % of the patients in the three parts."""
    rng, row = generator_for("store", images), np.arange(images)
    patient = row // 10
    part = np.repeat(PARTS, (6, 2, 2))[patient * 10 // (patient[-1] + 1)]
    table = pd.DataFrame({"row": row, "plane": np.array(PLANES)[row % CLASSES], "patient": patient, "split": part})
    table = table.assign(patient=[f"P{number:04d}" for number in patient], machine="", scan=[f"S{i:05d}" for i in row])
    path.mkdir()
    with h5py.File(path / "frames.h5", "w") as file:
        frames = rng.integers(0, 256, (images, size, size), dtype=np.uint8)
        file.create_dataset("frames", data=frames, chunks=(1, size, size))
        file["scan"], file["index"] = row.astype(np.int32), np.zeros(images, np.int32)
        file["time"] = np.full(images, np.nan, np.float32)
        file["checksum"] = np.array([checksum_of(frame.data) for frame in frames], np.uint64)
        file.attrs.update({"format": FORMAT, "version": VERSION, "key_id": "none", "fingerprint": "benchmark"})
    scans = table[["scan", "patient", "machine"]].assign(kind="still", first=row, frames=1)
    scans.to_csv(path / "scans.csv", index=False)
    table.to_csv(path / "labels.csv", index=False)
    return path


if __name__ == "__main__":
    run_script(rows, __doc__)
