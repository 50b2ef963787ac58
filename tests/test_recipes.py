"""Recipes: each method's settings in the study and in its own paper, and which layer wins."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest

from sonolearn import cli
from sonolearn.command import flat
from sonolearn.config import ClassifyConfig, Method, PretrainConfig, Recipe
from sonolearn.console import UserError
from sonolearn.recipes import (
    ADAPT,
    PAPER,
    STUDY,
    classify_layer_asked_for,
    classify_recipe,
    layer,
    layer_asked_for,
    recipe,
)
from sonolearn.runs import plain

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


@pytest.mark.parametrize("method", METHODS)
def test_the_default_continues_from_imagenet_weights_for_some_hundred_steps(method: Method) -> None:
    config = recipe(method)
    assert config == recipe(method, "adapt")
    assert (config.recipe, config.init) == ("adapt", "imagenet")
    assert config.max_steps is not None
    assert config.max_steps <= 1000
    # Stores differ in size: what ends the run, and its warm-up, is told in steps.
    assert config.epochs >= config.max_steps
    assert config.optimizer.warmup_steps is not None
    assert config.optimizer.warmup_steps < config.max_steps / 4
    # Heads of thousands of features are for batches of thousands.
    assert max(getattr(getattr(config, method), "projector", (0,))) <= 2048


@pytest.mark.parametrize(("name", "methods"), [("adapt", ADAPT), ("study", STUDY), ("paper", PAPER)])
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
    assert (asked("")["recipe"], asked("")["method"]) == ("adapt", recipe().method)
    assert asked("--recipe null --method barlow_twins")["optimizer.lr_biases"] == 0.0048
    assert asked("--recipe study --method simclr")["optimizer.lr"] == 0.3
    assert asked("--recipe study", recipe="paper", method="simclr")["optimizer.weight_decay"] == 1e-4
    assert asked("--method=simclr --recipe=paper")["simclr.temperature"] == 0.1
    assert asked("", method="byol", recipe="paper")["byol.projector"] == (4096, 256)
    assert asked("--method simclr", method="byol")["method"] == "simclr"
    assert asked("--views.name=ultrasound")["views.shadow"] == 0.3
    assert asked("", views={"name": "ultrasound"})["views.shadow"] == 0.3
    assert asked("--recipe paper --views.name study --method moco")["views.brightness"] == 0.8
    assert asked("", views="ultrasound")["views.shadow"] == 0.3  # as a plan may write it
    assert asked("--recipe null", views="ultrasound")["views.shadow"] == 0.3


def test_what_is_misspelt_is_left_for_the_parser() -> None:
    assert asked("--method byoll") == {}
    assert asked("--recipe papr") == {}
    assert asked("--views.name sound") == {}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that the commands are called with."""
    called: list[Any] = []
    monkeypatch.setattr("sonolearn.ssl.pretrain.pretrain", lambda stores, out, config: called.append(config))
    monkeypatch.setattr("sonolearn.planes.classify.classify", lambda store, out, config: called.append(config))
    return called


@pytest.mark.parametrize("name", ["adapt", "study", None])
@pytest.mark.parametrize("method", METHODS)
def test_python_and_the_command_line_agree(method: Method, name: Recipe | None, called: list[Any]) -> None:
    words = f"pretrain s --out o --method {method} --recipe {name or 'null'} --positives.seconds 0.2"
    cli.main(words.split())
    assert called.pop() == recipe(method, name, positives={"seconds": 0.2})
    cli.main(f"{words} --views ultrasound".split())
    assert called.pop() == recipe(method, name, positives={"seconds": 0.2}, views={"name": "ultrasound"})


