"""Thousands of damaged inputs to everything that is read: no traceback, nothing that hangs, nothing over 1 GB.

    python -m benchmarks.fuzz [--inputs 10000] [--seed 0] [--kinds NAME ...] [--failures FOLDER]

Sound inputs of every kind (scans, label tables, the package's own files, words and files of options) are damaged: bits
flipped, numbers of headers replaced, parts left out, doubled or cut off, values of tables and JSON exchanged for others
of their type or of another. Each is tried as the commands try it, in a process that may die, hang or grow, and that is
watched (`fuzzing/contained.py`). An input is *read*, or *refused* in one sentence (`UserError`, `Rejected`, exit code
2); anything else is a failure, and the input is kept in the folder of failures, beside its `what.txt`. What a kind and
a number give depends on the seed alone, so `--kinds NAME --number N` tries a single one again, in this process.

A decoder that dies takes its process with it; `prepare` reads scans in processes of their own for that reason, calls
the file damaged and goes on. Such inputs are counted apart; the first of each kind are given to `prepare`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.figure import machine_line
from benchmarks.fuzzing.attempt import Input, attempted, make
from benchmarks.fuzzing.contained import Done, Limits, contained
from benchmarks.fuzzing.kind import Kind
from benchmarks.fuzzing.kinds import KINDS, SCANS, kind_named, loaded

MOST_BYTES = 1_000_000_000
OUTCOMES = ("refused", "read", "died, contained", "tracebacks", "hangs", "over 1 GB")
SAID_EVERY = 1000
"""Inputs between tables on the way, which a run that is stopped leaves behind."""
TRIED_AGAIN = 3
"""Of the inputs of a kind whose decoder dies, so many are given to `prepare`."""
BAD = ("tracebacks", "hangs", "over 1 GB")


@dataclass
class Tally:
    """What became of the inputs of each kind."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    peak: int = 0
    longest: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, kind: str, outcome: str, done: Done) -> None:
        """Count an input."""
        self.counts.setdefault(kind, Counter())[outcome] += 1
        self.peak, self.longest = max(self.peak, done.peak), max(self.longest, done.seconds)

    @property
    def total(self) -> int:
        """How many inputs were tried."""
        return sum(count.total() for count in self.counts.values())

    @property
    def failed(self) -> int:
        """How many inputs met neither a reader nor a sentence."""
        return sum(count[outcome] for count in self.counts.values() for outcome in BAD)

    def table(self) -> str:
        """As Markdown."""
        lines = [f"| kind | inputs | {' | '.join(OUTCOMES)} |", "|---|" + "---:|" * (len(OUTCOMES) + 1)]
        everything = sum(self.counts.values(), Counter[str]())
        for kind, counts in [*self.counts.items(), ("all", everything)]:
            cells = [counts.total(), *(counts[outcome] for outcome in OUTCOMES)]
            lines.append(f"| {kind} | {' | '.join(f'{cell:,}' for cell in cells)} |")
        return "\n".join(lines)


def main() -> None:
    """Try all, print the table, keep what failed."""
    options = _options()
    if options.number is not None:
        with tempfile.TemporaryDirectory() as folder:
            once = Input(options.kinds[0], options.number, options.seed, Path(folder) / "base", options.failures)
            once.base.mkdir()
            kind_named(once.kind).make(once.base)
            print(*attempted(once), sep="\n")
        return
    print(f"{machine_line()}; seed {options.seed}, {options.inputs:,} inputs", flush=True)
    started = time.monotonic()
    tally = fuzz(options.inputs, options.seed, options.kinds, options.failures, options.processes)
    print(f"\n{tally.table()}\n")
    longest = f"longest input {tally.longest:.1f} s; most memory of a process {tally.peak / 1e6:,.0f} MB"
    print(f"{time.monotonic() - started:.0f} s; {longest}")
    sys.exit(1 if tally.failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kinds", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--number", type=int, help="try this input of a single kind again, and show its traceback")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where what failed is kept")
    parser.add_argument("--processes", type=int, default=2, help="inputs at a time")
    return parser.parse_args()


