"""One input: from its kind, its number and the seed to what became of it; called in a process that may die."""

from __future__ import annotations

import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzzing.kinds import kind_named
from sonolearn.console import UserError
from sonolearn.runs import generator_for
from sonolearn.scans.scan import Rejected


@dataclass(frozen=True)
class Input:
    """An input to be: its kind, its number and the seed say all of it."""

    kind: str
    number: int
    seed: int
    base: Path
    work: Path

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.kind.replace(' ', '_').replace('/', '_')}-{self.number}"


def make(work: tuple[str, Path]) -> str:
    """Make the sound inputs of a kind, unless another kind has made them; an error's text, or nothing."""
    kind = kind_named(work[0])
    folder = work[1] / kind.group
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return ""
    try:
        kind.make(folder)
    except Exception:
        return traceback.format_exc()
    return ""


def attempted(given: Input) -> tuple[str, str]:
    """Try one input: "read", "refused" or "tracebacks", and what was said."""
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    rng = generator_for(given.seed, "fuzz", given.kind, given.number)
    try:
        kind_named(given.kind).attempt(given.base, given.work, rng)
    except Rejected as rejection:
        return _refused(rejection.message)
    except UserError as error:
        return _refused(str(error))
    except BaseException:
        return "tracebacks", traceback.format_exc()
    return "read", ""


def _refused(sentence: str) -> tuple[str, str]:
    """A refusal, if it is a sentence."""
    wrong = len(sentence.split()) < 3 or "\n" in sentence or "Traceback" in sentence
    return ("tracebacks", f"no sentence: {sentence!r}") if wrong else ("refused", sentence)
