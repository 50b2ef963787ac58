"""Runs of `pretrain` and `classify` as the results of a study: a run of `classify` is a study of one start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import get_args

import pandas as pd

from sonolearn.config.classify import Mode
from sonolearn.console import UserError
from sonolearn.planes.initialisation import NAMES
from sonolearn.statistics.analysis import BASELINES
from sonolearn.study.read import ClassifyRun, PretrainRun, read_run
from sonolearn.study.results import RESULTS, StudyResults

# Options that say what the encoder is; all others should agree between runs that are compared.
WHAT_IS_COMPARED = frozenset({"init", "encoder", "encoder_args", "small_stem", "fractions", "seeds", "image_size"})


def read_runs(paths: Sequence[Path]) -> StudyResults:
    """Read finished runs as one study.

    Args:
        paths: folders of `pretrain` and `classify` runs in any mix; those of `classify` are of one labelled store.

    Returns:
        The results; without a classify run their tables are empty. An encoder counts as fixed, as its file is: nothing
        is known of other pre-trainings, which a warning says.

    Raises:
        UserError: no runs, a folder that is not a finished run, or runs on different labelled stores.
    """
    if not paths:
        raise UserError("report needs at least one run; give the folders of `pretrain` and `classify` runs")
    found = [read_run(path) for path in dict.fromkeys(Path(path).resolve() for path in paths)]
    pretrained = [run for run in found if isinstance(run, PretrainRun)]
    classified = _told_apart([run for run in found if isinstance(run, ClassifyRun)])
    _check_stores(classified)
    first = classified[0] if classified else None
    return StudyResults(
        title=_title(classified, pretrained),
        store=first.store if first else {},
        planes=first.planes if first else (),
        runs=_table(classified),
        predictions=_joined([_keyed(run.predictions, number) for number, run in enumerate(classified)]),
        images=_images(first) if first else pd.DataFrame(),
        warnings=list(_warnings(classified)),
        baselines=_baselines(classified),
        sources=[*pretrained, *classified],
    )


def _told_apart(runs: list[ClassifyRun]) -> list[ClassifyRun]:
    """By mode and encoder; the name of an initialisation gets its folder where another one there is called the same."""
    modes, encoders = get_args(Mode), list(dict.fromkeys(run.encoder for run in runs))
    runs = sorted(runs, key=lambda run: (modes.index(run.mode), encoders.index(run.encoder)))
    count = Counter((*_setting(run), run.name) for run in runs)
    return [
        replace(run, name=f"{run.name} ({run.folder})") if count[*_setting(run), run.name] > 1 else run for run in runs
    ]


def _setting(run: ClassifyRun) -> tuple[str, str]:
    """What runs that are compared have in common."""
    return run.mode, run.encoder


def _check_stores(runs: list[ClassifyRun]) -> None:
    for run in runs[1:]:
        ours, theirs = runs[0].store, run.store
        if ours["fingerprint"] != theirs["fingerprint"]:
            raise UserError(
                f"{run.path}: was measured on another labelled store ({theirs['name']}, {theirs['fingerprint']}) than "
                f"{runs[0].path} ({ours['name']}, {ours['fingerprint']}); report the runs of each store on its own page"
            )


def _keyed(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """With the name of the training: folder, fraction and seed."""
    keys = [f"{number} {fraction!r} {seed}" for fraction, seed in zip(table["fraction"], table["seed"], strict=True)]
    return table.assign(run=keys)


def _table(runs: list[ClassifyRun]) -> pd.DataFrame:
    """A row a training, with the columns of a study's results."""
    tables = [
        _keyed(run.results, number).assign(
            initialisation=run.name,
            encoder=run.encoder,
            pool="",
            mode=run.mode,
            pretrain="",
            data_hash=run.store["fingerprint"],
            config_hash=run.record["hash"],
            sonolearn=run.record["sonolearn"],
        )
        for number, run in enumerate(runs)
    ]
    return _joined(tables).reindex(columns=list(RESULTS)).astype({"pretrain_seed": "Int64"})


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _images(run: ClassifyRun) -> pd.DataFrame:
    """The test images; runs of `classify` do not say which machine took each."""
    return run.predictions.drop_duplicates("row")[["row", "plane", "patient"]].assign(machine="")


def _baselines(runs: list[ClassifyRun]) -> tuple[str, ...]:
    """Names of the first run from ImageNet weights, and of that from random ones, of each mode and encoder."""
    found = []
    for kind in BASELINES:
        for _, group in groupby(runs, _setting):
            found += [run.name for run in group if kind in (NAMES.get(run.initialisation["method"]), run.name)][:1]
    return tuple(dict.fromkeys(found))


def _warnings(runs: list[ClassifyRun]) -> Iterator[str]:
    """Shared patients, one pre-training for all seeds, and settings in which runs that are compared differ."""
    yield from (run.overlap["sentence"] for run in runs if run.overlap["sentence"])
    learnt = dict.fromkeys(run.name for run in runs if run.initialisation["method"] not in ("random", "imagenet"))
    if learnt:
        yield (
            f"One encoder each stands behind {', '.join(learnt)}: SD and intervals say how other labels, heads and "
            "patients might do, not other pre-trainings"
        )
    for _, group in groupby(runs, _setting):
        first, *others = group
        for run in others:
            if names := differing_settings(run, first):
                yield f"{run.name} and {first.name} differ in more than the initialisation ({', '.join(names)})"


def differing_settings(run: ClassifyRun, other: ClassifyRun) -> list[str]:
    """Names of the options other than the initialisation in which two runs differ."""
    ours, theirs = run.record["config"], other.record["config"]
    names = sorted(k for k in {*ours, *theirs} - WHAT_IS_COMPARED if ours.get(k) != theirs.get(k))
    return names + (["image_size"] if run.initialisation["image_size"] != other.initialisation["image_size"] else [])


def _title(classified: list[ClassifyRun], pretrained: list[PretrainRun]) -> str:
    if classified:
        return f"Plane classification on {classified[0].store['name']}"
    methods = sorted({NAMES.get(run.summary["method"], run.summary["method"]) for run in pretrained})
    return f"Pre-training with {', '.join(methods)}"
