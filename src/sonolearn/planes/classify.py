"""`sonolearn classify`: a plane classifier from few labels, measured over label fractions and seeds.

For every fraction and seed a subset of the training part is drawn, a classifier is fitted on it and the validation
part chooses its epoch; only then is the test part looked at, once. Each such unit is written when it is finished, and
the same command goes on with those that are missing.
"""

from __future__ import annotations

import dataclasses
import time
from itertools import groupby
from pathlib import Path

import pandas as pd

from sonolearn.config import ClassifyConfig
from sonolearn.console import Interrupted, ProgressBar, UserError, progress
from sonolearn.planes.head import Fitted
from sonolearn.planes.images import Labelled, LabelledImages, check_labels, describe_store, parts_used
from sonolearn.planes.initialisation import Initialisation, check_overlap
from sonolearn.planes.results import Unit, measure, print_summary, write_tables, write_unit
from sonolearn.planes.run import Trainer
from sonolearn.planes.saved import ClassifierCard, cleaning_of, network_of, save_classifier
from sonolearn.runs import claim, write_json
from sonolearn.ssl.encoders import check_init
from sonolearn.store.store import Store

DATA_FILE = "data.json"


def classify(store: Path, out: Path, config: ClassifyConfig) -> pd.DataFrame:
    """Train and test a plane classifier for every label fraction and seed; the run folder `out` gets the tables.

    Args:
        store: a labelled store.
        out: run folder; results.csv, per_class.csv, predictions.csv, confusion.csv, subsets.json, summary.csv,
            overlap.json and data.json are written there, and units/ with what each fraction and seed gave; with
            `save_classifiers` also classifiers/. What was finished without is then trained again: results stay.
        config: initialisation, mode, fractions, seeds and settings.

    Returns:
        results.csv: a row a fraction and seed.

    Raises:
        UserError: no labels, no such initialisation, another run in `out`, a loss that is not finite, ...
        Interrupted: Ctrl-C; finished units are kept.
    """
    initialisation = Initialisation(config)
    check_init(config, initialisation.image_size)
    source = Store(store)
    labels = check_labels(source, parts_used(config))
    unlabelled = [Store(path) for path in config.unlabelled]
    more = {f"unlabelled {number}": other.fingerprint for number, other in enumerate(unlabelled)}
    claim(out, "classify", initialisation.settings, {"store": source.fingerprint, **more, **initialisation.hashes})
    write_json(out / DATA_FILE, {"store": describe_store(source, labels), "initialisation": initialisation.describe()})
    check_overlap(source, labels, initialisation, out)
    units = [Unit(fraction, seed) for seed in range(config.seeds) for fraction in dict.fromkeys(config.fractions)]
    missing = [unit for unit in units if not unit.is_finished(out, config.save_classifiers)]
    if missing:
        images = LabelledImages(source, labels, initialisation.image_size, unlabelled)
        _run_units(missing, units, images, initialisation, out)
    results = write_tables(out, units, source.planes)
    print_summary(out, f"{initialisation.name}, {config.mode}", config.draw)
    return results


def _run_units(
    missing: list[Unit],
    units: list[Unit],
    images: LabelledImages,
    initialisation: Initialisation,
    out: Path,
) -> None:
    """Fit, test and write the missing units."""
    done, epochs = len(units) - len(missing), initialisation.config.trained_epochs

    def weights(unit: Unit) -> int:
        return unit.seed if initialisation.varies else 0

    try:
        with progress("classify", len(missing) * epochs) as bar:
            for seed, group in groupby(missing, weights):
                trainer = Trainer(images, initialisation, seed, [unit for unit in units if weights(unit) == seed])
                for unit in group:
                    bar.describe(f"{unit.fraction:.4g} of the labels, seed {unit.seed}")
                    _run_unit(unit, trainer, out, bar)
                    done += 1
    except KeyboardInterrupt as stop:
        sentence = f"stopped with {done} of {len(units)} trainings finished; run the same command again to continue"
        raise Interrupted(f"{out}: {sentence}") from stop


def _run_unit(unit: Unit, trainer: Trainer, out: Path, bar: ProgressBar) -> None:
    """Draw the subset, fit on it, look at the test part once, write."""
    start = time.perf_counter()
    subset = trainer.subset(unit)
    try:
        fitted = trainer.fit(unit, bar.advance)
    except UserError as error:
        raise UserError(f"{out}: fraction {unit.fraction:g}, seed {unit.seed}: {error}") from error
    probabilities = fitted.predict(trainer.inputs("test"))
    seconds = time.perf_counter() - start
    bar.advance(trainer.config.trained_epochs - len(fitted.history))
    record = measure(unit, fitted, probabilities, subset, trainer.parts, trainer.images.planes)
    if trainer.config.save_classifiers:
        _save(unit, fitted, trainer, subset, out)
    write_unit(out, unit, record, seconds)


def _save(unit: Unit, fitted: Fitted, trainer: Trainer, subset: Labelled, out: Path) -> None:
    """Write the classifier of a unit; before its record, which says that the unit is finished."""
    store, size = trainer.images.store, trainer.images.size
    encoder, card = trainer.initialisation.load(trainer.weights)
    network = network_of(fitted, encoder, card, trainer.classes)
    used = dataclasses.replace(card, image_size=size, mean=network.mean, std=network.std)
    counts = len(subset), subset.patients
    described = store.planes, store.size, cleaning_of(store), trainer.config.mode
    save_classifier(unit.classifier(out), network, ClassifierCard(used, *described, unit.fraction, unit.seed, *counts))