def test_pretrain_without_a_recipe_adapts_and_so_does_python(called: list[Any]) -> None:
    cli.main(["pretrain", "s", "--out", "o"])
    assert called.pop() == recipe()
    cli.main(["pretrain", "s", "--out", "o", "--init", "random"])
    assert called.pop() == recipe(init="random")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("pretrain s --out o --recipe adept", "--recipe adept: give adapt, study or paper, or null"),
        ("classify s --out o --recipe paper", "--recipe paper: give adapt or study"),
        ("classify s --out o --views paper", "--views paper: papers of SSL methods say nothing of fine-tuning"),
    ],
)
def test_a_recipe_that_does_not_exist_is_refused(
    line: str, answer: str, called: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    assert stop.value.code == 2
    assert answer in capsys.readouterr().err
    assert called == []


# "Downstream protocol" of the study (shared facts, arXiv 2407.21738), option by option, written down from its text.
PROTOCOL = {
    # "Label fractions 1, 5, 10, 25, 50, 100 % ... validation and test sets are always whole"; that epoch "with the best
    # validation balanced accuracy is tested".
    "fractions": (0.01, 0.05, 0.1, 0.25, 0.5, 1.0), "valid": "whole",
    # "RandAugment(5, 5), horizontal and vertical flips", and nothing else.
    "views.randaugment": (5, 5), "views.flip": 0.5, "views.flip_vertical": 0.5, "views.crop_scale": (1.0, 1.0),
    "views.crop_ratio": (1.0, 1.0), "views.rotation": 0.0, "views.jitter": 0.0, "views.blur": (0.0, 0.0),
    "views.solarize": (0.0, 0.0), "views.attenuation": 0.0, "views.gain": 0.0, "views.speckle": 0.0,
    "views.haze": 0.0, "views.shadow": 0.0,
    # "Dropout 0.5 on the features, one linear layer", of random weights; "AdamW 1e-3, wd 1e-6, batch 128, 100 epochs".
    "dropout": 0.5, "head": "random", "lr": 1e-3, "weight_decay": 1e-6, "batch_size": 128, "epochs": 100,
    # Linear evaluation: the same optimiser; "optionally a batch norm without affine between features and head".
    "solver": "adamw", "standardise": "each",
    # One rate for all weights at all times, and no step more or less than the epochs have.
    "schedule": "constant", "layer_decay": 1.0, "min_steps": 0, "max_steps": None,
}  # fmt: skip


def by_option(config: ClassifyConfig) -> dict[str, Any]:
    """Options and values; those of groups with a dot."""
    views = {f"views.{name}": value for name, value in dataclasses.asdict(config.views).items()}
    return {**{f.name: getattr(config, f.name) for f in dataclasses.fields(config)}, **views}


@pytest.mark.parametrize("mode", ["finetune", "linear"])
def test_the_study_is_one_word_away_and_it_is_its_protocol_to_the_letter(
    mode: str, called: list[Any], tmp_path: Path
) -> None:
    cli.main(f"classify s --out o --recipe study --mode {mode}".split())
    config = called.pop()
    found = by_option(config)
    assert {option: found[option] for option in PROTOCOL} == PROTOCOL
    assert config == classify_recipe("study", mode=mode)
    (tmp_path / "options.yaml").write_text(f"recipe: study\nmode: {mode}\n")
    cli.main(f"classify s --out o --config {tmp_path / 'options.yaml'}".split())
    assert called.pop() == config
    # Options go over the recipe, as everywhere.
    cli.main(f"classify s --out o --recipe study --mode {mode} --epochs 3 --views.randaugment 1 2".split())
    assert called.pop() == classify_recipe("study", mode=mode, epochs=3, views={"randaugment": (1, 2)})


def test_classify_without_a_recipe_uses_no_label_beyond_the_fraction_and_starts_from_a_logistic_head(
    called: list[Any],
) -> None:
    cli.main(["classify", "s", "--out", "o"])
    config = called.pop()
    assert config == classify_recipe() == classify_recipe("adapt") == ClassifyConfig()
    assert (config.recipe, config.valid, config.solver, config.standardise) == ("adapt", "within", "logistic", "shared")
    assert (config.head, config.views.name) == ("logistic", "gentle")


def test_views_of_classify_by_name_bring_their_numbers(called: list[Any]) -> None:
    cli.main(["classify", "s", "--out", "o", "--views", "ultrasound", "--views.rotation", "3"])
    views = called.pop().views
    assert (views.name, views.shadow, views.jitter, views.rotation) == ("ultrasound", 0.3, 0, 3)
    assert views == classify_recipe(views={"name": "ultrasound", "rotation": 3.0}).views
    assert classify_layer_asked_for([], {"views": "study"})["views"]["randaugment"] == (5, 5)
    assert classify_layer_asked_for([], {"recipe": "study", "views": {"name": "gentle"}})["views"]["jitter"] == 0.8
    assert classify_layer_asked_for(["--views.name", "sound"], {}) == {}
    assert classify_layer_asked_for(["--recipe", "stdy"], {}) == {}
