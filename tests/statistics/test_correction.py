"""Holm's correction against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from sonolearn.statistics.estimates import holm


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_it_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_largest_of_all_smaller_ones_times_how_many_are_left_counts(p: list[float]) -> None:
    """The definition."""
    ordered = sorted(p)
    expected = {
        value: min(1.0, max((len(p) - k) * ordered[k] for k in range(place + 1))) for place, value in enumerate(ordered)
    }
    assert holm(p) == pytest.approx([expected[value] for value in p])


def test_comparisons_without_a_p_value_do_not_count() -> None:
    found = holm([0.01, np.nan, 0.04, np.nan])
    assert found == pytest.approx([0.02, np.nan, 0.04, np.nan], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()
    assert len(holm([])) == 0
