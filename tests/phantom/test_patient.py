"""Patients differ, and each depends on its seed and index only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sonolearn_phantom import Patient


def values(patient: Patient) -> list[float]:
    """All numbers of a patient but seed and index."""
    fields = [getattr(patient, field.name) for field in dataclasses.fields(patient)][2:]
    return [float(value) for field in fields for value in np.ravel(field)]


def test_same_seed_and_index_give_the_same_patient() -> None:
    assert values(Patient.draw(4, 7)) == values(Patient.draw(4, 7))


def test_other_seed_or_index_gives_another_patient() -> None:
    drawn = [values(Patient.draw(seed, index)) for seed, index in ((4, 7), (4, 8), (5, 7), (7, 4))]
    assert all(a != b for i, a in enumerate(drawn) for b in drawn[:i])


def test_ranges_are_those_of_the_documentation() -> None:
    patients = [Patient.draw(1, index) for index in range(200)]
    assert {patient.machine for patient in patients} == {0, 1, 2}
    for patient in patients:
        assert 18 <= patient.gestational_age <= 34
        assert 120 <= patient.heart_rate <= 160
        assert np.rad2deg(patient.cardiac_axis) == pytest.approx(45, abs=12.001)
        assert 52 <= np.rad2deg(patient.field_of_view) <= 78
        assert 44 <= patient.dynamic_range <= 62
        assert 0.6 <= patient.contrast <= 1
        assert 25 <= patient.frame_rate <= 40
    turned = np.mean([abs(patient.beam_angle) > np.pi / 2 for patient in patients])
    assert 0.15 < turned < 0.35


def test_thorax_grows_with_gestational_age() -> None:
    patients = [Patient.draw(2, index) for index in range(100)]
    ages = [patient.gestational_age for patient in patients]
    assert np.corrcoef(ages, [patient.thorax_radius for patient in patients])[0, 1] > 0.9
