"""All runs of a plan, each named by the hash of everything that determines it, and what each needs first.

A pre-training is shared by the downstream runs that start from it; names are known before anything has run, so that
the same plan finds its finished runs again, and a plan with one more seed runs only what is new.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sonolearn.command import nearest
from sonolearn.config import ClassifyConfig, EncoderConfig, PoolConfig, PretrainConfig
from sonolearn.console import UserError
from sonolearn.planes.initialisation import NAMES
from sonolearn.planes.results import Unit
from sonolearn.runs import hash_file, hash_of, hashed_settings, run_hash
from sonolearn.ssl.encoders import encoder_file
from sonolearn.ssl.pretrain import fingerprints
from sonolearn.store.store import Store
from sonolearn.study.plan import Plan

COLUMNS = ("initialisation", "encoder", "pool", "mode", "fraction", "seed")


@dataclass(frozen=True)
class Pretraining:
    """One pre-training of the grid.

    Attributes:
        run: its hash, as its run.json will hold it.
        name: of the method in the plan.
        encoder: the plan's name of the backbone.
        pool: the plan's name of the SSL data, "" for all frames.
        config: everything that it takes.
    """

    run: str
    name: str
    encoder: str
    pool: str
    config: PretrainConfig


@dataclass(frozen=True)
class Start:
    """What a classifier starts from: weights that are fixed, drawn, or pre-trained.

    Attributes:
        key: names the weights.
        name: the initialisation as tables have it.
        encoder: the plan's name of the backbone.
        backbone: its options; those of `pretraining`, if there is one, are on its card.
        init: random, imagenet or a file; "" where the study pre-trains it.
        seed: of the weights; None where they are fixed.
        pretraining: what makes it.
    """

    key: str
    name: str
    encoder: str
    backbone: EncoderConfig
    init: str
    seed: int | None
    pretraining: Pretraining | None = None

    @property
    def pool(self) -> str:
        """Name of the SSL data, "" for all frames or none."""
        return self.pretraining.pool if self.pretraining else ""


@dataclass(frozen=True)
class Downstream:
    """One classifier: an initialisation, a mode, a label fraction and a seed."""

    run: str
    start: Start
    mode: str
    fraction: float
    seed: int

    @property
    def unit(self) -> Unit:
        """Its fraction and seed."""
        return Unit(self.fraction, self.seed)

    @property
    def columns(self) -> dict[str, str | float | int]:
        """What it is, as tables have it."""
        start = self.start
        return dict(
            zip(COLUMNS, (start.name, start.encoder, start.pool, self.mode, self.fraction, self.seed), strict=True)
        )


@dataclass(frozen=True)
class Grid:
    """All runs of a plan on its stores.

    Attributes:
        plan: what was asked for.
        labelled: the labelled store.
        unlabelled: the stores to pre-train on.
    """

    plan: Plan
    labelled: Store
    unlabelled: Sequence[Store]

    @cached_property
    def pretrainings(self) -> list[Pretraining]:
        """Every pre-training that a downstream run needs, the main comparison's first."""
        found = [start.pretraining for start in self.starts if start.pretraining]
        return list({pretraining.run: pretraining for pretraining in found}.values())

    @cached_property
    def starts(self) -> list[Start]:
        """What classifiers start from."""
        return [*self._given(), *self._pretrained()]

    @cached_property
    def downstream(self) -> list[Downstream]:
        """Every classifier, in the order of the plan."""
        given = self.plan.given
        settings = {mode: hash_of(hashed_settings(_without_grid(c))) for mode, c in self.plan.modes.items()}
        return [
            Downstream(
                hash_of(["downstream", start.key, settings[mode], self.labelled.fingerprint, fraction, seed]),
                start, mode, fraction, seed,
            )
            for start in self.starts
            for mode in self.plan.modes
            for fraction in dict.fromkeys(given.fractions)
            for seed in self._seeds(start)
        ]  # fmt: skip

    def _seeds(self, start: Start) -> range:
        """The seeds of the classifiers that start there: all, or where weights were drawn, every n-th."""
        if start.seed is None:
            return range(self.plan.given.seeds)
        drawn = self.plan.pretrain_seeds if start.pretraining else self.plan.given.seeds
        return range(start.seed, self.plan.given.seeds, drawn)

    def _given(self) -> Iterator[Start]:
        for name, options in self.plan.starts.items():
            for encoder in options.encoders:
                backbone = self.plan.encoders[encoder]
                kind = hash_of(hashed_settings(backbone))
                if options.init == "random":
                    for seed in range(self.plan.given.seeds):
                        yield Start(hash_of(["random", kind, seed]), name, encoder, backbone, "random", seed)
                    continue
                weights = options.init if options.init == "imagenet" else hash_file(encoder_file(options.init))
                yield Start(hash_of([weights, kind]), name, encoder, backbone, options.init, None)

    def _pretrained(self) -> Iterator[Start]:
        pools = {"": (), **{pool: options.methods for pool, options in self.plan.pools.items()}}
        for pool, only in pools.items():
            for method, entry in self.plan.methods.items():
                if only and method not in only:
                    continue
                for encoder, config in entry.configs.items():
                    for seed in range(self.plan.pretrain_seeds):
                        made = self._pretraining(method, encoder, pool, seed, config)
                        name = NAMES.get(method, method)
                        yield Start(made.run, name, encoder, self.plan.encoders[encoder], "", seed, made)

    def _pretraining(self, method: str, encoder: str, pool: str, seed: int, config: PretrainConfig) -> Pretraining:
        config = dataclasses.replace(config, seed=seed, knn_store=self.labelled.path)
        if pool:
            options = self.plan.pools[pool]
            part = PoolConfig(options.patients, options.scans, options.frames, options.frame_skip, seed)
            config = dataclasses.replace(config, pool=part, patients_per_batch=options.patients_per_batch)
            # An epoch of a small pool is a step or two: it is looked at at its start and its end.
            config = dataclasses.replace(config, valid_every=config.max_steps or config.epochs)
        named = dataclasses.replace(config, init=Path(config.init).name)
        run = run_hash("pretrain", named, self._fingerprints(config.init), config.other_methods)
        return Pretraining(run, method, encoder, pool, config)

    def _fingerprints(self, init: str) -> Mapping[str, str]:
        if init not in self._known_fingerprints:
            self._known_fingerprints[init] = fingerprints(self.unlabelled, init)
        return self._known_fingerprints[init]

    @cached_property
    def _known_fingerprints(self) -> dict[str, dict[str, str]]:
        return {}


