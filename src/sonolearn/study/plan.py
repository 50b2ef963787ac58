"""A study's plan: a YAML file, read and checked before anything is run.

Methods x encoders x pools of SSL data, other initialisations, modes, label fractions and seeds; `sonolearn.study.grid`
makes the runs of it. Shipped plans are named without a path: demo, cpu, study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from sonolearn.command import nearest
from sonolearn.config import ClassifyConfig, EncoderConfig, Method, PhantomConfig, PrepareConfig, PretrainConfig
from sonolearn.config.study import MODES, PoolPlan, StartPlan, StudyData, StudyDataConfig, StudyPlan
from sonolearn.console import UserError
from sonolearn.options import load_yaml, read_options
from sonolearn.recipes import classify_layer_asked_for, layer_asked_for

Options = dict[str, Any]

METHODS: tuple[str, ...] = get_args(Method)

# What the grid itself sets: these may not be given as options of a training.
SET_BY_GRID = {
    "pretrain": ("encoder", "encoder_args", "small_stem", "image_size", "seed", "pool", "patients_per_batch"),
    "classify": ("encoder", "encoder_args", "small_stem", "init", "image_size", "mode", "fractions", "seeds", "name"),
}


@dataclass(frozen=True)
class MethodPlan:
    """An entry of `methods`.

    Attributes:
        configs: configuration of the pre-training by name of the plan's encoder; seed and pool are the grid's.
    """

    configs: dict[str, PretrainConfig]


@dataclass(frozen=True)
class Plan:
    """A plan whose every part was checked.

    Attributes:
        name: of the file.
        given: the file's content.
        data: stores, or a phantom.
        phantom: the phantom to make where no stores are given, and how it is prepared.
        encoders: backbones by name.
        methods: pre-trainings by name.
        pools: further SSL data by name.
        starts: other initialisations by name.
        modes: classification options by mode; initialisation, fractions and seeds are the grid's.
    """

    name: str
    given: StudyPlan
    data: StudyData
    phantom: tuple[PhantomConfig, PrepareConfig] | None
    encoders: dict[str, EncoderConfig]
    methods: dict[str, MethodPlan]
    pools: dict[str, PoolPlan]
    starts: dict[str, StartPlan]
    modes: dict[str, ClassifyConfig]

    @property
    def pretrain_seeds(self) -> int:
        """Pre-trainings of each method and pool."""
        return min(self.given.pretrain_seeds or self.given.seeds, self.given.seeds)


def shipped() -> dict[str, Path]:
    """The plans that come with the package, by name."""
    folder = Path(str(files("sonolearn.study") / "plans"))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def read_plan(path: Path, here: StudyDataConfig | None = None) -> Plan:
    """Read and check a plan.

    Args:
        path: a YAML file, or the name of a shipped plan.
        here: where data and weights lie on this machine.

    Raises:
        UserError: no such file, no YAML, an option that does not exist (the nearest is named), a value without sense.
    """
    file = _find(path)
    given: StudyPlan = read_options(StudyPlan, _read_yaml(file), file.name)
    data = _data(file, given, here or StudyDataConfig())
    starts = _starts(file, given, here or StudyDataConfig())
    plan = Plan(
        file.stem,
        given,
        data,
        _phantom(file, data),
        {name: read_options(EncoderConfig, o, f"{file.name}, encoders.{name}") for name, o in given.encoders.items()},
        {name: _method(file, given, name, options, starts) for name, options in given.methods.items()},
        {name: read_options(PoolPlan, o, f"{file.name}, pools.{name}") for name, o in given.pools.items()},
        starts,
        {name: _mode(file, given, name, options) for name, options in given.modes.items()},
    )
    _check_names(file, plan)
    return plan


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    plans = shipped()
    if str(path) in plans:
        return plans[str(path)]
    known = f"shipped plans are {', '.join(plans)}"
    raise UserError(f"{path}: no such plan{nearest(str(path), plans) or ';'} {known}; give one of them or a YAML file")


def _read_yaml(file: Path) -> Options:
    found = load_yaml(file, str(file), "the shipped plans show how a plan looks")
    groups = ("data", "encoders", "pretrain", "methods", "pools", "initialisations", "classify", "modes")
    found = {key: {} if value is None and key in groups else value for key, value in found.items()}
    for group in ("encoders", "methods", "pools", "initialisations", "modes"):
        entries = found.get(group)
        if isinstance(entries, dict):
            found[group] = {str(name): {} if options is None else options for name, options in entries.items()}
            for name, options in found[group].items():
                if not isinstance(options, dict):
                    raise UserError(f"{file.name}, {group}.{name}: is no `option: value`; give its options, or nothing")
    return found


def _data(file: Path, given: StudyPlan, here: StudyDataConfig) -> StudyData:
    data: StudyData = read_options(StudyData, given.data, f"{file.name}, data")
    labelled = here.labelled or (data.labelled and file.parent / data.labelled)
    unlabelled = tuple(Path(p) for p in here.unlabelled) or tuple(file.parent / path for path in data.unlabelled)
    if labelled is None and not data.phantom:
        raise UserError(f"{file.name}: names no labelled store; give --labelled STORE, or data.labelled in the plan")
    if labelled is not None and given.methods and not unlabelled and not data.labelled_frames:
        raise UserError(f"{file.name}: names nothing to pre-train on; give --unlabelled STORE, or data.unlabelled")
    return dataclasses.replace(data, labelled=labelled, unlabelled=unlabelled)


def _phantom(file: Path, data: StudyData) -> tuple[PhantomConfig, PrepareConfig] | None:
    if data.labelled is not None:
        return None
    phantom = read_options(PhantomConfig, data.phantom, f"{file.name}, data.phantom")
    return phantom, read_options(PrepareConfig, data.prepare, f"{file.name}, data.prepare")


def _method(file: Path, given: StudyPlan, name: str, options: Options, starts: Mapping[str, StartPlan]) -> MethodPlan:
    where = f"{file.name}, methods.{name}"
    own = dict(options)
    encoders = _encoders(where, given, own)
    method = str(own.pop("method", name))
    if method not in METHODS:
        near = nearest(method, METHODS)
        raise UserError(f"{where}: there is no method {method}{near or ';'} methods are {', '.join(METHODS)}")
    merged = _merged(_merged(given.pretrain, own), {"method": method})
    _refuse_set_by_grid(where, merged, "pretrain")
    configs = {encoder: _pretrain(where, given, encoder, merged) for encoder in encoders}
    return MethodPlan({e: dataclasses.replace(c, init=_init(file, c.init, e, starts)) for e, c in configs.items()})


def _pretrain(where: str, given: StudyPlan, encoder: str, merged: Options) -> PretrainConfig:
    options = {**merged, **given.encoders[encoder], "image_size": given.image_size}
    config: PretrainConfig = read_options(PretrainConfig, options, where, layer_asked_for([], options))
    return config


def _init(file: Path, init: str, encoder: str, starts: Mapping[str, StartPlan]) -> str:
    """What a pre-training starts from: `init` may name an initialisation of the plan, whose file --weights may give.

    imagenet, which recipes name, means the plan's initialisation ImageNet where it has one for this encoder.
    """
    start = starts.get("ImageNet" if init == "imagenet" else init)
    if start and encoder in start.encoders:
        return start.init
    return init if init in ("random", "imagenet") else str(file.parent / init)


def _encoders(where: str, given: StudyPlan, options: Options) -> tuple[str, ...]:
    """Take the names of the encoders that an entry is for out of its options."""
    names = options.pop("encoders", None) or list(given.encoders)
    if not isinstance(names, list):
        raise UserError(
            f"{where}: encoders {names}: give a list of the plan's encoders, such as [{next(iter(given.encoders))}]"
        )
    for name in map(str, names):
        if name not in given.encoders:
            raise UserError(f"{where}: the plan has no encoder {name}{nearest(name, given.encoders)}")
    return tuple(map(str, names))


def _starts(file: Path, given: StudyPlan, here: StudyDataConfig) -> dict[str, StartPlan]:
    found = {}
    weights = dict(word.split("=", 1) for word in here.weights)
    for name in weights:
        if name not in given.initialisations:
            near = nearest(name, given.initialisations)
            raise UserError(f"--weights {name}: {file.name} has no such initialisation{near}")
    for name, options in given.initialisations.items():
        where = f"{file.name}, initialisations.{name}"
        own = dict(options)
        encoders = _encoders(where, given, own)
        start: StartPlan = read_options(
            StartPlan, {"init": "imagenet" if name == "ImageNet" else "random", **own}, where
        )
        init = start.init if start.init in ("random", "imagenet") else str(file.parent / start.init)
        found[name] = StartPlan(weights.get(name, init), encoders)
    return found


def _mode(file: Path, given: StudyPlan, name: str, options: Options) -> ClassifyConfig:
    where = f"{file.name}, modes.{name}"
    if name not in MODES:
        raise UserError(f"{file.name}: there is no mode {name}{nearest(name, MODES)}; modes are {', '.join(MODES)}")
    merged = _merged(given.classify, options)
    _refuse_set_by_grid(where, merged, "classify")
    if "unlabelled" in merged:
        raise UserError(f"{where}: a study learns from its own data alone; leave unlabelled out")
    layer = classify_layer_asked_for([], merged)
    config: ClassifyConfig = read_options(ClassifyConfig, {**merged, "image_size": given.image_size}, where, layer)
    return dataclasses.replace(config, mode=name)  # type: ignore[arg-type]  # checked above


def _check_names(file: Path, plan: Plan) -> None:
    """Refuse names that mean two things, and pools of methods that the plan has not."""
    for name in plan.methods:
        if name in plan.starts:
            raise UserError(f"{file.name}: {name} is a method and an initialisation; rename one")
    for pool, options in plan.pools.items():
        for method in options.methods:
            if method not in plan.methods:
                near = nearest(method, plan.methods)
                raise UserError(f"{file.name}, pools.{pool}: the plan has no method {method}{near}")
    if not plan.methods and not plan.starts:
        raise UserError(f"{file.name}: names neither methods nor initialisations; give at least one")


def _refuse_set_by_grid(where: str, options: Mapping[str, Any], command: str) -> None:
    for name in SET_BY_GRID[command]:
        if name in options:
            raise UserError(f"{where}: {name} is set by the plan itself (encoders, seeds, fractions ...); leave it out")


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Options:
    """Nested options, those of `second` over those of `first`."""
    merged = dict(first)
    for name, value in second.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged
