"""The search behind `suggest`: one setting at a time, on patients of the training and validation parts alone.

    python examples/suggest_search.py STORE --init FILE --encoder NAME [--image_size 112] [--draws 5]

The patients of the two parts are split anew, five times, 70 to 30; of the larger part images are chosen by each
setting, a logistic head is fitted on them, and macro F1 on the smaller part is printed, mean ± SD over splits and
draws. The test part of the store is never read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from sonolearn.config import ClassifyConfig
from sonolearn.planes import typical
from sonolearn.planes.images import Labelled, labelled
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.logistic import fit_heads
from sonolearn.planes.metrics import scores
from sonolearn.runs import generator_for, seed_for
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.features import extract, read_images
from sonolearn.store.store import Store

COUNTS = (6, 26, 51)
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Chooser = Callable[[Places, int, int], Places]
"""Images to choose from, how many, and the number of the draw, to places among the images."""


def unit(x: Numbers) -> Numbers:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def components(x: Numbers, count: int, whiten: bool = False) -> Numbers:
    return np.asarray(PCA(count, whiten=whiten, random_state=0).fit_transform(x))


SPACES: dict[str, Callable[[Numbers], Numbers]] = {
    "length 1, 8 components": lambda x: components(unit(x), 8),
    "length 1, 16 components": lambda x: components(unit(x), 16),
    "length 1, 64 components": lambda x: components(unit(x), 64),
    "length 1, 128 components": lambda x: components(unit(x), 128),
    "length 1, 64 components, length 1": lambda x: unit(components(unit(x), 64)),
    "64 components": lambda x: components(x, 64),
    "each feature by its spread, 64 components": lambda x: components((x - x.mean(0)) / (x.std(0) + 1e-6), 64),
    "length 1": unit,
}


def by_cluster(points: Numbers, patients: NDArray[np.object_], count: int, draw: int, how: str) -> Places:
    """Images of k-means clusters in turns, or of clusters around medoids."""
    seed = seed_for(draw, "search") % 2**32
    x = points.astype(np.float32)
    if how == "medoids":
        ranked = [typical._by_centrality(x, m) for m in typical._by_medoids(x, count, seed)]
    else:
        clusters = count * 2 if how == "twice as many clusters" else count
        labels = KMeans(clusters, n_init=3, random_state=seed).fit(x).labels_
        ranked = [order(x, np.flatnonzero(labels == cluster), how, seed) for cluster in np.unique(labels)]
    owners = np.arange(len(x)).astype(object) if how == "no spread" else patients
    return typical._in_turns(sorted(ranked, key=lambda m: (-len(m), int(m[0]))), owners, count)


def order(x: NDArray[np.float32], members: Places, how: str, seed: int) -> Places:
    if how == "any of a cluster":
        return np.random.default_rng(seed).permutation(members)
    if how == "nearest to the mean":
        return members[np.linalg.norm(x[members] - x[members].mean(0), axis=1).argsort(kind="stable")]
    return members[(-typical.typicality(x[members], 5 if how == "5 neighbours" else 20)).argsort(kind="stable")]


def stratified(targets: Places, places: Places, count: int, draw: int) -> Places:
    """By chance, of each class its share, one at least."""
    chosen = []
    for plane in np.unique(targets):
        own = places[targets[places] == plane]
        wanted = max(1, round(count * len(own) / len(places)))
        chosen.append(generator_for(draw, "stratified", int(plane)).permutation(own)[:wanted])
    return np.concatenate(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--init", required=True)
    parser.add_argument("--encoder")
    parser.add_argument("--image_size", type=int, default=112)
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    config = ClassifyConfig(
        encoder=options.encoder, init=options.init, image_size=options.image_size, mode="linear", precision="32-true"
    )
    store = Store(options.store)
    assert store.labels is not None
    development = labelled(store, store.labels[store.labels["split"] != "test"])
    encoder, card = Initialisation(config).load(0)
    images = read_images(store, development.rows, options.image_size)
    features = extract(encoder, card, images, make_fabric(config.accelerator, config.precision)).cpu()
    x, patients = features.double().numpy(), development.patient

    def chooser(space: str, how: str = "typical") -> Chooser:
        def choose(places: Places, count: int, draw: int) -> Places:
            if (space, places.tobytes()) not in cached:
                cached[space, places.tobytes()] = SPACES[space](x[places])
            return places[by_cluster(cached[space, places.tobytes()], patients[places], count, draw, how)]

        return choose

    cached: dict[tuple[str, bytes], Numbers] = {}
    choosers: dict[str, Chooser] = {
        "random, stratified by class": lambda p, n, d: stratified(development.targets, p, n, d),
        "random": lambda p, n, d: generator_for(d, "unstratified").permutation(p)[:n],
    }
    choosers["typical; length 1, 64 components"] = chooser("length 1, 64 components")
    for how in ("5 neighbours", "nearest to the mean", "medoids", "no spread", "twice as many clusters"):
        choosers[f"{how}; length 1, 64 components"] = chooser("length 1, 64 components", how)
    choosers["any of a cluster; length 1, 64 components"] = chooser("length 1, 64 components", "any of a cluster")
    choosers |= {f"typical; {space}": chooser(space) for space in SPACES}
    print("| setting |", " | ".join(f"{count} images" for count in COUNTS), "|")
    print("|---|" + "---|" * len(COUNTS))
    for name, choose in choosers.items():
        print(f"| {name} |", " | ".join(judge(choose, features, development, options.draws, config)), "|", flush=True)


def judge(
    choose: Chooser, features: torch.Tensor, images: Labelled, draws: int, config: ClassifyConfig
) -> Sequence[str]:
    """Macro F1 at each of COUNTS, mean ± SD, and the share of draws that lack a class."""
    targets, patients = images.targets, images.patient
    classes = len(np.unique(targets))
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    lacking = dict.fromkeys(COUNTS, 0)
    names = np.array(list(dict.fromkeys(patients)), object)
    for split in range(5):
        held_out = set(generator_for(split, "inner split").permutation(names)[: round(0.3 * len(names))])
        test = np.array([patient in held_out for patient in patients])
        keys = [(count, draw) for count in COUNTS for draw in range(draws)]
        subsets = [choose(np.flatnonzero(~test), count, draw) for count, draw in keys]
        for (count, _), subset, head in zip(
            keys, subsets, fit_heads(features, targets, patients, subsets, None, classes, config), strict=True
        ):
            predicted = head.predict(features[torch.from_numpy(test)]).argmax(1)
            found[count].append(scores(targets[test], predicted)["macro_f1"])
            lacking[count] += len(np.unique(targets[subset])) < classes
    return [
        f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} ({lacking[count] / len(values):.0%} lack a class)"
        for count, values in found.items()
    ]


if __name__ == "__main__":
    main()
