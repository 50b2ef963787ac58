"""The rows on growth: each with its size, a finite ratio, and both sides of the sizes that they name."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.figure import Row
from sonolearn.store.store import Store
from sonolearn.study.results import read_results


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return list(growth.rows(quick=True))


def test_there_is_a_row_for_scans_stores_and_studies(found: list[Row]) -> None:
    names = [row.figure for row in found]
    wanted = ["one recording", "stills", "copies", "by frames", "by patients", "memory", "metrics", "hash", "finished"]
    for word in [*wanted, "results", *(["peak memory"] if sys.platform == "linux" else [])]:
        assert any(word in name for name in names), word


def test_every_ratio_is_finite_and_to_be_at_most_its_target(found: list[Row]) -> None:
    for row in found:
        assert row.ratio is not None, row
        assert math.isfinite(row.ratio), row
        assert row.ratio > 0, row
        assert row.bound == "at most"
        assert row.target in (1.1, 0.1)


def test_a_made_up_store_is_a_store_of_the_size_that_the_row_names(tmp_path: Path) -> None:
    store = Store(growth.made_up_store(tmp_path / "store", 1_000))
    assert len(store) == 1_000
    assert store.scans["patient"].nunique() == 10


def test_a_made_up_study_has_the_results_that_the_row_names(tmp_path: Path) -> None:
    results = read_results(growth.made_up_study(tmp_path / "study", 7))
    assert len(results.runs) == 7
    assert results.missing == 0
    assert len(results.predictions) == 7 * growth.IMAGES


def test_cost_that_grows_with_the_square_misses_the_target() -> None:
    def square(count: int) -> None:
        for _ in range(count**2):
            math.sqrt(2)

    row = growth.tenfold("square", "steps", 100, square, 3)
    assert row.ratio is not None
    assert row.ratio > 3
    assert not row.reached
