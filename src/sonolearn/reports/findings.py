"""The sentences at the top of the page: what it rests on, which initialisation to use, and what to beware of."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from sonolearn.planes.results import mean_sd
from sonolearn.reports.wording import (
    FEW_IMAGES,
    FEW_PATIENTS,
    FEW_SEEDS,
    counted,
    listed,
    percent,
    percent_label,
    sentence_case,
    signed,
)
from sonolearn.statistics.analysis import Analysis
from sonolearn.statistics.ranks import Ranks, Recommendation
from sonolearn.statistics.variance import TOLERANCE, PoolEffect, Step
from sonolearn.study.results import StudyResults


class Tested(Protocol):
    """A corrected comparison."""

    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102
    @property
    def corrected(self) -> float: ...  # noqa: D102


def figures(tested: Tested, turned: bool = False) -> str:
    """Difference, 95 % interval and corrected p value; those of the reverse comparison where `turned`."""
    if math.isnan(tested.mean):
        return "no complete unit"
    sign = -1 if turned else 1
    mean = signed(sign * tested.mean)
    if math.isnan(tested.low):
        return f"{mean}, no interval"
    low, high = sorted((sign * tested.low, sign * tested.high))
    return f"{mean}, 95 % interval {signed(low)} to {signed(high)}, corrected {p_value(tested.corrected)}"


def p_value(p: float) -> str:
    """As p = 0.012 or p < 0.001; cut to three digits, so that 0.0499 is not written as 0.050."""
    return "p < 0.001" if p < 0.001 else f"p = {math.floor(p * 1000) / 1000:.3f}"


_VARIED = {"variety": ("patients", "frames"), "size": ("frames", "patients")}


def verdict(effect: PoolEffect) -> str:
    """What is found, for whom, on how many pool draws, and whether it is shown."""
    numbers = figures(effect)
    if not math.isnan(effect.corrected):
        numbers += f" for {counted(effect.tests, None, 'comparison')}"
    draws = counted(effect.units, None, "draw") + " of the pools"
    return f"{_subject(effect)} ({listed(list(effect.initialisations))}, {draws}): {numbers}; {_shown(effect)}."


def widest(effects: Sequence[PoolEffect]) -> list[PoolEffect]:
    """Those over all initialisations together; those of each on its own are for the table."""
    most = max((len(effect.initialisations) for effect in effects), default=0)
    return [effect for effect in effects if len(effect.initialisations) == most]


def _subject(effect: PoolEffect) -> str:
    if effect.question == "variety - size":
        return "Gain by more patients minus gain by more frames"
    varied, fixed = _VARIED[effect.question]
    steps = listed([f"{_number(step.from_)} to {_number(step.to)} at {_fixed(step)}" for step in effect.steps])
    return f"More {varied} at the same number of {fixed} ({varied} {steps} {fixed})"


def _shown(effect: PoolEffect) -> str:
    if effect.units < 2:
        return "not shown, as one draw says nothing of others"
    if effect.question != "variety - size":
        return f"shown to give {'more' if effect.mean > 0 else 'less'}" if effect.shown else "not shown"
    alike = _ratio_spread(effect.steps) <= TOLERANCE
    caveat = "" if alike else ", and the steps differ in size, so that the two gains are not of equal effort"
    if not effect.shown:
        return f"that they differ is not shown{caveat}"
    return f"the gain by more {'patients' if effect.mean > 0 else 'frames'} is shown to be the larger{caveat}"


def _ratio_spread(steps: tuple[Step, ...]) -> float:
    ratios = [step.to / step.from_ for step in steps]
    return max(ratios) / min(ratios)


def _fixed(step: Step) -> str:
    if step.fixed_least == step.fixed_most:
        return _number(step.fixed_least)
    return f"{_number(step.fixed_least)} to {_number(step.fixed_most)}"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def recommended(answer: Recommendation) -> str:
    """Which initialisation to use, with its uncertainty, or between which no difference is shown."""
    at = f"At {percent(answer.fraction)} of the labels" if answer.fraction is not None else _together(answer.fractions)
    at += ", among these very encoders" if answer.one_pretraining else ""
    leader, *others = answer.candidates
    first = math.floor(100 * answer.first[0] + 1e-9)  # cut, so that 99.9 % do not become all
    share = f"{leader} came first in {first} % of the redrawn studies"
    lower = [name for name in answer.names if name not in answer.candidates]
    if not others and answer.decisive:
        nearest = answer.decisive
        name = nearest.other if nearest.initialisation == leader else nearest.initialisation
        than = name if len(lower) == 1 else f"each of the {len(lower)} others; the nearest is {name}"
        return (
            f"{at}, {leader} (macro F1 {answer.means[0]:.3f}) is shown to do better than {than} "
            f"({figures(nearest, turned=nearest.initialisation != leader)}); {share}."
        )
    below = f"{listed(lower)} {'is' if len(lower) == 1 else 'are'} shown to be below {leader}." if lower else ""
    shown = f" {below[0].upper()}{below[1:]}" if below else ""
    means = dict(zip(answer.names, answer.means, strict=True))
    named = listed([f"{name} ({means[name]:.3f})" for name in others]).replace(" and ", " or ")
    between = f"no difference is shown between {leader} (macro F1 {answer.means[0]:.3f}) and {named}"
    return f"{at}, {between}; {share}.{shown}"


def _together(fractions: int) -> str:
    return "At the one label fraction" if fractions == 1 else f"Over the {fractions} label fractions together"


def ranked(ranks: Ranks) -> str:
    """Mean ranks, and whether a test tells them apart."""
    named = [f"{name} {rank:.1f}" for name, rank in zip(ranks.names, ranks.described, strict=True)]
    start = f"Mean ranks over {counted(ranks.described_blocks, None, 'block')} (fraction and unit): {listed(named)}."
    if not ranks.described_blocks:
        return "There is no complete block, hence no ranks."
    if math.isnan(ranks.p):
        return f"{start} They are {ranks.read_as}." if ranks.blocks < 2 else start
    units = counted(ranks.blocks, None, "unit")
    test = f"Friedman's test over {units}: {p_value(ranks.p)}, critical difference {ranks.critical_difference:.1f}"
    if ranks.p >= 0.05:
        return f"{start} {test}; no difference of ranks is shown."
    return f"{start} {test}; {_cliques(ranks)}."


def _cliques(ranks: Ranks) -> str:
    if not ranks.cliques:
        return "all ranks are told apart"
    if len(ranks.cliques[0]) == len(ranks.names):
        return "the test finds some difference, but no two ranks are told apart"
    return f"not told apart are {'; nor '.join(listed(list(clique)) for clique in ranks.cliques)}"


# A drive or server, a home, the working folder or a leading slash; words such as "and/or" or 3VV/3VT stay. Folders may
# hold spaces (names of people do), so that a sentence with two paths may lose the words between them.
_ROOT = r"(?:[A-Za-z]:[\\/]|\\\\|~\w*[\\/]|\.{1,2}[\\/]|file:/+|/+)(?=\S)"
_PATH = re.compile(rf"(?<![\w.]){_ROOT}(?:[^\\/:'\",;()<>\n]+[\\/])*([^\s\\/:'\",;()<>]*)")
_KEYS = re.compile(r"host|user|node|login|path$", re.IGNORECASE)


def without_folders(text: str) -> str:
    """`text` with only the last name of every path that begins at a root, a drive, a home or the working folder."""
    return _PATH.sub(lambda found: found[1] or "a folder", text)


def plan_without_paths(plan: Any, planes: tuple[str, ...] = ()) -> Any:
    """A plan in plain JSON whose paths are names of folders and files; plane names may hold slashes."""
    if isinstance(plan, Mapping):
        return {
            key if key in planes else _short(str(key)): plan_without_paths(value, planes) for key, value in plan.items()
        }
    if isinstance(plan, list | tuple):
        return [plan_without_paths(value, planes) for value in plan]
    return _short(plan) if isinstance(plan, str) and plan not in planes else plan


def _short(text: str) -> str:
    """A path becomes its last name; a sentence loses the paths within it; names of model hubs stay."""
    if re.match(r"hf[-_]hub:", text):
        return text
    if re.match(_ROOT, text):
        return re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    found = without_folders(text)
    return found.rstrip("/").split("/")[-1] if "/" in found and not re.search(r"\s", found) else found


def machine_without_names(machine: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a machine, without entries that name it or its users."""
    return {key: without_folders(str(value)) for key, value in machine.items() if not _KEYS.search(key)}


