"""Where a training step's time goes, in figures and in words: what `sonolearn pretrain --profile` says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

LOADING = ("read", "augment", "pack")
"""What a loader process does for a batch: read frames, make views, lay them into one array."""

HAND_OVER = "hand over"
"""A batch's way from a loader process to the training process."""

WAIT = "wait for data"

PARTS = ("to device", "forward", "backward", "optimiser", "log")
"""What the training process does in a step."""

# Shares of a step that are worth a word.
WAITING, LOGGING, UPDATING, IDLE = 0.1, 0.05, 0.25, 0.2


@dataclass(frozen=True)
class StepTimes:
    """Mean seconds of a step of one training process.

    Attributes:
        frames: of a step in this process, on average: the last batch of an epoch may be smaller.
        step: a whole step, as in training.
        wait: of it, waiting for data.
        parts: seconds of each of `PARTS`, measured with a wait for the device after each: their sum is more than a step
            where host and device otherwise work at the same time.
        loading: seconds that one loader process takes for each of `LOADING`, and for `HAND_OVER`.
        loaders: loader processes beside this training process; 0: it loads itself.
        cores: processor cores for this training process and its loaders.
        busy: share of the step in which a GPU computes; None on other devices.
    """

    frames: float
    step: float
    wait: float
    parts: dict[str, float]
    loading: dict[str, float]
    loaders: int
    cores: int
    busy: float | None = None

    @property
    def loader_seconds(self) -> float:
        """Seconds of one loader process for a batch."""
        return sum(self.loading[name] for name in LOADING)

    @property
    def delivery(self) -> float:
        """Seconds between two batches, as fast as the loaders can."""
        return self.loader_seconds / max(1, self.loaders)

    @property
    def computing(self) -> float:
        """Seconds of a step that are no waiting for data."""
        return max(self.step - self.wait, 1e-9)

    @property
    def is_starved(self) -> bool:
        """Whether the training waits for its loaders, now or as soon as the batches made beforehand are used up."""
        return self.wait > WAITING * self.step or (self.loaders > 0 and self.delivery > (1 + WAITING) * self.computing)


def advice(times: StepTimes) -> str:
    """One sentence: what would make this training faster."""
    share = {name: seconds / times.computing for name, seconds in times.parts.items()}
    if times.is_starved:
        return _about_loaders(times)
    if share["log"] > LOGGING:
        return f"Logging takes {share['log']:.0%} of the computing: give a larger --log_every."
    if times.busy is not None and times.busy < 1 - IDLE:
        return (
            f"The GPU computes {times.busy:.0%} of the time and waits for the host in between: a larger --batch_size "
            "gives it more to do at once."
        )
    if share["optimiser"] > UPDATING:
        return f"The optimiser takes {share['optimiser']:.0%} of the computing: a larger --batch_size has fewer steps."
    return (
        "The device is the limit, data are ready in time: only a faster device, more of them (--devices), a smaller "
        "--image_size or a smaller --encoder makes this faster."
    )


def _about_loaders(times: StepTimes) -> str:
    waits = max(times.wait / times.step, 1 - times.computing / max(times.delivery, times.computing))
    needed = max(1, math.ceil(times.loader_seconds / times.computing))
    start = f"The training waits for data {waits:.0%} of the time"
    if needed <= times.loaders:
        # Enough by their work alone: what is missing is cores, or the hand-over.
        return f"{start} although {times.loaders} loader processes are enough: they share the cores with other work."
    if needed < times.cores:
        return f"{start}: give --workers {needed} (it has {times.loaders})."
    slowest = max(LOADING, key=lambda name: times.loading[name])
    remedy = {
        "read": "put the store on a faster disk, or prepare a smaller --size",
        "augment": "take cheaper views (--views.blur 0 0, smaller --views.randaugment), or prepare a smaller --size",
        "pack": "take a smaller --image_size",
    }[slowest]
    return f"{start}, {needed} loader processes would be needed and there are {times.cores} cores: {remedy}."


def table(times: StepTimes) -> Iterator[tuple[str, str, float, float]]:
    """Rows of where, what, seconds of a step, and their share of it.

    A loader process takes its seconds for a whole batch while the others make the next ones: they may be more than
    those of the step.
    """
    where = f"a loader process (of {times.loaders})" if times.loaders else "training process, loading"
    for name in (*LOADING, HAND_OVER):
        yield where, name, times.loading[name], times.loading[name] / times.step
    for name, seconds in {WAIT: times.wait, **times.parts}.items():
        yield "training process", name, seconds, seconds / times.step
    yield "training process", "whole step", times.step, 1.0
