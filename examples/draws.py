"""Prints a Markdown table of `classify` runs that differ in how label fractions were drawn, and their differences.

    python examples/draws.py OUT/random OUT/unstratified OUT/suggested

Macro F1, mean ± SD over draws; below it the last run minus each other one, with the 95 % interval for other draws and
other test patients.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sonolearn.planes.tables import mean_sd
from sonolearn.study.compare import paired_differences
from sonolearn.study.read import ClassifyRun, read_run


def main(folders: list[Path]) -> None:
    runs = [run for run in map(read_run, folders) if isinstance(run, ClassifyRun)]
    named = {str(run.record["config"]["draw"]): run for run in runs}
    print("| labels | images |", " | ".join(named), "|")
    print("|---|---|" + "---|" * len(named))
    for row in range(len(runs[0].summary)):
        rows = [run.summary.iloc[row] for run in named.values()]
        cells = [mean_sd(one["macro_f1_mean"], one["macro_f1_sd"]) for one in rows]
        print(f"| {rows[0]['fraction']:.0%} | {rows[0]['train_images']:.0f} |", " | ".join(cells), "|")
    *others, last = named
    print("\n| labels |", " | ".join(f"{last} minus {other}" for other in others), "|")
    print("|---|" + "---|" * len(others))
    for differences in zip(*(paired_differences(named[last], named[other]) for other in others), strict=True):
        cells = [f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for one in differences]
        print(f"| {differences[0].fraction:.0%} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
