"""Splits and label fractions: patients are never shared, fractions nest, the order of a table does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonolearn.console import UserError
from sonolearn.store.splits import check_disjoint, label_fraction, split_patients

PLANES = ("3VV/3VT", "4CH", "LVOT")
tables = st.lists(st.tuples(st.integers(0, 11), st.sampled_from(PLANES)), min_size=3, max_size=80)
seeds = st.integers(0, 5)


def split(table: Sequence[tuple[int, str]], seed: int, shares: tuple[float, ...] = (0.6, 0.2, 0.2)) -> np.ndarray:
    return split_patients([f"P-{p}" for p, _ in table], [plane for _, plane in table], shares, seed)[0]


def labels(table: Sequence[tuple[int, str]], part: str = "train") -> pd.DataFrame:
    return pd.DataFrame({
        "row": np.arange(len(table)) * 3, "plane": [plane for _, plane in table],
        "patient": [f"P-{p}" for p, _ in table], "split": part,
    })  # fmt: skip


@given(tables, seeds)
@settings(max_examples=60)
def test_no_patient_is_in_two_parts_and_every_part_has_patients(table: list[tuple[int, str]], seed: int) -> None:
    parts = split(table, seed)
    of_patient = {p: {part for (q, _), part in zip(table, parts, strict=True) if p == q} for p, _ in table}
    assert all(len(found) == 1 for found in of_patient.values())
    assert len(set(parts)) == min(3, len(of_patient))
    check_disjoint([str(p) for p, _ in table], parts)


@given(tables, seeds, st.randoms())
@settings(max_examples=40)
def test_neither_pseudonyms_nor_the_order_of_labels_matter(
    table: list[tuple[int, str]], seed: int, random: object
) -> None:
    names = list(range(12))
    random.shuffle(names)  # type: ignore[attr-defined]
    assert np.array_equal(split(table, seed), split([(names[p], plane) for p, plane in table], seed))
    order = list(range(len(table)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = labels(table).iloc[order]
    assert np.array_equal(
        label_fraction(labels(table), PLANES, 0.3, seed).rows, label_fraction(shuffled, PLANES, 0.3, seed).rows
    )


def test_classes_and_sizes_come_out_as_asked() -> None:
    random = np.random.default_rng(0)
    table = [(p, PLANES[random.choice(3, p=[0.1, 0.3, 0.6])]) for p in range(60) for _ in range(random.integers(1, 9))]
    parts, lacking = split_patients([str(p) for p, _ in table], [plane for _, plane in table], (0.6, 0.2, 0.2), 0)
    shares = pd.crosstab(np.array([plane for _, plane in table]), parts, normalize="index")[["train", "valid", "test"]]
    assert np.abs(shares.to_numpy() - (0.6, 0.2, 0.2)).max() < 0.06
    assert lacking == []


def test_seeds_differ() -> None:
    table = [(p, PLANES[p % 3]) for p in range(30)]
    assert len({tuple(split(table, seed)) for seed in range(5)}) == 5


def test_a_part_that_lacks_a_class_is_named() -> None:
    table = [(p, "4CH") for p in range(6)] + [(0, "LVOT"), (1, "LVOT")]
    parts, lacking = split_patients([str(p) for p, _ in table], [plane for _, plane in table], (0.6, 0.2, 0.2), 0)
    missing = {part for part in ("train", "valid", "test") if part not in set(parts[-2:])}
    assert [sentence.split()[1] for sentence in lacking] == sorted(missing, key=["train", "valid", "test"].index)
    assert "LVOT" in lacking[0]


def test_a_share_of_zero_gives_an_empty_part() -> None:
    assert set(split([(p, "4CH") for p in range(9)], 0, (0.7, 0.0, 0.3))) == {"train", "test"}


@given(tables, seeds)
@settings(max_examples=60)
def test_fractions_nest_and_keep_one_image_of_each_class(table: list[tuple[int, str]], seed: int) -> None:
    before: set[int] = set()
    for fraction in (0.01, 0.05, 0.1, 0.25, 0.5, 1.0):
        drawn = label_fraction(labels(table), PLANES, fraction, seed)
        rows = set(drawn.rows.tolist())
        assert before <= rows
        before = rows
        for plane in PLANES:
            there = sum(p == plane for _, p in table)
            assert drawn.per_plane[plane] == min(there, max(1, round(fraction * there)))
        assert drawn.images == len(rows) == sum(drawn.per_plane.values())
        assert drawn.patients == len({table[row // 3][0] for row in rows})
    assert before == set(range(0, 3 * len(table), 3))


def test_fractions_take_only_the_training_part() -> None:
    table = labels([(0, "4CH")] * 6)
    table["split"] = ["train", "valid", "test"] * 2
    assert label_fraction(table, ("4CH",), 1.0, 0).rows.tolist() == [0, 9]


def test_seeds_draw_other_images() -> None:
    table = labels([(p, "4CH") for p in range(50)])
    assert len({tuple(label_fraction(table, ("4CH",), 0.1, seed).rows) for seed in range(5)}) == 5


def test_a_shared_patient_is_named() -> None:
    with pytest.raises(UserError, match=r"P-1 \(test and train\)"):
        check_disjoint(["P-1", "P-2", "P-1"], ["train", "train", "test"])


class FakeStore:
    """What `overlap` looks at."""

    def __init__(self, key_id: str, patients: list[str]) -> None:
        self.key_id, self.path, self.scans = key_id, key_id, pd.DataFrame({"patient": patients})
