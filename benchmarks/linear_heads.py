"""Linear heads over label fractions, seeds and strengths: all at once, one by one, scikit-learn's, and AdamW's.

    python benchmarks/linear_heads.py [--features 128 512] [--seeds 10] [--threads 1]

The features are drawn, not taken from an encoder: five overlapping classes of unequal size, 48 latent directions of
falling strength mixed into all features, a little noise, and a softplus, as behind an encoder's last activation.

All solvers get the same images in one run, with the same number of threads. Processor time is compared, which other
work on the machine disturbs less than it does the clock. scikit-learn is timed at its default tolerance, and at the
loosest power of ten at which it is as near to the optimum as ours. AdamW is timed on one head for each fraction of some
of the seeds, and multiplied: by the seeds for what `classify` does today, and by the strengths, too, for as many heads
as the others fit, as a choice of its weight decay would take.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from sonolearn.config import ClassifyConfig
from sonolearn.planes.head import class_weights
from sonolearn.planes.linear import fit_linear, standardisation
from sonolearn.planes.logistic import Head, fit_heads
from sonolearn.runs import generator_for, machine

SHARES = (0.3, 0.25, 0.2, 0.15, 0.1)
CLASSES, TRAIN, VALID = len(SHARES), 600, 200
CONFIG = ClassifyConfig(mode="linear")
STRENGTHS = CONFIG.regularisations
Part = tuple[Tensor, NDArray[np.int64]]
Subset = NDArray[np.int64]
Case = tuple[Part, Part, Subset]
Found = TypeVar("Found")


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


def subsets_of(targets: NDArray[np.int64], seeds: int) -> list[Subset]:
    """For each seed and fraction a share of each class, at least one image."""
    found = []
    for seed in range(seeds):
        order = [generator_for("order", seed, c).permutation(np.flatnonzero(targets == c)) for c in range(CLASSES)]
        found += [np.concatenate([o[: max(1, round(f * len(o)))] for o in order]) for f in CONFIG.fractions]
    return found


def ours(case: Case, strength: float) -> NDArray[np.float32]:
    """Probabilities of the validation part by one head."""
    train, valid, subset = case
    return fit_heads(*train, [subset], *valid, CLASSES, (strength,), True)[0].predict(valid[0])


def peer(case: Case, strength: float, tolerance: float, solver: str = "lbfgs") -> NDArray[np.float64]:
    """The same by scikit-learn."""
    train, valid, subset = case
    features, targets = train[0][torch.from_numpy(subset)].double(), train[1][subset]
    shift, scale = standardisation(features)
    weights = class_weights(targets, CLASSES).double().numpy()[targets]
    model = LogisticRegression(C=1 / (strength * len(subset)), tol=tolerance, solver=solver, max_iter=100_000)
    model.fit(((features - shift) * scale).numpy(), targets, sample_weight=weights)
    return np.asarray(model.predict_proba(((valid[0].double() - shift) * scale).numpy()))


def adamw(case: Case) -> None:
    """The study's head: 100 epochs."""
    train, valid, subset = case
    fit_linear(train[0][torch.from_numpy(subset)], train[1][subset], *valid, CLASSES, CONFIG, 0)


def timed(work: Callable[[], Found]) -> tuple[Found, float]:
    """What it gives, and seconds of the processor."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def one_by_one(cases: list[Case], solve: Callable[[Case, float], NDArray[np.floating]]) -> NDArray[np.floating]:
    """(cases, strengths, m, C) probabilities."""
    return np.stack([np.stack([solve(case, strength) for strength in STRENGTHS]) for case in cases])


def far(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The largest difference of two probabilities."""
    return float(np.abs(one - other).max())


def compare(features: int, seeds: int, seeds_of_adamw: int) -> None:
    """Print the table of one width."""
    train, valid = draw("train", TRAIN, features), draw("valid", VALID, features)
    subsets = subsets_of(train[1], seeds)
    cases = [(train, valid, subset) for subset in subsets]
    fractions = len(CONFIG.fractions)

    def together() -> list[Head]:
        return fit_heads(*train, subsets, *valid, CLASSES, STRENGTHS, True)

    together()  # the first call of a process is slower
    heads, of_batch = min((timed(together) for _ in range(3)), key=lambda run: run[1])
    alone, of_alone = timed(partial(one_by_one, cases, ours))
    truth = one_by_one(cases[:fractions], partial(peer, tolerance=1e-10, solver="newton-cg"))
    error = far(alone[:fractions], truth)
    rows = [("ours, all at once", of_batch), ("ours, one by one", of_alone)]
    print(f"\n{features} features, {len(subsets)} subsets, {len(subsets) * len(STRENGTHS)} heads")
    print(f"largest difference to the optimum (Newton's method, seed 0): ours {error:.1e}")
    for tolerance in (10.0**-digits for digits in range(4, 11)):
        distance = far(one_by_one(cases[:fractions], partial(peer, tolerance=tolerance)), truth)
        if tolerance != 1e-4 and distance > error and tolerance > 1e-10:
            continue
        theirs, of_theirs = timed(partial(one_by_one, cases, partial(peer, tolerance=tolerance)))
        same = (theirs.argmax(3) == alone.argmax(3)).mean()
        print(f"scikit-learn at tol={tolerance:.0e}: {distance:.1e} to the optimum, {far(theirs, alone):.1e} to ours,")
        print(f"    {100 * same:.3f} % of predictions equal")
        rows.append((f"scikit-learn, tol={tolerance:.0e}, one by one", of_theirs))
        if distance <= error:
            break
    some = cases[: fractions * seeds_of_adamw]
    _, of_adamw = timed(lambda: [adamw(case) for case in some])
    rows += [
        (f"AdamW, {count} heads, one by one (from {len(some)})", of_adamw * count / len(some))
        for count in (len(cases), len(cases) * len(STRENGTHS))
    ]
    chosen = [alone[i, STRENGTHS.index(head.regularisation)] for i, head in enumerate(heads)]
    batched = np.stack([head.predict(valid[0]) for head in heads])
    print(f"largest difference between all at once and one by one: {far(batched, np.stack(chosen)):.1e}")
    print("\n| solver | processor time, s | times ours |\n|---|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} | {seconds / of_batch:.1f} |", flush=True)


def main() -> None:
    """Print the machine and a table for each width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seeds_of_adamw", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine()}, {options.threads} threads, torch {torch.__version__}, scikit-learn {sklearn.__version__}")
    for features in options.features:
        compare(features, options.seeds, min(options.seeds, options.seeds_of_adamw))


if __name__ == "__main__":
    main()
