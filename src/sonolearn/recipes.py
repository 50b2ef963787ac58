"""Settings of every SSL method side by side: to adapt ImageNet weights, those of the study, those of its own paper.

Sources. `adapt`, the default, was chosen by the search in docs/results/search.md. `study` is the table of Benjamin et
al. (ASMUS 2023, arXiv 2407.21738); what it leaves open is the paper's. `paper` is each method's own paper, named at its
recipe. A recipe is only a layer of defaults: options on the command line and in YAML files go over it. The head's and
the loss's settings of the study are the defaults of `sonolearn.config.ssl` and are not repeated here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from sonolearn.config import (
    ClassifyConfig,
    ClassifyRecipe,
    Method,
    OptimizerConfig,
    PretrainConfig,
    Recipe,
    ViewsConfig,
)
from sonolearn.config.classify import GENTLE_VIEWS
from sonolearn.console import UserError

Options = dict[str, Any]
"""Options of `pretrain`, nested as in a YAML file."""

# The study's batch sizes and ImageNet start count only where its recipe is asked for by name, not where --recipe null
# takes its other settings: most GPUs cannot hold 2048 pairs of frames.
ONLY_BY_NAME = ("batch_size", "epochs", "init")

# Both views alike, strong jitter (SimCLR's s = 1): study, and SimCLR's appendix A.
CONTRASTIVE_VIEWS = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "blur": (0.5, 0.5), "solarize": (0.0, 0.0)}
# The first view blurred, the second sometimes solarised: BYOL's appendix B, taken up by Barlow Twins and VICReg.
INFORMATION_VIEWS = {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "blur": (1.0, 0.1), "solarize": (0.0, 0.2)}
# The whole frame, resized.
RECONSTRUCTION_VIEWS = {
    "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip_vertical": 0.5, "jitter": 0.0, "blur": (0.0, 0.0),
    "solarize": (0.0, 0.0),
}  # fmt: skip
# What differs between machines, settings and patients in ultrasound; the physics is told in sonolearn.ssl.views.
ULTRASOUND_VIEWS = {
    "crop_scale": (0.5, 1.0), "crop_ratio": (0.9, 1.1), "rotation": 15.0, "jitter": 0.0, "blur": (0.3, 0.3),
    "solarize": (0.0, 0.0), "attenuation": 0.5, "gain": 0.8, "speckle": 0.5, "haze": 0.3, "shadow": 0.3,
}  # fmt: skip

STEPS_DOWN = {"name": "adamw", "lr": 1e-3, "lr_batch": None, "weight_decay": 1e-6, "schedule": "step"}

STUDY: dict[Method, Options] = {
    "autoencoder": {
        "batch_size": 256,
        "views": {**RECONSTRUCTION_VIEWS, "randaugment": (3, 3)},
        "optimizer": STEPS_DOWN,
    },
    "inpainting": {
        "batch_size": 256,
        "views": {**RECONSTRUCTION_VIEWS, "randaugment": (1, 1)},
        "optimizer": STEPS_DOWN,
    },
    "simclr": {
        "batch_size": 256,
        "views": CONTRASTIVE_VIEWS,
        "optimizer": {"name": "lars", "lr": 0.3, "lr_batch": None, "weight_decay": 1e-4},
    },
    "moco": {
        "batch_size": 256,
        "init": "imagenet",
        "views": CONTRASTIVE_VIEWS,
        "optimizer": {"name": "sgd", "lr": 0.03, "lr_batch": None, "weight_decay": 1e-4},
    },
    "byol": {
        "batch_size": 256,
        "views": CONTRASTIVE_VIEWS,
        "optimizer": {"name": "lars", "lr": 0.2, "lr_batch": None, "weight_decay": 1.5e-6},
    },
    "barlow_twins": {
        "batch_size": 2048,
        "views": INFORMATION_VIEWS,
        "optimizer": {
            "name": "lars", "lr": 0.2, "lr_biases": 0.0048, "weight_decay": 1e-6, "warmup_epochs": 10,
            "final_lr": 0.001,
        },
    },
    "vicreg": {
        "batch_size": 2048,
        "views": INFORMATION_VIEWS,
        "optimizer": {"name": "lars", "lr": 0.2, "weight_decay": 1e-6, "warmup_epochs": 10, "final_lr": 0.001},
    },
}  # fmt: skip

PAPER: dict[Method, Options] = {
    # Chen et al., ICML 2020, sections 2.2 and 5, appendix B.
    "simclr": {
        "batch_size": 4096,
        "epochs": 100,
        "views": CONTRASTIVE_VIEWS,
        "optimizer": {"name": "lars", "lr": 0.3, "weight_decay": 1e-6, "warmup_epochs": 10},
        "simclr": {"projector": (2048, 128), "temperature": 0.1},
    },
    # Chen et al., arXiv 2003.04297 (MoCo v2); momentum and queue from He et al., CVPR 2020, section 4.
    "moco": {
        "batch_size": 256,
        "epochs": 200,
        "views": {**CONTRASTIVE_VIEWS, "crop_scale": (0.2, 1.0), "brightness": 0.4, "contrast": 0.4},
        "optimizer": {"name": "sgd", "lr": 0.03, "weight_decay": 1e-4},
        "moco": {"temperature": 0.2, "queue": 65536, "momentum": 0.999, "final_momentum": 0.999},
    },
    # Grill et al., NeurIPS 2020, section 3.3 and appendix B.
    "byol": {
        "batch_size": 4096,
        "epochs": 1000,
        "views": INFORMATION_VIEWS,
        "optimizer": {"name": "lars", "lr": 0.2, "weight_decay": 1.5e-6, "warmup_epochs": 10},
        "byol": {"projector": (4096, 256), "predictor": (4096, 256)},
    },
    # Zbontar et al., ICML 2021, section 2.2.
    "barlow_twins": {
        **STUDY["barlow_twins"],
        "epochs": 1000,
        "optimizer": {**STUDY["barlow_twins"]["optimizer"], "weight_decay": 1.5e-6},
    },
    # Bardes et al., ICLR 2022, section 4.2: the rate ends at 0.002, 1/800 of 1.6.
    "vicreg": {
        **STUDY["vicreg"],
        "epochs": 1000,
        "optimizer": {**STUDY["vicreg"]["optimizer"], "final_lr": 0.00125},
    },
}

# Continue from ImageNet weights for a few hundred steps: minutes on a GPU, half an hour on two CPU cores.
SHORT = {
    "init": "imagenet",
    "image_size": 112,
    "batch_size": 64,
    "epochs": 10_000,
    "max_steps": 400,
    "valid_every": 5,
    "views": ULTRASOUND_VIEWS,
    "optimizer": {"name": "adamw", "lr": 3e-4, "lr_batch": 64, "weight_decay": 1e-4, "warmup_steps": 40},
}  # fmt: skip

ADAPT: dict[Method, Options] = {
    "autoencoder": {**SHORT, "views": STUDY["autoencoder"]["views"]},
    "inpainting": {**SHORT, "views": STUDY["inpainting"]["views"]},
    "simclr": {**SHORT, "simclr": {"temperature": 0.2}},
    # Queue and momentum for hundreds of steps, not for hundreds of thousands.
    "moco": {**SHORT, "moco": {"queue": 1024, "temperature": 0.2, "momentum": 0.98, "projector_norm": True}},
    "byol": {**SHORT, "byol": {"momentum": 0.98}},
    "barlow_twins": {**SHORT, "barlow_twins": {"projector": (1024, 1024)}},
    "vicreg": {**SHORT, "vicreg": {"projector": (1024, 1024)}},
}

RECIPES: dict[Recipe, dict[Method, Options]] = {"adapt": ADAPT, "study": STUDY, "paper": PAPER}

# The study's protocol of classification: Benjamin et al., section "Downstream protocol".
CLASSIFY_STUDY: Options = {
    "recipe": "study", "valid": "whole", "solver": "adamw", "spread_labels": "never", "standardise": "each",
    "head": "random", "epochs": 100, "min_steps": 0, "batch_size": 128, "lr": 1e-3, "schedule": "constant",
    "layer_decay": 1.0, "weight_decay": 1e-6, "dropout": 0.5,
}  # fmt: skip
CLASSIFY_VIEWS: dict[str, Options] = {
    "gentle": GENTLE_VIEWS,
    "study": {**RECONSTRUCTION_VIEWS, "flip": 0.5, "randaugment": (5, 5)},
    "ultrasound": ULTRASOUND_VIEWS,
}


def recipe(method: Method = "simclr", name: Recipe | None = "adapt", **changes: Any) -> PretrainConfig:
    """The configuration of a method, with its recipe's views, optimiser and head.

    Args:
        method: SSL method.
        name: adapt, study, paper, or None for the study's at a batch of 256 and from random weights.
        changes: any fields of `PretrainConfig`; a dict changes some fields of a group, such as
            `optimizer={"lr": 0.1}` or `views={"name": "ultrasound", "rotation": 5}`.

    Returns:
        The options of `pretrain`.

    Raises:
        UserError: the method has no such recipe, or a value makes no sense.
    """
    config: PretrainConfig = _changed(_changed(PretrainConfig(), layer(method, name, _preset(changes))), changes)
    return config


def classify_recipe(name: ClassifyRecipe = "adapt", /, **changes: Any) -> ClassifyConfig:
    """The configuration of `classify` by a recipe, some fields changed as in `recipe`.

    >>> classify_recipe("study", mode="linear").solver
    'adamw'
    """
    config: ClassifyConfig = _changed(_changed(ClassifyConfig(), classify_layer(name, _preset(changes))), changes)
    return config


def classify_layer(name: ClassifyRecipe = "adapt", views: str | None = None) -> Options:
    """A recipe of `classify` as options, with the preset of views that is asked for, or the recipe's own."""
    preset = views or ("study" if name == "study" else "gentle")
    own = {**dataclasses.asdict(ViewsConfig()), **CLASSIFY_VIEWS[preset], "name": preset}
    return {**(CLASSIFY_STUDY if name == "study" else {}), "views": own}


