"""What the trainings of a run share is made once: images, features, linear heads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import torch

from planes.labelled_store import tiny
from sonolearn.config import ClassifyRecipe, Mode
from sonolearn.config.classify import Solver
from sonolearn.console import UserError
from sonolearn.planes import run as room
from sonolearn.planes.classify import classify
from sonolearn.planes.images import LabelledImages, check_labels, parts_used
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.results import Unit
from sonolearn.planes.run import FITS, Trainer
from sonolearn.ssl.encoders import Card, build, save_encoder
from sonolearn.store.store import Store


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    file = tmp_path / "encoder.safetensors"
    save_encoder(file, build(Card("test_resnet"), 1), Card("test_resnet", image_size=32))
    return str(file)


@pytest.mark.parametrize(("valid", "images"), [("within", 48 + 24), ("whole", 48 + 18 + 24)])
@pytest.mark.parametrize("solver", ["adamw", "logistic"])
def test_images_are_read_and_passed_through_the_encoder_once_for_all_fractions_and_seeds(
    solver: str,
    valid: str,
    images: int,
    encoder: str,
    store_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: Counter[int] = Counter()
    original = Store.read
    monkeypatch.setattr(Store, "read", lambda self, rows, **o: read.update(list(rows)) or original(self, rows, **o))
    seen: list[int] = []
    forward = torch.nn.Module.__call__

    def counting(module: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        if type(module).__name__ == "ResNet":
            seen.append(len(inputs[0]))
        return forward(module, *inputs)

    monkeypatch.setattr(torch.nn.Module, "__call__", counting)
    config = tiny(solver=solver, valid=valid, init=encoder, encoder=None, seeds=4, fractions=(0.1, 0.25, 0.5, 1.0))
    results = classify(store_path, tmp_path / "run", config)
    assert len(results) == 16
    assert sum(seen) == images
    assert set(read.values()) == {1}
    assert len(read) == images


@pytest.mark.parametrize(
    ("solver", "name", "subsets"), [("adamw", "fit_linear_heads", 2), ("logistic", "fit_logistic", 3)]
)
def test_all_linear_heads_of_an_encoder_are_fitted_in_one_call(
    solver: str,
    name: str,
    subsets: int,
    encoder: str,
    store_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: list[int] = []
    original = getattr(room, name)
    monkeypatch.setattr(room, name, lambda *a: fitted.append(len(a[subsets])) or original(*a))
    classify(store_path, tmp_path / "file", tiny(solver=solver, init=encoder, encoder=None, seeds=3))
    assert fitted == [3 * 2]
    fitted.clear()
    classify(store_path, tmp_path / "random", tiny(solver=solver, seeds=3))
    assert fitted == [2] * 3  # every seed has an encoder of its own


def test_the_error_of_a_subset_does_not_reach_the_others(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = room.fit_logistic

    def refusing(*arguments: object) -> object:
        if any(len(subset) == 48 for subset in arguments[3]):  # type: ignore[attr-defined]
            raise UserError("the whole training part is too much")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "fit_logistic", refusing)
    source, config = Store(store_path), tiny(valid="whole", fractions=(0.25, 1.0), seeds=1)
    images = LabelledImages(source, check_labels(source, parts_used(config)), 32)
    part, whole = Unit(0.25, 0), Unit(1.0, 0)
    trainer = Trainer(images, Initialisation(config), 0, [part, whole])
    assert trainer.fit(part).valid_balanced_accuracy > 0
    with pytest.raises(UserError, match="too much"):
        trainer.fit(whole)


def test_every_mode_and_solver_that_can_be_asked_for_has_its_fit() -> None:
    solvers = {mode: get_args(Solver) if mode == "linear" else (None,) for mode in get_args(Mode)}
    assert set(FITS) == {(mode, solver) for mode in solvers for solver in solvers[mode]}


@pytest.mark.parametrize("recipe", ["adapt", "study"])
@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_a_resumed_run_has_the_very_digits_of_one_never_stopped(
    fraction: float, recipe: ClassifyRecipe, encoder: str, store_path: Path, tmp_path: Path
) -> None:
    config = tiny("linear", recipe, init=encoder, encoder=None, seeds=3, epochs=10)
    classify(store_path, tmp_path / "run", config)
    before = (tmp_path / "run" / "predictions.csv").read_bytes()
    for unit in (tmp_path / "run" / "units").glob(f"fraction-{fraction}-seed-1.*"):
        unit.unlink()
    classify(store_path, tmp_path / "run", config)
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == before
