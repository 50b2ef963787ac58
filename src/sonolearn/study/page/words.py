"""The sentences at the top of the page: what it rests on, which initialisation to use, and what to beware of."""

from __future__ import annotations

import re

import pandas as pd

from sonolearn.study.page.analysis import Analysis
from sonolearn.study.page.identity import without_folders
from sonolearn.study.page.wording import percent_label
from sonolearn.study.results import StudyResults
from sonolearn.study.statistics.words import recommended
from sonolearn.study.words import FEW_IMAGES, FEW_PATIENTS, FEW_SEEDS, counted, listed, sentence_case


def basis(results: StudyResults, analysis: Analysis) -> str:
    """Numbers of trainings, pre-trainings and test patients."""
    runs = analysis.runs
    parts = [counted(len(analysis.names), None, "initialisation")]
    parts += [counted(runs[column].nunique(), None, column) for column in ("encoder", "mode")]
    parts += [counted(runs["fraction"].nunique(), None, "label fraction"), _seeds(runs)]
    test = results.store["parts"]["test"]
    pools = f", and {counted(len(results.runs) - len(runs), None, 'training')} on pools of fewer data"
    return (
        f"The main comparison rests on {counted(len(runs), None, 'training')} ({listed(parts)})"
        f"{pools if len(results.runs) > len(runs) else ''}; encoders come from "
        f"{counted(len(set(results.runs['pretrain']) - {''}), None, 'pre-training')} of this study. All were tested on "
        f"{counted(test['images'], None, 'image')} of {counted(test['patients'], None, 'patient')}. “Shown” means: "
        "below 5 % after Holm’s correction for all comparisons of an encoder and mode."
    )


def _seeds(runs: pd.DataFrame) -> str:
    seeds = runs.groupby(["encoder", "mode", "initialisation", "fraction"])["seed"].nunique()
    return counted(int(seeds.min()), int(seeds.max()), "seed")


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
