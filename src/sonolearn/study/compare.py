"""Whether one initialisation beats another: paired differences of macro F1, with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonolearn.planes.metrics import bootstrap_macro_f1, macro_f1_of
from sonolearn.planes.tables import confusions
from sonolearn.study.read import ClassifyRun
from sonolearn.study.statistics.estimates import estimate, over_patients, over_units

# Options that say what the encoder is; all others should agree between runs that are compared.
WHAT_IS_COMPARED = frozenset({"init", "encoder", "encoder_args", "small_stem", "fractions", "seeds", "image_size"})


@dataclass(frozen=True)
class Difference:
    """Macro F1 of a run minus that of the baseline at one label fraction.

    Attributes:
        fraction: label fraction.
        seeds: number of pairs (same fraction, same seed, hence the same labels).
        mean: mean difference over the pairs.
        low: lower end of the 95 % interval; NaN where it cannot be told.
        high: its upper end.
    """

    fraction: float
    seeds: int
    mean: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0; False where there is no interval."""
        return self.low > 0 or self.high < 0


def paired_differences(run: ClassifyRun, baseline: ClassifyRun) -> list[Difference]:
    """Differences at all label fractions that both runs have with common seeds.

    The interval is for other seeds *and* other test patients. The variance over seeds is that of the mean of the paired
    differences; the variance over patients is that of a paired bootstrap of the test patients; they add up, and
    Student's t takes the degrees of freedom of Welch and Satterthwaite. One seed, or one test patient, gives no
    interval. It is not corrected for the number of comparisons.

    Raises:
        ValueError: the runs were tested on different images.
    """
    if run.store["fingerprint"] != baseline.store["fingerprint"]:
        raise ValueError("runs on different stores cannot be compared")
    found = (_difference(run, baseline, fraction) for fraction in run.fractions if fraction in baseline.fractions)
    return [difference for difference in found if difference.seeds]


def _difference(run: ClassifyRun, baseline: ClassifyRun, fraction: float) -> Difference:
    tables = [r.predictions[r.predictions["fraction"] == fraction] for r in (run, baseline)]
    seeds = sorted(set(tables[0]["seed"]) & set(tables[1]["seed"]))
    if not seeds:
        return Difference(fraction, 0, math.nan, math.nan, math.nan)
    ours, theirs = (confusions(table[table["seed"].isin(seeds)], run.planes) for table in tables)
    pairs = macro_f1_of(ours.sum(1)) - macro_f1_of(theirs.sum(1))
    drawn = bootstrap_macro_f1(ours, seed=0) - bootstrap_macro_f1(theirs, seed=0)
    found = estimate(float(pairs.mean()), [over_units(pairs), over_patients(drawn, patients=ours.shape[1])])
    return Difference(fraction, len(seeds), found.mean, found.low, found.high)


def baseline_of(runs: list[ClassifyRun]) -> ClassifyRun | None:
    """The run that started from random weights, which the others are compared with."""
    return next((run for run in runs if run.initialisation["init"] == "random"), None)


def differing_settings(run: ClassifyRun, baseline: ClassifyRun) -> list[str]:
    """Names of the options other than the initialisation in which two runs differ."""
    ours, theirs = run.record["config"], baseline.record["config"]
    names = sorted(k for k in {*ours, *theirs} - WHAT_IS_COMPARED if ours.get(k) != theirs.get(k))
    names += [k for k in ("encoder", "image_size") if run.initialisation[k] != baseline.initialisation[k]]
    return names