def basis(results: StudyResults, analysis: Analysis) -> str:
    """Numbers of trainings, pre-trainings and test patients."""
    runs = analysis.runs
    parts = [counted(len(analysis.names), None, "initialisation")]
    parts += [counted(runs[column].nunique(), None, column) for column in ("encoder", "mode")]
    parts += [counted(runs["fraction"].nunique(), None, "label fraction"), _seeds(runs)]
    test = results.store["parts"]["test"]
    pools = f", and {counted(len(results.runs) - len(runs), None, 'training')} on pools of fewer data"
    pretrainings = len(set(results.runs["pretrain"]) - {""})
    encoders = f"; encoders come from {counted(pretrainings, None, 'pre-training')} of this study"
    shown = (
        " An interval of a difference covers other trainings and other test patients. “Shown” means: below 5 % after "
        "Holm’s correction for all comparisons of an encoder and mode."
    )
    return (
        f"The main comparison rests on {counted(len(runs), None, 'training')} ({listed(parts)})"
        f"{pools if len(results.runs) > len(runs) else ''}{encoders if pretrainings else ''}. All were tested on "
        f"{counted(test['images'], None, 'image')} of {counted(test['patients'], None, 'patient')}."
        f"{shown if len(analysis.names) > 1 else ''}"
    )


def _seeds(runs: pd.DataFrame) -> str:
    seeds = runs.groupby(["encoder", "mode", "initialisation", "fraction"])["seed"].nunique()
    return counted(int(seeds.min()), int(seeds.max()), "seed")