def fuzz(
    inputs: int, seed: int, names: Sequence[str], failures: Path, processes: int = 2, limits: Limits | None = None
) -> Tally:
    """Try so many inputs of the kinds named, by their shares."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="sonolearn-fuzz-") as name:
        folder = Path(name)
        for heavy in (False, True):
            kinds = [kind for kind in KINDS if kind.name in names and kind.heavy == heavy]
            if not kinds:
                continue
            loaded(heavy)
            _make_all(kinds, folder, processes)
            works = _inputs(inputs, seed, names, kinds, folder)
            for done in contained(attempted, works, limits or Limits(), processes, folder / "noise.txt"):
                what, text = _outcome(done, tally)
                tally.add(done.work.kind, what, done)
                if what in BAD:
                    tally.failures.append(_kept(done, what, text, failures))
                    print(tally.failures[-1], flush=True)
                if tally.total % SAID_EVERY == 0:
                    print(f"\nafter {tally.total:,}:\n\n{tally.table()}\n", flush=True)
                shutil.rmtree(done.work.work, ignore_errors=True)
    return tally


def _make_all(kinds: Sequence[Kind], folder: Path, processes: int) -> None:
    """Make the sound inputs of all kinds."""
    groups = {kind.group: kind.name for kind in kinds}
    works = [(name, folder / "base") for name in groups.values()]
    for done in contained(make, works, Limits(600, 8_000_000_000), processes):
        if done.answer != "":
            raise SystemExit(f"sound inputs of {done.work[0]} cannot be made:\n{done.answer or done.ended}")


def _inputs(count: int, seed: int, names: Sequence[str], kinds: Sequence[Kind], folder: Path) -> Iterator[Input]:
    """The inputs of some kinds, which have their shares of all that are named."""
    shares = sum(kind.share for kind in KINDS if kind.name in names)
    for kind in kinds:
        for number in range(max(1, round(count * kind.share / shares))):
            given = Input(kind.name, number, seed, folder / "base" / kind.group, Path())
            yield replace(given, work=folder / "work" / given.name)


def _outcome(done: Done, tally: Tally) -> tuple[str, str]:
    kind = done.work.kind
    if done.ended == "died":
        seen = tally.counts.get(kind, Counter())["died, contained"] >= TRIED_AGAIN
        return (
            ("died, contained", "") if kind in SCANS and (seen or _contained(done.work)) else ("tracebacks", "it died")
        )
    if done.ended == "hung":
        return "hangs", f"not done after {done.seconds:.0f} s"
    if done.ended == "fat" or done.peak > MOST_BYTES:
        return "over 1 GB", f"{done.peak / 1e6:,.0f} MB"
    return done.answer  # type: ignore[no-any-return]


def _contained(given: Input) -> bool:
    """Whether `prepare` calls a file whose decoder dies damaged, and stores another one beside it."""
    from benchmarks.fuzzing.scans import beside_a_sound_one

    file = next(path for path in given.work.iterdir() if path.is_file())
    return beside_a_sound_one(file, given.base, given.work / "again")


def _kept(done: Done, what: str, text: str, failures: Path) -> str:
    """Keep an input that failed; a line on it."""
    given = done.work
    target = failures / given.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if given.work.is_dir():
        shutil.copytree(given.work, target, symlinks=True, ignore_dangling_symlinks=True)
    target.mkdir(exist_ok=True)
    (target / "what.txt").write_text(
        f"{what}: --kinds '{given.kind}' --seed {given.seed} --number {given.number}\n{text}\n",
        encoding="utf-8",
        errors="backslashreplace",
    )
    return f"{what}: {target}: {text.strip().splitlines()[-1] if text.strip() else ''}"


if __name__ == "__main__":
    main()
