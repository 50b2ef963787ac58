"""The search behind `--spread_labels`: one setting at a time, on patients of the training and validation parts alone.

    python examples/spread_search.py STORE --init FILE [--encoder NAME] [--image_size 112] [--draws 6]

The patients of the two parts are split anew, five times, 70 to 30. Of the larger part a share is drawn as labelled, by
class; all other images of it are unlabelled. Macro F1 on the smaller part is printed, mean ± SD over splits and draws.
The test part of the store is never read.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit

from sonolearn.config import ClassifyConfig
from sonolearn.planes import logistic, spreading
from sonolearn.planes.images import labelled
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.metrics import scores
from sonolearn.runs import generator_for
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.features import extract, read_images
from sonolearn.store.store import Store

Places = NDArray[np.int64]
SETTINGS: dict[str, dict[str, float]] = {
    "labels alone": {},
    "defaults": {"neighbours": 10, "spread": 0.9, "sharpen": 2, "graph": 0.5},
    "5 neighbours": {"neighbours": 5, "spread": 0.9, "sharpen": 2, "graph": 0.5},
    "20 neighbours": {"neighbours": 20, "spread": 0.9, "sharpen": 2, "graph": 0.5},
    "spread .7": {"neighbours": 10, "spread": 0.7, "sharpen": 2, "graph": 0.5},
    "spread .97": {"neighbours": 10, "spread": 0.97, "sharpen": 2, "graph": 0.5},
    "not sharpened": {"neighbours": 10, "spread": 0.9, "sharpen": 1, "graph": 0.5},
    "opinion of the head alone": {"neighbours": 10, "spread": 0.9, "sharpen": 2, "graph": 0.0},
    "opinion of the graph alone": {"neighbours": 10, "spread": 0.9, "sharpen": 2, "graph": 1.0},
}


def drawn(targets: Places, places: Places, share: float, seed: int) -> Places:
    """By chance, of each class its share, one at least."""
    chosen = []
    for plane in np.unique(targets):
        own = places[targets[places] == plane]
        order = generator_for(seed, "spread search", int(plane)).permutation(own)
        chosen.append(order[: max(1, round(share * len(own)))])
    return np.concatenate(chosen)


def fitted(
    features: torch.Tensor, targets: Places, patients: NDArray[np.object_], subsets: list[Places],
    config: ClassifyConfig, setting: dict[str, float],
) -> Iterator[logistic.Head]:  # fmt: skip
    """The heads of a setting."""
    classes = int(targets.max()) + 1
    heads = logistic.fit_heads(features, targets, patients, subsets, None, classes, config)
    if not setting:
        yield from heads
        return
    graph = spreading.neighbour_graph(features, int(setting["neighbours"]))
    weight = setting["graph"]
    labels = []
    with mock.patch.object(spreading, "SHARPEN", setting["sharpen"]):
        for own, head in zip(subsets, heads, strict=True):
            spread = spreading.spread_labels(graph, own, targets[own], classes, setting["spread"])
            both = (1 - weight) * head.predict(features).astype(np.float64) + weight * spread
            labels.append(spreading.soft_labels([both], own, targets[own]))
    for head, (w, bias) in zip(heads, spreading.fit_to_soft_labels(features, labels, 1.0, "shared"), strict=True):
        yield dataclasses.replace(head, weight=w.float().T, bias=bias.float())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--init", required=True)
    parser.add_argument("--encoder")
    parser.add_argument("--image_size", type=int, default=112)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.012, 0.053, 0.105, 0.268])
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
    patients, targets = development.patient, development.targets
    found: dict[str, list[list[float]]] = {name: [[] for _ in options.shares] for name in SETTINGS}
    splits = GroupShuffleSplit(5, test_size=0.3, random_state=0).split(features, targets, patients)
    for split, (train, test) in enumerate(splits):
        for number, share in enumerate(options.shares):
            places = np.arange(len(train))
            subsets = [drawn(targets[train], places, share, 100 * split + draw) for draw in range(options.draws)]
            for name, setting in SETTINGS.items():
                heads = fitted(features[train], targets[train], patients[train], subsets, config, setting)
                found[name][number] += [
                    scores(targets[test], h.predict(features[test]).argmax(1))["macro_f1"] for h in heads
                ]
    print("| learnt from | " + " | ".join(f"{share:.1%}" for share in options.shares) + " |")
    print("|---|" + "---|" * len(options.shares))
    for name, columns in found.items():
        print(f"| {name} | " + " | ".join(f"{np.mean(one):.3f} ± {np.std(one):.3f}" for one in columns) + " |")


if __name__ == "__main__":
    main()
