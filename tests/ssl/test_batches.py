"""Which frames a step takes: known from seed and step alone, shared out over processes, every frame equally often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sonolearn.config import PretrainConfig
from sonolearn.console import UserError
from sonolearn.runs import generator_for
from sonolearn.ssl.batches import FramePlan, PatientPlan, Plan, StepSampler, make_plan
from sonolearn.ssl.frames import FramePool


@given(
    samples=st.integers(2, 300), batch_size=st.integers(2, 64), parts=st.sampled_from([1, 2, 4]), seed=st.integers(0, 9)
)
def test_every_epoch_shows_each_sample_at_most_once_and_drops_little(samples, batch_size, parts, seed) -> None:
    batch_size = max(batch_size // parts, 2) * parts
    plan = FramePlan(samples, batch_size, parts, seed)
    epoch = [plan.batch(step) for step in range(plan.steps_per_epoch)]
    keys = [key for batch in epoch for key in batch]
    assert len(set(keys)) == len(keys), "a repeat within a batch would be taken for another frame"
    assert samples - len(keys) < 2 * parts, "at most a part of one sample, and what does not divide, is left out"
    assert all(len(batch) % parts == 0 and len(batch) // parts >= 2 for batch in epoch)
    assert {use for use, _ in keys} <= {0}
    if epoch:
        assert plan.batch(plan.steps_per_epoch)[0][0] == 1


def test_without_patients_per_batch_the_order_is_the_shuffle_of_each_epoch_cut_up() -> None:
    """Bit for bit what runs have always taken: unfinished ones go on with it."""
    plan = FramePlan(samples=21, batch_size=6, parts=1, seed=3)
    assert plan.steps_per_epoch == 4
    for epoch in (0, 1):
        order = generator_for(3, "order", epoch).permutation(21)
        for number, first in enumerate((0, 6, 12, 18)):
            expected = [(epoch, int(sample)) for sample in order[first : first + 6]]
            assert plan.batch(4 * epoch + number) == expected


def patient_plan(counts: list[int], patients: int, each: int, seed: int = 0) -> PatientPlan:
    """A plan for patients with so many frames; frames of different patients lie in any order."""
    owners = generator_for(seed, "mixed").permutation(np.repeat(np.arange(len(counts)), counts))
    return PatientPlan(owners, patients, patients * each, seed)


PLANS = st.integers(1, 8).flatmap(
    lambda count: st.builds(
        patient_plan,
        st.lists(st.integers(1, 12), min_size=count, max_size=count),
        st.integers(1, count),
        st.sampled_from([1, 2, 4, 6]),
        st.integers(0, 99),
    )
)


@given(PLANS, st.integers(0, 500))
def test_every_batch_has_so_many_patients_and_equally_many_frames_of_each(plan: PatientPlan, step: int) -> None:
    each = plan.batch_size // plan.patients
    owners = Counter(int(plan.patient_of_frame[sample]) for _, sample in plan.batch(step))
    assert list(owners.values()) == [each] * plan.patients


@given(PLANS, st.integers(1, 60))
def test_patients_and_the_frames_of_a_patient_are_used_equally_often(plan: PatientPlan, steps: int) -> None:
    keys = [key for step in range(steps) for key in plan.batch(step)]
    uses = Counter(sample for _, sample in keys)
    each = plan.batch_size // plan.patients
    turns = []
    for patient in range(plan.patient_of_frame.max() + 1):
        of_frames = [uses[int(frame)] for frame in np.flatnonzero(plan.patient_of_frame == patient)]
        assert max(of_frames) - min(of_frames) <= 1
        turns.append(sum(of_frames) / each)
    assert max(turns) - min(turns) <= 1


@given(PLANS, st.integers(1, 40))
def test_a_frame_that_comes_again_has_another_key_and_so_other_views(plan: PatientPlan, steps: int) -> None:
    keys = [key for step in range(steps) for key in plan.batch(step)]
    assert len(set(keys)) == len(keys)


@given(PLANS, st.integers(0, 500))
def test_no_frame_is_twice_in_a_batch_where_patients_have_enough(plan: PatientPlan, step: int) -> None:
    assume(np.bincount(plan.patient_of_frame).min() >= plan.batch_size // plan.patients)
    samples = [sample for _, sample in plan.batch(step)]
    assert len(set(samples)) == len(samples)


@given(PLANS, st.sampled_from([1, 2, 3]), st.integers(0, 30))
def test_accumulated_parts_hold_the_patients_as_evenly_as_they_can(plan: PatientPlan, parts: int, step: int) -> None:
    assume(plan.batch_size % parts == 0)
    size = plan.batch_size // parts
    batch = plan.batch(step)
    owners = {int(plan.patient_of_frame[sample]) for _, sample in batch}
    for part in (batch[i : i + size] for i in range(0, len(batch), size)):
        counts = Counter(int(plan.patient_of_frame[sample]) for _, sample in part)
        of_each = [counts[owner] for owner in owners]
        assert max(of_each) - min(of_each) <= 1


@pytest.mark.parametrize("plan", [FramePlan(40, 16, 2, seed=0), patient_plan([9, 12, 15], 2, 8)])
def test_processes_share_each_batch_without_overlap_also_after_resuming(plan: Plan) -> None:
    for first in (0, 3):
        samplers = [StepSampler(plan, first, 7, rank, 2) for rank in (0, 1)]
        assert [len(sampler) for sampler in samplers] == [7 - first] * 2
        for step, (one, other) in enumerate(zip(*samplers, strict=True), start=first):
            batch = plan.batch(step)
            assert sorted(one + other) == sorted(batch)
            assert len(one) == len(other)
            assert batch == [key for pair in zip(one, other, strict=True) for key in pair]


@given(PLANS)
def test_an_epoch_takes_as_many_frames_as_there_are(plan: PatientPlan) -> None:
    frames = len(plan.patient_of_frame)
    taken = plan.steps_per_epoch * plan.batch_size
    assert taken <= frames < taken + plan.batch_size or (plan.steps_per_epoch == 1 and frames < plan.batch_size)


def test_batches_follow_from_the_seed() -> None:
    plans = [patient_plan([20] * 10, 4, 4, seed) for seed in (0, 0, 1)]
    batches = [[plan.batch(step) for step in range(5)] for plan in plans]
    assert batches[0] == batches[1] != batches[2]


def pool_of(patients: int, frames: int) -> FramePool:
    owners = np.array([f"P-{p}" for p in range(patients) for _ in range(frames)], dtype=object)
    rows = np.arange(len(owners))
    return FramePool([], np.zeros(len(owners), np.int64), rows, owners)


def test_the_options_choose_the_plan() -> None:
    pool = pool_of(patients=4, frames=10)
    assert make_plan(pool, PretrainConfig(batch_size=8, accumulate=2), 2) == FramePlan(40, 8, 4, 0)
    by_patient = make_plan(pool, PretrainConfig(batch_size=8, patients_per_batch=4, seed=5), 2)
    assert isinstance(by_patient, PatientPlan)
    assert (by_patient.patients, by_patient.batch_size, by_patient.seed) == (4, 8, 5)
    assert list(by_patient.patient_of_frame) == sorted([0, 1, 2, 3] * 10)


def test_too_few_patients_or_frames_are_refused_with_what_is_there() -> None:
    with pytest.raises(UserError, match="--patients_per_batch 8: 3 patients are there to learn from; give at most 3"):
        make_plan(pool_of(3, 50), PretrainConfig(batch_size=16, patients_per_batch=8), 1)
    with pytest.raises(UserError, match="3 training frames are too few for 2 processes"):
        make_plan(pool_of(3, 1), PretrainConfig(batch_size=16), 2)


def test_a_batch_that_patients_cannot_share_equally_is_refused_before_data_are_read() -> None:
    with pytest.raises(UserError, match="--patients_per_batch 6: must divide --batch_size 16"):
        PretrainConfig(batch_size=16, patients_per_batch=6)
    with pytest.raises(UserError, match="--patients_per_batch 0: give at least 1"):
        PretrainConfig(patients_per_batch=0)
