"""Commands killed at random moments, and run again, end in the files of an undisturbed run.

    python -m benchmarks.kill [--kills 120] [--seed 0] [--steps NAME ...]

All commands at a small size: phantom, two stores, pre-training, linear evaluation and fine-tuning, predictions (with
their ONNX graph), report, study and its page. Each step is first run undisturbed. Then it is killed (SIGKILL), half of
the times alone, half of the times with all its processes, at a moment drawn from the time that the undisturbed run
took; then run again, and killed again, until it ends before its kill or was killed five times in a row; then run to its
end. Its folder, and the private folder beside it, must then hold the same files as after the undisturbed run. Ignored
are times alone: columns and keys `seconds`, logs, TensorBoard, timings.csv, and what a page says of them.

Steps are forked from this process, which has loaded everything: so kills fall into work, not into the loading of
libraries. Processes that a killed command leaves behind have to end by themselves within seconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.figure import machine_line
from benchmarks.killing.contents import contents, differing
from benchmarks.killing.forked import loaded, started
from benchmarks.killing.steps import STEPS, Step
from sonolearn.runs import generator_for

IN_A_ROW = 5
ORPHANS_SECONDS = 20.0


@dataclass
class Figures:
    """What became of a step.

    Attributes:
        name: of the step.
        seconds: of the undisturbed run.
        kills: how often it was killed while it ran.
        ends: how often it was run to its end afterwards.
        differences: files that differed then; a step that failed counts as one.
        orphans: how often processes outlived a kill of the command alone by more than `ORPHANS_SECONDS`.
    """

    name: str
    seconds: float
    kills: int = 0
    ends: int = 0
    differences: list[str] = field(default_factory=list)
    orphans: int = 0


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [step.name for step in STEPS]
    parser.add_argument("--kills", type=int, default=120, help="over all steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    options = parser.parse_args()
    print(f"{machine_line()}; seed {options.seed}, {options.kills} kills", flush=True)
    loaded()
    with tempfile.TemporaryDirectory(prefix="sonolearn-kill-") as folder:
        found = killed(Path(folder), options.kills, options.seed, options.steps)
    print("\n| step | undisturbed, s | kills | runs to the end | differences | left processes |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in found:
        print(f"| {row.name} | {row.seconds:.1f} | {row.kills} | {row.ends} | {len(row.differences)} | {row.orphans} |")
    wrong, orphans = [line for row in found for line in row.differences], sum(row.orphans for row in found)
    print(f"| all | {sum(row.seconds for row in found):.1f} | {sum(row.kills for row in found)} | "
          f"{sum(row.ends for row in found)} | {len(wrong)} | {orphans} |\n", *wrong, sep="\n")  # fmt: skip
    sys.exit(1 if wrong or orphans else 0)


def killed(folder: Path, kills: int, seed: int, names: Sequence[str]) -> list[Figures]:
    """Go the road; kill the steps that are named, by their shares."""
    shares = {step.name: step.share for step in STEPS if step.name in names}
    last = max(number for number, step in enumerate(STEPS) if step.name in names)
    found = []
    for step in STEPS[: last + 1]:
        began = time.monotonic()
        code = started(step.words(folder), folder / "log.txt").wait()
        if code:
            raise SystemExit(f"{step.name} fails undisturbed:\n{(folder / 'log.txt').read_text(errors='replace')}")
        figures = Figures(step.name, time.monotonic() - began)
        if step.name in shares:
            wanted = max(1, round(kills * shares[step.name] / sum(shares.values())))
            _kill(step, folder, wanted, generator_for(seed, "kill", step.name), figures)
            found.append(figures)
            print(f"{step.name}: {figures.kills} kills, {len(figures.differences)} differences", flush=True)
    return found


def _kill(step: Step, folder: Path, wanted: int, rng: np.random.Generator, figures: Figures) -> None:
    """Kill a step so often; `folder` ends as the undisturbed run left it."""
    kept = folder.with_name(f"{folder.name}-kept")
    touched = [*step.outs, "sonolearn-private"]
    expected = contents(folder, touched)
    _copy(folder, kept, touched)
    try:
        while figures.kills < wanted:
            for out in step.outs:
                _remove(folder / out)
            for _ in range(min(IN_A_ROW, wanted - figures.kills)):
                if not _killed_once(step, folder, rng, figures):
                    break
            _ended(step, folder, expected, touched, figures)
    finally:
        _copy(kept, folder, touched)
        shutil.rmtree(kept)


def _killed_once(step: Step, folder: Path, rng: np.random.Generator, figures: Figures) -> bool:
    """Start a step and kill it; False where it ended before."""
    alone = bool(rng.random() < 0.5)
    delay = float(rng.uniform(0, figures.seconds))
    runner = started(step.words(folder), folder / "log.txt")
    if runner.ends_within(delay):
        return False
    runner.kill(alone)
    figures.kills += 1
    figures.orphans += not runner.leaves_nothing(ORPHANS_SECONDS)
    return True


def _ended(step: Step, folder: Path, expected: dict[str, str], touched: Sequence[str], figures: Figures) -> None:
    """Run a step to its end and compare."""
    code = started(step.words(folder), folder / "log.txt").wait()
    figures.ends += 1
    if code:
        said = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
        figures.differences.append(f"{step.name}: fails after {figures.kills} kills: exit code {code}: {said[-1:]}")
    else:
        found = differing(expected, contents(folder, touched))
        figures.differences += [f"{step.name}: after {figures.kills} kills: {name}" for name in found]


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        _remove(target / name)
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        elif (source / name).exists():
            target.mkdir(exist_ok=True)
            shutil.copy2(source / name, target / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
