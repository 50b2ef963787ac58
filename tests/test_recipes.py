"""Recipes: each method's settings in the study and in its own paper, and which layer wins."""

from __future__ import annotations

from typing import get_args

import pytest

from sonolearn import cli
from sonolearn.config import Method, PretrainConfig, Recipe
from sonolearn.console import UserError
from sonolearn.recipes import PAPER, STUDY, layer, layer_asked_for, recipe
from sonolearn.runs import plain
from sonolearn.words import flat

METHODS = get_args(Method)
CONTRASTIVE = ("simclr", "moco", "byol")

# The table of the study (shared facts, arXiv 2407.21738), written down again from its text.
OF_THE_STUDY = {
    "autoencoder": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-6, "schedule": "step", "decay": 0.5624},
    "inpainting": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-6, "schedule": "step", "decay_epochs": 50},
    "simclr": {"name": "lars", "lr": 0.3, "lr_batch": None, "weight_decay": 1e-4, "schedule": "cosine"},
    "moco": {"name": "sgd", "lr": 0.03, "lr_batch": None, "momentum": 0.9, "weight_decay": 1e-4},
    "byol": {"name": "lars", "lr": 0.2, "lr_batch": None, "weight_decay": 1.5e-6, "schedule": "cosine"},
    "barlow_twins": {
        "name": "lars", "lr": 0.2, "lr_biases": 0.0048, "lr_batch": 256, "weight_decay": 1e-6, "warmup_epochs": 10,
        "final_lr": 0.001, "momentum": 0.9,
    },
    "vicreg": {"name": "lars", "lr": 0.2, "lr_batch": 256, "weight_decay": 1e-6, "warmup_epochs": 10},
}  # fmt: skip
HEADS_OF_THE_STUDY = {
    "simclr": {"projector": (512, 128), "temperature": 0.5},
    "moco": {"projector": (2048, 128), "temperature": 0.5, "queue": 4096, "momentum": 0.996, "final_momentum": 1.0},
    "byol": {"projector": (1024, 256), "predictor": (1024, 256), "momentum": 0.996, "final_momentum": 1.0},
    "barlow_twins": {"projector": (8192,) * 3, "redundancy": 0.0051},
    "vicreg": {"projector": (8192,) * 3, "invariance": 25, "variance": 25, "covariance": 1},
}


@pytest.mark.parametrize("method", METHODS)
def test_the_studys_optimiser_and_head(method: Method) -> None:
    config = recipe(method, "study")
    assert {name: getattr(config.optimizer, name) for name in OF_THE_STUDY[method]} == OF_THE_STUDY[method]
    for name, value in HEADS_OF_THE_STUDY.get(method, {}).items():
        assert getattr(getattr(config, method), name) == value


@pytest.mark.parametrize("method", METHODS)
def test_the_studys_views(method: Method) -> None:
    views = recipe(method, "study").views
    if method in CONTRASTIVE:
        assert (views.brightness, views.contrast, views.jitter, views.blur) == (0.8, 0.8, 0.8, (0.5, 0.5))
        assert views.solarize == (0, 0)
    elif method in ("barlow_twins", "vicreg"):
        assert (views.brightness, views.contrast, views.jitter, views.blur) == (0.4, 0.4, 0.8, (1.0, 0.1))
        assert (views.blur_sigma, views.solarize) == ((0.1, 2.0), (0.0, 0.2))
    else:
        assert views.randaugment == {"autoencoder": (3, 3), "inpainting": (1, 1)}[method]
        assert (views.crop_scale, views.flip, views.flip_vertical) == ((1, 1), 0.5, 0.5)
        assert (views.jitter, views.blur) == (0, (0, 0))


def test_batch_and_start_of_the_study_count_only_where_it_is_named() -> None:
    assert (recipe("vicreg", None).batch_size, recipe("vicreg", "study").batch_size) == (256, 2048)
    assert (recipe("moco", None).init, recipe("moco", "study").init) == ("random", "imagenet")


@pytest.mark.parametrize("method", ["autoencoder", "inpainting"])
def test_a_method_without_a_paper_says_so(method: Method) -> None:
    with pytest.raises(UserError, match=f"--recipe paper: {method} has no paper of its own; take --recipe study"):
        recipe(method, "paper")


@pytest.mark.parametrize(("name", "methods"), [("study", STUDY), ("paper", PAPER)])
def test_every_recipe_is_a_valid_configuration_of_known_options(name: Recipe, methods: dict) -> None:
    known = set(flat(plain(PretrainConfig())))
    for method in methods:
        assert set(flat(layer(method, name))) <= known
        assert recipe(method, name).recipe == name


def test_changes_go_over_the_recipe_group_by_group() -> None:
    config = recipe("byol", None, optimizer={"lr": 9}, views={"name": "ultrasound", "rotation": 5}, seed=3)
    assert (config.optimizer.lr, config.optimizer.weight_decay, config.seed) == (9, 1.5e-6, 3)
    assert (config.views.name, config.views.rotation, config.views.speckle) == ("ultrasound", 5, 0.5)
    assert config.views.solarize == (0, 0)


def asked(words: str, **from_files: object) -> dict:
    return flat(layer_asked_for(words.split(), from_files))


def test_the_command_line_asks_for_a_recipe_and_wins_over_files() -> None:
    assert asked("")["optimizer.lr_biases"] == 0.0048
    assert asked("--method simclr")["optimizer.lr"] == 0.3
    assert asked("--method=simclr --recipe=paper")["simclr.temperature"] == 0.1
    assert asked("", method="byol", recipe="paper")["byol.projector"] == (4096, 256)
    assert asked("--method simclr", method="byol")["method"] == "simclr"
    assert asked("--views.name=ultrasound")["views.shadow"] == 0.3
    assert asked("", views={"name": "ultrasound"})["views.shadow"] == 0.3
    assert asked("--recipe paper --views.name study --method moco")["views.brightness"] == 0.8


def test_what_is_misspelt_is_left_for_the_parser() -> None:
    assert asked("--method byoll") == {}
    assert asked("--recipe papr") == {}
    assert asked("--views.name sound") == {}


def test_python_and_the_command_line_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[PretrainConfig] = []
    command = cli.COMMANDS["pretrain"]
    spy = type(command)(command.function, command.config, command.positional, command.count, command.layer)
    monkeypatch.setattr("sonolearn.ssl.pretrain.pretrain", lambda stores, out, config: called.append(config))
    monkeypatch.setitem(cli.COMMANDS, "pretrain", spy)
    for method in METHODS:
        cli.main(f"pretrain s --out o --method {method} --views ultrasound --positives.seconds 0.2".split())
        expected = recipe(method, None, views={"name": "ultrasound"}, positives={"seconds": 0.2})
        assert called.pop() == expected