def classify_layer_asked_for(words: Sequence[str], from_files: Mapping[str, Any]) -> Options:
    """The recipe of `classify` that a command line and YAML files ask for; the parser refuses what is misspelt."""
    name = _last(words, "--recipe", from_files.get("recipe", "adapt"))
    views = _last(words, "--views.name", _preset(from_files))
    known = name in typing.get_args(ClassifyRecipe) and views in (None, *CLASSIFY_VIEWS)
    return classify_layer(name, views) if known else {}


def layer(method: Method, name: Recipe | None = "adapt", views: str | None = None) -> Options:
    """The recipe of a method as options, with the preset of views that is asked for, or the recipe's own."""
    chosen = _recipe(method, name or "study")
    options = {key: value for key, value in chosen.items() if name or key not in ONLY_BY_NAME}
    options["views"], preset = _views(method, name, views)
    # Whole groups, so that nothing of another method's recipe shows through.
    options["views"] = {**dataclasses.asdict(ViewsConfig()), **options["views"], "name": preset}
    options["optimizer"] = {**dataclasses.asdict(OptimizerConfig()), **options["optimizer"]}
    return {"method": method, "recipe": name, **options}


def _views(method: Method, name: Recipe | None, asked: str | None) -> tuple[Options, str]:
    """Views of a preset, and the preset's name."""
    shared = {"ultrasound": ULTRASOUND_VIEWS, "gentle": GENTLE_VIEWS}
    if asked in shared:
        return shared[asked], asked
    if asked is None and name == "adapt":
        own = _recipe(method, name)["views"]
        return own, "ultrasound" if own is ULTRASOUND_VIEWS else "study"
    preset = typing.cast(Recipe, asked or name or "study")
    return _recipe(method, preset)["views"], preset


