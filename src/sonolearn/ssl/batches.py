"""Which frames each optimiser step takes: any of the pool, or equally many of each of a fixed number of patients.

Every plan tells the batch of any step from the seed alone: a run that resumes at step k goes on with the very batches
that an uninterrupted one would have seen, and each process takes its share of the same batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from sonolearn.config import PretrainConfig
from sonolearn.console import UserError
from sonolearn.runs import generator_for
from sonolearn.ssl.frames import FramePool


@dataclass(frozen=True)
class Deck:
    """A deck that is shuffled anew whenever all its cards were dealt, also in the middle of a hand.

    No card is twice in a hand of at most as many cards as the deck has.

    Attributes:
        cards: their number; they are called 0 ... cards - 1.
        hand: number of cards in a hand.
        seed: of the order, as `generator_for` takes it.
    """

    cards: int
    hand: int
    seed: tuple[int | str, ...]

    def deal(self, number: int) -> list[tuple[int, int]]:
        """Hand `number` (from 0): the round (from 0; a card is dealt once a round) and the card, for each."""
        rounds, places = np.divmod(np.arange(number * self.hand, (number + 1) * self.hand), self.cards)
        orders = {int(r): self._order(int(r)) for r in np.unique(rounds)}
        return [(int(r), int(orders[int(r)][place])) for r, place in zip(rounds, places, strict=True)]

    def _order(self, number: int) -> NDArray[np.int64]:
        """Order of round `number`: a shuffle, but the hand that it finds begun is filled with cards not in it.

        This hangs on the round before, and so on, back to one that begins with a hand. Where the deck has twice as many
        cards as a hand, what is put off does not reach the end of its round: then one round back is enough.
        """
        back = number % (self.hand // math.gcd(self.cards, self.hand)) if self.hand <= self.cards else 0
        back = min(back, 1) if 2 * self.hand <= self.cards else back
        order = self._shuffle(number - back)
        for later in range(number - back + 1, number + 1):
            begun = later * self.cards % self.hand
            shuffle = self._shuffle(later)
            fill = shuffle[~np.isin(shuffle, order[len(order) - begun :])][: self.hand - begun] if begun else shuffle
            order = np.concatenate([fill, shuffle[~np.isin(shuffle, fill)]])
        return order

    def _shuffle(self, number: int) -> NDArray[np.int64]:
        return generator_for(*self.seed, number).permutation(self.cards)


Key = tuple[int, int]
"""(use, sample): names a sample's views; `sample` is a frame's number in its pool, `use` says how often it was taken
before, so that it gives other views each time."""


class Plan(Protocol):
    """The batches of a run."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the frames, at least 1."""

    def batch(self, step: int) -> list[Key]:
        """Keys of optimiser step `step` (from 0), for all processes; no key comes twice in a run."""


def make_plan(pool: FramePool, config: PretrainConfig, processes: int) -> Plan:
    """The plan that `config` asks for.

    Raises:
        UserError: too few frames for the number of processes, or fewer patients than a batch needs.
    """
    if config.patients_per_batch is not None:
        there = len(pool.patients)
        if there < config.patients_per_batch:
            raise UserError(
                f"--patients_per_batch {config.patients_per_batch}: {there} patients are there to learn from; give at "
                f"most {there}"
            )
        return PatientPlan(pool.patient_number, config.patients_per_batch, config.batch_size, config.seed)
    plan = FramePlan(len(pool), config.batch_size, processes * config.accumulate, config.seed)
    if plan.steps_per_epoch == 0:
        raise UserError(f"{len(pool)} training frames are too few for {processes} processes; prepare more scans")
    return plan


@dataclass(frozen=True)
class FramePlan:
    """Every epoch a fresh order of all samples, cut into batches.

    The last, smaller batch of an epoch is used too, as long as each part of it still holds two samples.

    Attributes:
        samples: number of samples.
        batch_size: samples in a step, over all processes.
        parts: equal parts that a batch must divide into (processes x accumulated parts).
        seed: of the order.
    """

    samples: int
    batch_size: int
    parts: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over all samples."""
        rest = self.samples % self.batch_size
        return self.samples // self.batch_size + (rest // self.parts >= 2)

    def batch(self, step: int) -> list[Key]:
        """Keys of optimiser step `step`: the epoch, and a sample."""
        epoch, number = divmod(step, self.steps_per_epoch)
        samples = _order(self.samples, self.seed, epoch)[number * self.batch_size : (number + 1) * self.batch_size]
        return [(epoch, int(sample)) for sample in samples[: len(samples) // self.parts * self.parts]]


@lru_cache(maxsize=2)
def _order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch; kept because drawing it for a million frames takes as long as a step."""
    return generator_for(seed, "order", epoch).permutation(samples)


@dataclass(frozen=True)
class PatientPlan:
    """Every step takes equally many frames of a fixed number of patients.

    Patients are drawn without replacement until all had their turn, and so are the frames of a patient, turn after
    turn, until all were taken; then comes a fresh order. Where a patient has fewer frames than a turn takes, they come
    again in the same batch, with other views.

    Attributes:
        patient_of_frame: (n,) number of the patient of each frame, 0 ... P - 1, all of which occur.
        patients: of a batch, at most P.
        batch_size: frames in a step, over all processes; a multiple of `patients`.
        seed: of the order.
    """

    patient_of_frame: NDArray[np.int64] = field(repr=False)
    patients: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps that take as many frames as there are, rounded down, at least 1."""
        return max(1, len(self.patient_of_frame) // self.batch_size)

    def batch(self, step: int) -> list[Key]:
        """Keys of optimiser step `step`, a frame of each patient in turn.

        So each accumulated part, which is a stretch of the batch and has a loss of its own, holds the patients as
        evenly as its size allows. How they fall to processes does not matter: losses, and on GPUs batch norms, span
        all processes.
        """
        patients = Deck(len(self._frames), self.patients, (self.seed, "order of patients")).deal(step)
        taken = [self._turn(patient, number) for number, patient in patients]
        return [key for keys in zip(*taken, strict=True) for key in keys]

    def _turn(self, patient: int, number: int) -> list[Key]:
        """The frames that a patient gives in turn `number` (from 0)."""
        frames = self._frames[patient]
        deck = Deck(len(frames), self.batch_size // self.patients, (self.seed, "order of frames", patient))
        return [(use, int(frames[card])) for use, card in deck.deal(number)]

    @cached_property
    def _frames(self) -> list[NDArray[np.int64]]:
        """The frames of each patient."""
        order = np.argsort(self.patient_of_frame, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.patient_of_frame))[:-1])


class StepSampler(Sampler[list[Key]]):
    """Keys of the batches of this process, from `first` step to before `last`."""

    def __init__(self, plan: Plan, first: int, last: int, rank: int = 0, world_size: int = 1) -> None:
        """The share of process `rank` of `world_size`: every world_size-th sample of each batch."""
        self.plan, self.steps, self.rank, self.world_size = plan, range(first, last), rank, world_size

    def __iter__(self) -> Iterator[list[Key]]:
        """One list of keys a step."""
        for step in self.steps:
            yield self.plan.batch(step)[self.rank :: self.world_size]

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.steps)
