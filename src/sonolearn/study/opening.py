"""From a plan to its grid: the stores are opened (or a phantom is made), and shared patients are looked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from sonolearn.config import ClassifyConfig, EncoderConfig
from sonolearn.console import UserError, say, warn
from sonolearn.data.phantom import generate
from sonolearn.data.prepare import prepare
from sonolearn.data.store import Store
from sonolearn.planes.images import check_labels, parts_used
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.overlap import find_overlap
from sonolearn.runs import alone_in, hash_of, hashed_settings, read_json, write_json
from sonolearn.ssl.encoders import check_init
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import Grid
from sonolearn.study.plan import Plan

ENCODER_OPTIONS = [option.name for option in dataclasses.fields(EncoderConfig)]


def open_grid(plan: Plan, folder: StudyFolder) -> Grid:
    """Open the stores of a plan; a phantom is made if there is none yet.

    Raises:
        UserError: a store is missing or damaged, has no labels or lacks a part.
    """
    labelled_path, unlabelled_paths = plan.data.labelled, plan.data.unlabelled
    if labelled_path is None:
        labelled_path, unlabelled_paths = _phantom(plan, folder)
    labelled = Store(labelled_path)
    check_labels(labelled, parts_used(*plan.modes.values()))
    unlabelled = [Store(path) for path in unlabelled_paths] if plan.methods else []
    if plan.methods and plan.data.labelled_frames:
        unlabelled.append(labelled)
    grid = Grid(plan, labelled, unlabelled)
    check_distinct(grid)
    return grid


def check_weights(plan: Plan) -> None:
    """Load every initialisation of a plan once, before any data are read.

    Raises:
        UserError: weights are missing, damaged, or of another architecture.
    """
    pretrainings = [config for method in plan.methods.values() for config in method.configs.values()]
    seen = {hash_of([dataclasses.asdict(config)[key] for key in ENCODER_OPTIONS]): config for config in pretrainings}
    for config in seen.values():
        check_init(config, config.image_size)
    for start in plan.starts.values():
        for encoder in start.encoders:
            check_init(dataclasses.replace(plan.encoders[encoder], init=start.init))


def check_distinct(grid: Grid) -> None:
    """Refuse a plan that names one training twice, or two trainings alike.

    Raises:
        UserError: names both.
    """
    keys: dict[str, str] = {}
    names: dict[str, str] = {}
    for start in grid.starts:
        pool = f", {start.pool}" if start.pool else ""
        seed = f", seed {start.seed}" if start.seed else ""
        name = f"{start.name} ({start.encoder}{pool}{seed})"
        file = f"{grid.plan.name}.yaml"
        if keys.setdefault(start.key, name) != name:
            raise UserError(f"{file}: {keys[start.key]} and {name} are the same training; take one out")
        if names.setdefault(name, start.key) != start.key:
            raise UserError(f"{file}: two different trainings are called {name}; rename one")


def fingerprints_of(grid: Grid) -> dict[str, str]:
    """What the study stands on: each store and a name of its content."""
    numbered = enumerate(grid.unlabelled, 1)
    stores = {f"unlabelled store {n} {store.path.resolve().name}": store.fingerprint for n, store in numbered}
    return {f"labelled store {grid.labelled.path.resolve().name}": grid.labelled.fingerprint, **stores}


def check_patients(grid: Grid) -> list[str]:
    """Sentences on patients who are in SSL data and in the validation or test part; each is said once.

    Raises:
        UserError: there are any, and the plan refuses them.
    """
    labels = grid.labelled.labels
    assert labels is not None  # `open_grid` has checked it
    sentences = [_shared(grid.labelled, labels, store) for store in grid.unlabelled if store is not grid.labelled]
    for name, start in grid.plan.starts.items():
        if start.init not in ("random", "imagenet"):
            backbone = dataclasses.asdict(grid.plan.encoders[start.encoders[0]])
            found = Initialisation(ClassifyConfig(**{**backbone, "init": start.init, "name": name}))
            # Weights from elsewhere name no patients: nothing to compare, and nothing to warn of for each of them.
            overlap = find_overlap(grid.labelled, labels, found)
            sentences.append(overlap["sentence"] if overlap["state"] == "overlap" else "")
    sentences = [sentence for sentence in sentences if sentence]
    if sentences and grid.plan.given.overlap == "refuse":
        raise UserError(f"{sentences[0]}; take their scans out of the store, or give overlap: warn in the plan")
    for sentence in sentences:
        warn(sentence)
    return sentences


def _shared(labelled: Store, labels: pd.DataFrame, store: Store) -> str:
    held_out = set(labels.loc[labels["split"] != "train", "patient"])
    names = sorted(held_out & set(store.patient_of_frame)) if store.key_id == labelled.key_id else []
    if not names:
        return ""
    one = len(names) == 1
    return (
        f"{store.path.resolve().name}: {len(names)} patient{'' if one else 's'} of the validation and test parts of "
        f"{labelled.path.resolve().name} {'has' if one else 'have'} scans that SSL learns from ({', '.join(names)}); "
        "such a test flatters SSL"
    )


def _phantom(plan: Plan, folder: StudyFolder) -> tuple[Path, tuple[Path, ...]]:
    """Make the plan's phantom and its stores, or go on making them."""
    assert plan.phantom is not None  # `read_plan` has checked it
    labelled, scans = folder.data / "labelled", folder.data / "scans"
    with alone_in(folder.data):
        made, wanted = folder.data / "complete.json", hash_of([hashed_settings(options) for options in plan.phantom])
        if made.exists() and read_json(made) != wanted:
            raise UserError(
                f"{folder.data}: holds the phantom of another plan; give another --out, or take data.phantom back"
            )
        if not made.exists():
            phantom, options = plan.phantom
            say(f"{folder.out}: making the phantom, {phantom.patients} made-up patients")
            generate(folder.data / "phantom", phantom)
            prepare([folder.data / "phantom" / "scans"], scans, None, options)
            prepare([], labelled, folder.data / "phantom" / "labels.csv", options)
            write_json(made, wanted)
    return labelled, (scans,)