def layer_asked_for(words: Sequence[str], from_files: Mapping[str, Any]) -> Options:
    """The recipe that a command line and YAML files ask for; what they misspell is left for the parser to refuse."""
    method = _last(words, "--method", from_files.get("method", "simclr"))
    name = _last(words, "--recipe", from_files.get("recipe", "adapt"))
    views = _last(words, "--views.name", _preset(from_files))
    known = (
        isinstance(method, str)
        and method in STUDY
        and name in (None, "null", *RECIPES)
        and views in (None, "ultrasound", "gentle", "study", "paper")
    )
    return layer(method, None if name == "null" else name, views) if known else {}


def _recipe(method: Method, name: Recipe) -> Options:
    recipes = RECIPES.get(name, STUDY)
    if method not in recipes:
        raise UserError(f"--recipe {name}: {method} has no paper of its own; take --recipe study")
    return recipes[method]


def _preset(options: Mapping[str, Any]) -> Any:
    """The preset of views that options name: `views: {name: ultrasound}`, or in a plan `views: ultrasound`."""
    views = options.get("views")
    return views.get("name") if isinstance(views, Mapping) else views if isinstance(views, str) else None


def _last(words: Sequence[str], option: str, otherwise: Any) -> Any:
    """The value that `words` give an option last."""
    found = otherwise
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _changed(config: Any, changes: Options) -> Any:
    """A config dataclass with some fields changed; those of a nested one by a dict."""
    values = {
        name: _changed(getattr(config, name), value)
        if isinstance(value, dict) and dataclasses.is_dataclass(getattr(config, name))
        else value
        for name, value in changes.items()
    }
    return dataclasses.replace(config, **values)
