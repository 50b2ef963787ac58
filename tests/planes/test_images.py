"""Labelled images in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonolearn.planes.images import describe_store, labelled
from sonolearn.ssl.features import read_images
from sonolearn.store.store import Store


def test_images_come_in_the_order_of_their_rows_unchanged_at_the_stores_size(store_path: Path) -> None:
    store, rows = Store(store_path), np.array([5, 2, 80])
    assert (read_images(store, rows, 32) == store.read(rows)).all()


def test_shrunk_images_are_means_of_areas(store_path: Path) -> None:
    store, rows = Store(store_path), np.arange(300) % 90  # more than are read at once
    means = store.read(rows).reshape(300, 16, 2, 16, 2).mean((2, 4))
    assert np.abs(read_images(store, rows, 16) - means).max() <= 0.5


def test_enlarged_images_have_the_size_that_is_asked_for(store_path: Path) -> None:
    assert read_images(Store(store_path), np.array([0]), 48).shape == (1, 48, 48)


def test_a_subset_knows_classes_and_patients_of_its_rows(store_path: Path) -> None:
    store = Store(store_path)
    assert store.labels is not None
    table = store.labels[store.labels["split"] == "test"].sample(frac=1, random_state=0)
    part = labelled(store, table)
    subset = part.at(np.array([70, 67, 89]))
    rows = store.labels.set_index("row").loc[[70, 67, 89]]
    assert subset.rows.tolist() == [70, 67, 89]
    assert [store.planes[t] for t in subset.targets] == list(rows["plane"])
    assert subset.patients == rows["patient"].nunique()


def test_description_counts_every_part(store_path: Path) -> None:
    store = Store(store_path)
    assert store.labels is not None
    found = describe_store(store, store.labels)
    assert found["parts"]["valid"] == {"images": 18, "patients": 3, "planes": {"3VV": 6, "4CH": 6, "LVOT": 6}}
    assert found["patients"] == 15
    assert found["machines"] == ["M0", "M1"]