def chosen(runs: Sequence[Downstream], only: Sequence[str]) -> list[Downstream]:
    """The runs that `--only` names.

    Args:
        runs: all of them.
        only: COLUMN=VALUE[,VALUE]; several columns narrow the choice.

    Raises:
        UserError: no such column, or a value that no run has.
    """
    for word in only:
        column, _, values = word.partition("=")
        if column not in COLUMNS:
            known = f"columns are {', '.join(COLUMNS)}"
            raise UserError(f"--only {word}: there is no column {column}{nearest(column, COLUMNS) or ';'} {known}")
        present = {_as_text(run.columns[column]): run.columns[column] for run in runs}
        asked = [value.strip() for value in values.split(",")]
        for value in asked:
            if _number(value) not in {_number(text) for text in present}:
                raise UserError(f"--only {word}: no run has {column} {value}{nearest(value, present)}")
        wanted = {_number(value) for value in asked}
        runs = [run for run in runs if _number(_as_text(run.columns[column])) in wanted]
    return list(runs)


def _without_grid(config: ClassifyConfig) -> ClassifyConfig:
    """A mode's options without what the grid varies."""
    return dataclasses.replace(config, init="", fractions=(1.0,), seeds=1)


def _as_text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _number(text: str) -> str:
    """0.10 and 0.1 are the same."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text
