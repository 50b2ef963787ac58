"""What a person waits for the command line to say something: whole processes, from their start to their end.

    python -m benchmarks.start [--quick]

Each command runs in a fresh Python of this environment with its output thrown away, and the clock counts; they take
turns, and the median counts. The files of Python and of the packages lie in the system's cache, as after a first call.
Ceilings are times; a Python that does nothing is in the table for comparison.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.figure import Row, cost, in_turns, run_script

COMMANDS: dict[str, list[str]] = {
    "a Python that does nothing": ["-c", "pass"],
    "`import sonolearn`": ["-c", "import sonolearn"],
    "`sonolearn --help`": ["-m", "sonolearn", "--help"],
    "`sonolearn pretrain --help`": ["-m", "sonolearn", "pretrain", "--help"],
}
CEILINGS = {"`import sonolearn`": 0.3, "`sonolearn --help`": 0.5}
"""Seconds."""


def rows(quick: bool) -> Iterator[Row]:
    """The ceilings of the issue; what has none is held against a Python that does nothing."""
    found = in_turns({name: partial(start, words) for name, words in COMMANDS.items()}, 3 if quick else 15)
    nothing = found.pop("a Python that does nothing")
    for name, seconds in found.items():
        if name in CEILINGS:
            yield cost(name, seconds, "ceiling", CEILINGS[name], 1)
        else:
            yield cost(name, seconds, "a Python that does nothing", nothing, None)


def start(words: list[str]) -> None:
    """Run a fresh Python to its end."""
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    run_script(rows, __doc__)