def summary(analysis: Analysis, encoder: str, mode: str) -> str:
    """What was reached where initialisations are few, and which to use over all label fractions together."""
    found = [*reached(analysis, encoder, mode), *answers(analysis, encoder, mode, smallest=False)]
    return " ".join(found) or "There are too few complete runs for a comparison."


FEW_NAMES = 3
"""Up to this number of initialisations, all their scores fit a sentence."""


def reached(analysis: Analysis, encoder: str, mode: str) -> list[str]:
    """Macro F1 of each initialisation at the smallest and at the largest label fraction; of a few only."""
    scores = analysis.scores
    own = scores[(scores["encoder"] == encoder) & (scores["mode"] == mode)]
    if own["initialisation"].nunique() > FEW_NAMES:
        return []
    found = []
    for fraction in sorted({own["fraction"].min(), own["fraction"].max()}):
        rows = own[own["fraction"] == fraction].to_dict("records")
        images = counted(int(rows[0]["train_images"]), None, "image")
        least, most = (pick(int(row[f"train_patients_{end}"]) for row in rows)
                       for pick, end in ((min, "least"), (max, "most")))  # fmt: skip
        scored = listed([f"{mean_sd(row['mean'], row['sd'])} for {row['initialisation']}" for row in rows])
        units = {int(row["units"]) for row in rows}
        spread = "one training" if units == {1} else f"mean ± SD over {counted(min(units), max(units), 'training')}"
        labels = f"{percent(fraction)} of the labels ({images} of {counted(least, most, 'patient')})"
        found.append(f"With {labels} the macro F1 was {scored} ({spread}).")
    return found


def answers(analysis: Analysis, encoder: str, mode: str, *, smallest: bool) -> list[str]:
    """Which initialisation to use, over all label fractions together or at the smallest one."""
    found = analysis.statistics.recommendations
    own = [one for one in found if (one.encoder, one.mode) == (encoder, mode)]
    return [sentence_case(recommended(one)) for one in own if (one.fraction is not None) == smallest]


def warnings_of(results: StudyResults, analysis: Analysis) -> list[str]:
    """What a reader must know before believing the page."""
    found = [sentence_case(without_folders(sentence)) for sentence in results.warnings]
    if results.missing:
        verb = "is" if results.missing == 1 else "are"
        found.append(f"{counted(results.missing, None, 'planned run')} {verb} missing: figures rest on the others.")
    if len(results.failures):
        found.append(f"{counted(len(results.failures), None, 'task')} failed; they are listed at the end.")
    found += _few_data(results, analysis.runs)
    seeds = analysis.runs.groupby(["encoder", "mode", "initialisation", "fraction"])["seed"].nunique()
    if seeds.min() < FEW_SEEDS:
        least = counted(int(seeds.min()), None, "seed")
        found.append(f"Some figures rest on {least} only: the spread over seeds is hardly known.")
    return list(dict.fromkeys(found + _few_pretrainings(results, analysis)))


def _few_data(results: StudyResults, runs: pd.DataFrame) -> list[str]:
    found, test = [], results.store["parts"]["test"]
    if test["patients"] < FEW_PATIENTS:
        tested = counted(test["patients"], None, "patient")
        found.append(f"The test part has {tested} only: other patients may give quite different figures.")
    for plane, images in test["planes"].items():
        if not results.store["parts"]["train"]["planes"][plane]:
            found.append(f"The training part has no image of {plane}, so that it cannot be learnt.")
        if images < FEW_IMAGES:
            found.append(f"The test part has {counted(images, None, 'image')} of {plane}.")
    least = runs.groupby("fraction")["train_patients"].min()
    few = [(float(fraction), int(count)) for fraction, count in least.items() if count < FEW_PATIENTS]  # type: ignore[arg-type]
    parts = [f"{counted(count, None, 'patient')} at {percent_label(fraction)} of the labels" for fraction, count in few]
    if parts:
        found.append(f"Training images come from as few as {listed(parts)}.")
    return found


def _few_pretrainings(results: StudyResults, analysis: Analysis) -> list[str]:
    recommendations = analysis.statistics.recommendations
    once = sorted({name for one in recommendations for name in one.one_pretraining})
    few = sorted({name for one in recommendations for name in one.left_out})
    collapsed = {key for key, run in results.pretrained.items() if run.summary.get("collapsed")}
    rows = results.runs[results.runs["pretrain"].isin(collapsed)].drop_duplicates("pretrain")
    found = []
    if once:
        found.append(f"Pre-trained once: {listed(once)}. How far other pre-trainings would differ is not known.")
    if few:
        found.append(f"Some comparisons leave out {listed(few)} for want of runs.")
    if len(rows):
        names = listed(sorted(set(rows["initialisation"])))
        found.append(f"The encoder has collapsed in {counted(len(rows), None, 'pre-training')} ({names}).")
    return found


def glue(text: str) -> str:
    """No line break within 0.812 ± 0.034, 5 % or 12 000."""
    return re.sub(r"(?<=\d) (?=%|\d{3}\b)|(?<=\d) (?=±)|(?<=±) ", "\N{NO-BREAK SPACE}", text)
