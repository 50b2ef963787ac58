"""Student's t where one source of chance is left, Welch's where two are; interval and p value agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sonolearn.statistics.estimates import Source, estimate, over_patients, over_units


def test_it_is_students_t_where_patients_add_nothing() -> None:
    pairs = np.array([0.1, 0.2, 0.4, 0.3])
    found = estimate(pairs.mean(), [over_units(pairs), Source(0.0, 8)])
    expected = stats.ttest_1samp(pairs, 0)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p == pytest.approx(expected.pvalue)


def test_two_sources_are_welchs_t_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.3, 1, 5), rng.normal(0, 3, 9)
    found = estimate(one.mean() - other.mean(), [over_units(one), over_units(other)])
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_interval_widens_with_the_variance_over_patients() -> None:
    found = estimate(0.2, [Source(0.0, 2), Source(0.05**2, 10)])
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 10) * 0.05)


@given(st.floats(-1, 1), st.floats(1e-6, 1), st.floats(0, 1), st.integers(1, 30), st.integers(1, 30))
def test_p_is_below_5_percent_exactly_where_the_interval_leaves_out_0(
    mean: float, a: float, b: float, n: int, m: int
) -> None:
    found = estimate(mean, [Source(a, n), Source(b, m)])
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_one_unit_or_one_patient_gives_a_mean_and_no_interval() -> None:
    for sources in ([over_units(np.array([0.3])), Source(0.1, 9)], [Source(0.1, 4), over_patients(np.zeros(9), 1)]):
        found = estimate(0.3, sources)
        assert found.mean == 0.3
        assert math.isnan(found.low)
        assert math.isnan(found.p)


def test_without_any_chance_a_difference_of_0_is_certain_to_be_0() -> None:
    assert estimate(0.0, [Source(0.0, 3)]).p == 1
    assert estimate(0.1, [Source(0.0, 3)]).p == 0


def test_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    rng, held, trials = np.random.default_rng(0), 0, 2000
    for _ in range(trials):
        patients = rng.normal(size=12) * 0.1  # each patient's own effect, shared by the seeds
        pairs = 0.3 + patients.mean() + rng.normal(size=3) * 0.05
        found = estimate(pairs.mean(), [over_units(pairs), Source(patients.var(ddof=1) / 12, 11)])
        held += found.low < 0.3 < found.high
    assert 0.93 < held / trials < 0.99
