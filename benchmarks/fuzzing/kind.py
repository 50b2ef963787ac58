"""A kind of input: how sound ones are made, and how a damaged one is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzzing.damage import Rng


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: for people.
        group: name of the sound inputs that it shares with others.
        make: writes sound inputs into a folder, once.
        attempt: damages a copy of one in an empty folder, tries it, and returns; a refusal is an error. It is called
            with the folder of the sound inputs, the empty folder, and a generator.
        share: of all inputs, relative to other kinds.
        heavy: whether it needs torch.
    """

    name: str
    group: str
    make: Callable[[Path], None]
    attempt: Callable[[Path, Path, Rng], None]
    share: int
    heavy: bool = False
