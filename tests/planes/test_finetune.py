"""Full fine-tuning: reproducible, independent of loader processes, and using no more than its subset.

By default it starts as the linear evaluation of its encoder, and ends as a mixture of start and averaged weights.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from planes.labelled_store import tiny
from sonolearn.config import ClassifyConfig, ClassifyRecipe
from sonolearn.console import UserError
from sonolearn.planes import finetune
from sonolearn.planes import finetune as views_room
from sonolearn.planes.classify import classify
from sonolearn.planes.finetune import MIXTURES, StepBatches, TrainingViews, fit_finetune, length, make_loader, mixture
from sonolearn.planes.head import Fitted, HeldOut
from sonolearn.planes.images import Labelled, grey_statistics, labelled
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.logistic import fit_logistic
from sonolearn.planes.metrics import balanced_accuracy
from sonolearn.recipes import classify_recipe
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.features import extract, read_images
from sonolearn.store.store import Store


@pytest.fixture(scope="module")
def parts(store_path: Path) -> dict[str, tuple[np.ndarray, Labelled]]:
    store = Store(store_path)
    assert store.labels is not None
    found = {name: labelled(store, group) for name, group in store.labels.groupby("split")}
    return {str(name): (read_images(store, part.rows, 32), part) for name, part in found.items()}


STUDY_VIEWS = classify_recipe("study").views
CPU = make_fabric("cpu", "32-true")


def held_out(parts: dict) -> HeldOut:
    return HeldOut(torch.from_numpy(parts["valid"][0]), parts["valid"][1].targets)


def fit(
    parts: dict, seed: int = 0, take: int | None = None, recipe: ClassifyRecipe = "study", **options: object
) -> Fitted:
    """The study's training unless told otherwise; from `init` where one is given, else from random weights."""
    images, labels = parts["train"]
    subset = (images[:take], labels.at(labels.rows[:take]))
    config = tiny("finetune", recipe, **({"encoder": None} if "init" in options else {}), **options)
    encoder, card = Initialisation(config).load(seed)
    valid = held_out(parts) if config.valid == "whole" else None
    others = extract(encoder, card, images[take:], CPU) if take and not valid else None
    return fit_finetune(encoder, card, subset, valid, 3, config, seed, CPU, unlabelled=others)


def probabilities(fitted: Fitted, parts: dict) -> np.ndarray:
    return fitted.predict(torch.from_numpy(parts["test"][0]))


@pytest.mark.parametrize("recipe", ["study", "adapt"])
def test_same_seed_is_bit_equal_with_0_and_2_loader_processes_and_other_seeds_differ(
    recipe: ClassifyRecipe, encoder: Path, parts: dict
) -> None:
    options: dict[str, Any] = {"recipe": recipe} | ({"init": str(encoder)} if recipe == "adapt" else {})
    alone = probabilities(fit(parts, workers=0, **options), parts)
    torch.rand(7)  # whatever was drawn before must not matter
    assert (alone == probabilities(fit(parts, workers=2, **options), parts)).all()
    assert (alone != probabilities(fit(parts, seed=1, **options), parts)).any()


def test_what_can_be_separated_is_learnt(parts: dict) -> None:
    fitted = fit(parts, epochs=15, lr=3e-3, views={"randaugment": (1, 1)}, dropout=0.0)
    assert (probabilities(fitted, parts).argmax(1) == parts["test"][1].targets).mean() > 0.9
    assert fitted.best_epoch == 1 + int(np.argmax([row["valid_balanced_accuracy"] for row in fitted.history]))


@pytest.mark.parametrize("take", [2, 17])
def test_a_last_batch_of_one_does_not_break_batch_norm(parts: dict, take: int) -> None:
    assert np.isfinite(probabilities(fit(parts, take=take, epochs=1, batch_size=16), parts)).all()


def test_training_stops_at_max_steps_and_the_cut_epoch_counts(parts: dict) -> None:
    fitted = fit(parts, epochs=10, max_steps=4, batch_size=16)  # 3 steps an epoch
    assert [row["epoch"] for row in fitted.history] == [1, 2]


def test_normalisation_and_class_weights_come_from_the_subset(parts: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list = []
    original = finetune.normalise
    monkeypatch.setattr(finetune, "normalise", lambda f, m, s: seen.append((m, s)) or original(f, m, s))
    monkeypatch.setattr(finetune, "class_weights", lambda t, c: seen.append(len(t)) or torch.ones(c))
    fit(parts, take=6, epochs=1)
    pixels = parts["train"][0][:6] / 255
    assert seen[0] == 6
    assert seen[1] == pytest.approx((pixels.mean(), pixels.std()))
    assert len(set(seen[1:])) == 1  # validation is normalised in the same way


def test_a_loss_that_is_not_finite_names_its_step(parts: dict) -> None:
    with pytest.raises(UserError, match="not finite at step"):
        fit(parts, lr=1e30, epochs=4)


def test_views_depend_on_seed_epoch_and_image_only(parts: dict) -> None:
    images, labels = parts["train"]
    views = TrainingViews(images, labels.rows, STUDY_VIEWS, seed=0)
    first = views[1, 3]
    torch.rand(3)
    assert first.dtype == torch.uint8
    assert first.shape == (32, 32)
    assert torch.equal(first, views[1, 3])
    assert any(not torch.equal(views[1, i], views[2, i]) for i in range(5))
    assert any(not torch.equal(views[1, i], TrainingViews(images, labels.rows, STUDY_VIEWS, 1)[1, i]) for i in range(5))
    # In a smaller subset the image stands elsewhere, and has the same views.
    smaller = TrainingViews(images[3:4], labels.rows[3:4], STUDY_VIEWS, seed=0)
    assert torch.equal(first, smaller[1, 0])


def test_each_image_has_one_view_an_epoch_and_batches_come_whole(parts: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = parts["train"]
    drawn: list[int] = []
    original = views_room.make_view
    monkeypatch.setattr(views_room, "make_view", lambda *a: drawn.append(1) or original(*a))
    stacked: list[int] = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda *a, **k: stacked.append(1) or stack(*a, **k))
    views, batches = TrainingViews(images, labels.rows, STUDY_VIEWS, 0), StepBatches(len(labels), 16, 6, 0)
    found = list(make_loader(views, batches, workers=0, pin=False))
    assert len(drawn) == 2 * len(labels)
    assert not stacked  # a batch is written in place, not put together from single views
    for epoch in (0, 1):
        of_epoch = found[epoch * len(found) // 2 : (epoch + 1) * len(found) // 2]
        assert sorted(torch.cat([positions for _, positions in of_epoch]).tolist()) == list(range(len(labels)))
        for frames, positions in of_epoch:
            assert frames.dtype == torch.uint8
            assert torch.equal(frames, stack([views[epoch + 1, int(position)] for position in positions]))


class Looks(TorchDispatchMode):
    """Counts looks at single numbers, each of which makes a GPU's queue run dry."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func) or "nonzero" in str(func)
        return func(*args, **(kwargs or {}))


def test_more_steps_do_not_look_at_more_numbers(parts: dict) -> None:
    counts = []
    for batch_size in (24, 6):
        with Looks() as looks:
            fit(parts, epochs=2, batch_size=batch_size, views={"randaugment": (1, 1)})
        counts.append(looks.count)
    assert counts[0] == counts[1]


def test_what_a_step_takes_is_moved_without_waiting(parts: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.dtype] = []
    moved: list[torch.dtype] = []
    original = torch.Tensor.to

    def watched(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if isinstance(arguments[0], torch.device):
            (moved if options.get("non_blocking") else waited).append(tensor.dtype)
        return original(tensor, *arguments, **options)

    counts = []
    for batch_size in (24, 6):
        waited.clear()
        moved.clear()
        with monkeypatch.context() as watching:
            watching.setattr(torch.Tensor, "to", watched)
            fit(parts, epochs=1, batch_size=batch_size, views={"randaugment": (1, 1)})
        counts.append(len(waited))
        assert Counter(moved) == dict.fromkeys((torch.uint8, torch.int64), 48 // batch_size)  # views and positions
    assert counts[0] == counts[1]  # once a training and for validation, not in steps


def test_without_randaugment_views_are_flips(parts: dict) -> None:
    images, labels = parts["train"]
    config = classify_recipe("study", views={"randaugment": (0, 0)}).views
    views, image = TrainingViews(images, labels.rows, config, seed=0), torch.from_numpy(images[0])
    flips = [image, image.flip(0), image.flip(1), image.flip((0, 1))]
    found = [next(i for i, flip in enumerate(flips) if torch.equal(views[epoch, 0], flip)) for epoch in range(30)]
    assert set(found) == {0, 1, 2, 3}


def test_grey_statistics_equal_numpy_and_a_blank_image_divides_by_no_zero(parts: dict) -> None:
    images = parts["train"][0]
    assert grey_statistics(images) == pytest.approx(((images / 255).mean(), (images / 255).std()))
    assert grey_statistics(np.zeros((2, 4, 4), np.uint8)) == (0, 1 / 255)


def linear_evaluation(parts: dict, take: int | None = None, **options: object) -> np.ndarray:
    """Probabilities of the test part by linear evaluation of an encoder on the same images."""
    config = tiny("linear", encoder=None, **options)
    network, card = Initialisation(config).load(0)
    images, labels = parts["train"]
    features = {name: extract(network, card, of_part, CPU) for name, (of_part, _) in parts.items()}
    subset = [np.arange(len(images))[:take]]
    valid = HeldOut(features["valid"], parts["valid"][1].targets) if config.valid == "whole" else None
    (fitted,) = fit_logistic(features["train"], labels.targets, labels.patient, subset, valid, 3, config)
    return fitted.predict(features["test"])


@pytest.mark.parametrize("take", [5, 20, None])
@pytest.mark.parametrize("standardise", ["shared", "each", "none"])
def test_before_its_first_step_the_network_is_the_linear_evaluation_of_its_encoder(
    standardise: str, take: int | None, encoder: Path, parts: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = linear_evaluation(parts, take, init=str(encoder), standardise=standardise)
    seen: list[np.ndarray] = []
    rounds = finetune._Training.rounds
    monkeypatch.setattr(
        finetune._Training,
        "rounds",
        lambda self, *a: seen.append(self.predict(torch.from_numpy(parts["test"][0]))) or rounds(self, *a),
    )
    options: dict[str, Any] = {"recipe": "adapt", "init": str(encoder), "standardise": standardise}
    trained = probabilities(fit(parts, take=take, mixture=1.0, lr=3e-3, **options), parts)
    assert seen[0] == pytest.approx(expected, abs=1e-5)
    assert np.abs(trained - expected).max() > 1e-3  # and it does not stay there


@pytest.mark.parametrize("valid", ["within", "whole"])
def test_with_nothing_of_the_trained_weights_it_stays_the_linear_evaluation(
    valid: str, encoder: Path, parts: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "MIXTURES", (0.0,))
    options: dict[str, Any] = {"init": str(encoder), "valid": valid, "regularisations": (0.01, 0.1, 1.0, 10.0)}
    found = probabilities(fit(parts, recipe="adapt", mixture=0.0, lr=3e-3, **options), parts)
    assert found == pytest.approx(linear_evaluation(parts, **options), abs=1e-5)


def test_classify_in_both_modes_agrees_where_the_mixture_is_all_start(
    encoder: Path, store_path: Path, tmp_path: Path
) -> None:
    for mode in ("linear", "finetune"):
        config = tiny(mode, init=str(encoder), encoder=None, mixture=0.0, lr=3e-3)
        classify(store_path, tmp_path / mode, config)
    linear, finetuned = (pd.read_csv(tmp_path / mode / "predictions.csv") for mode in ("linear", "finetune"))
    pd.testing.assert_frame_equal(linear, finetuned, atol=1e-4)


class Trace:
    """What torch's AdamW was given, the rates of its steps, and the network's weights after each of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[dict[str, Any]] = []
        self.rates: list[list[float]] = []
        self.weights: list[list[torch.Tensor]] = []
        trace, original = self, torch.optim.AdamW

        class Traced(original):  # type: ignore[misc,valid-type]
            def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
                super().__init__(groups, **options)
                trace.groups = [dict(group) for group in self.param_groups]

            def step(self, *arguments: Any, **options: Any) -> Any:
                result = super().step(*arguments, **options)
                trace.rates.append([group["lr"] for group in self.param_groups])
                trace.weights.append([p.detach().clone() for group in self.param_groups for p in group["params"]])
                return result

        monkeypatch.setattr(torch.optim, "AdamW", Traced)


def test_lower_layers_learn_more_slowly_and_biases_and_norms_do_not_decay(
    encoder: Path, parts: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(monkeypatch)
    fitted = fit(
        parts, recipe="adapt", init=str(encoder), layer_decay=0.5, schedule="constant", lr=1e-4, weight_decay=0.3
    )
    assert fitted.classifier is not None
    named = dict(fitted.classifier.named_parameters())
    of = {id(p): group for group in trace.groups for p in group["params"]}
    assert len(of) == sum(len(group["params"]) for group in trace.groups) == len(named)  # each of them once
    rates = {name: of[id(p)]["lr"] for name, p in named.items()}
    layers = ("encoder.conv1", "encoder.layer1", "encoder.layer2", "encoder.layer3", "encoder.layer4", "head")
    found = [[rate for name, rate in rates.items() if name.startswith(layer)] for layer in layers]
    found = [of_layer for of_layer in found if of_layer]
    assert rates["head.weight"] == rates["head.bias"] == 1e-4
    for lower, upper in pairwise(found):
        assert max(lower) < min(upper) or (upper is found[-1] and max(lower) <= min(upper))
    # Halved from layer to layer, and by nothing else.
    assert all(np.log2(1e-4 / rate) == pytest.approx(round(np.log2(1e-4 / rate))) for rate in rates.values())
    for name, p in named.items():
        assert of[id(p)]["weight_decay"] == (0.3 if p.ndim > 1 or name == "head.bias" else 0.0), name


def test_rates_warm_up_and_fall_as_a_cosine_over_the_steps_of_the_whole_training(
    encoder: Path, parts: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(monkeypatch)
    fit(parts, recipe="adapt", init=str(encoder), epochs=4, min_steps=40, warmup=0.25, layer_decay=0.5, lr=2e-4)
    rates = np.array(trace.rates)
    assert len(rates) == 40
    top = rates[:, -1]  # of the head
    assert top[:10] == pytest.approx(2e-4 * np.arange(1, 11) / 11)
    assert top[10:] == pytest.approx(2e-4 * 0.5 * (1 + np.cos(np.pi * np.arange(30) / 29)))
    moving = top > 0
    share = rates[moving] / top[moving, None]
    assert share == pytest.approx(np.broadcast_to(share[0], share.shape))


def test_the_end_is_the_moving_average_of_the_weights_of_all_steps(
    encoder: Path, parts: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(monkeypatch)
    fitted = fit(parts, recipe="adapt", init=str(encoder), mixture=1.0, average=0.7, lr=3e-3)
    assert fitted.classifier is not None
    expected = trace.weights[0]
    for weights in trace.weights[1:]:
        expected = [0.7 * mean + 0.3 * now for mean, now in zip(expected, weights, strict=True)]
    ordered = [p for group in trace.groups for p in group["params"]]
    for found, wanted, last in zip(ordered, expected, trace.weights[-1], strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)
        assert found.ndim < 2 or not torch.equal(found, last)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 0.3])
def test_a_mixture_lies_its_share_of_the_way_from_start_to_end(share: float) -> None:
    start = {"w": torch.randn(3, 4), "steps": torch.tensor(3)}
    end = {"w": torch.randn(3, 4), "steps": torch.tensor(8)}
    found = mixture(start, end, share)
    assert torch.allclose(found["w"], (1 - share) * start["w"] + share * end["w"])
    assert found["steps"] == 8  # counters are not mixed
    if share in (0, 1):
        assert torch.equal(found["w"], (end if share else start)["w"])


def test_half_a_mixture_lies_between_head_and_trained_weights(encoder: Path, parts: dict) -> None:
    networks = [
        fit(parts, recipe="adapt", init=str(encoder), mixture=share, lr=3e-3).classifier for share in (0.0, 0.5, 1.0)
    ]
    start, half, end = (dict(network.named_parameters()) for network in networks if network)
    for name in start:
        assert torch.allclose(half[name], (start[name] + end[name]) / 2, atol=1e-6), name


def test_a_validation_part_chooses_the_mixture_and_of_equals_the_more_trained(encoder: Path, parts: dict) -> None:
    truth = parts["valid"][1].targets
    options: dict[str, Any] = {"recipe": "adapt", "init": str(encoder), "lr": 3e-2, "epochs": 2, "take": 12}
    options["spread_labels"] = "never"  # which happens without a validation part alone
    scores = {}
    for share in MIXTURES:
        alone = fit(parts, mixture=share, **options)
        scores[share] = balanced_accuracy(truth, alone.predict(torch.from_numpy(parts["valid"][0])).argmax(1))
    chosen = fit(parts, valid="whole", regularisations=(1.0,), **options)
    # One strength, so that the head is the same whatever chooses it.
    best = max(scores, key=lambda share: (scores[share], share))
    assert chosen.valid_balanced_accuracy == pytest.approx(max(scores.values()))
    assert chosen.valid_balanced_accuracy >= scores[0.0]  # never worse, there, than its own linear head
    expected = fit(parts, mixture=best, regularisations=(1.0,), **options)
    assert probabilities(chosen, parts) == pytest.approx(probabilities(expected, parts), abs=1e-6)


def test_statistics_of_a_pretrained_encoder_stay_and_those_of_random_weights_are_learnt(
    encoder: Path, parts: dict
) -> None:
    for options, stay in (({"init": str(encoder)}, True), ({}, False)):
        before = dict(
            Initialisation(tiny("finetune", encoder=None if stay else "test_resnet", **options))
            .load(0)[0]
            .named_buffers()
        )
        fitted = fit(parts, recipe="adapt", **options)
        assert fitted.classifier is not None
        after = dict(fitted.classifier.encoder.named_buffers())
        means = [name for name in before if name.endswith("running_mean")]
        assert means
        assert all(torch.equal(before[name], after[name]) == stay for name in means)


def test_random_weights_have_no_head_to_start_from_and_keep_what_was_trained(parts: dict) -> None:
    found = probabilities(fit(parts, recipe="adapt", mixture=0.0), parts)
    assert (found == probabilities(fit(parts, recipe="adapt", mixture=1.0), parts)).all()


def test_a_plane_without_images_is_not_predicted(encoder: Path, parts: dict) -> None:
    images, labels = parts["train"]
    rows = labels.rows[labels.targets != 1]
    subset = images[labels.positions(rows)], labels.at(rows)
    config = tiny("finetune", init=str(encoder), encoder=None)
    network, card = Initialisation(config).load(0)
    found = probabilities(fit_finetune(network, card, subset, None, 3, config, 0, CPU), parts)
    assert np.isfinite(found).all()
    assert (found[:, 1] == 0).all()
    assert found.sum(1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "options", "steps", "each"),
    [
        (5, {}, 100, 5),  # as many steps as train, though an epoch is one
        (5000, {}, 20 * 157, 157),  # 156 batches of 32 and one of 8
        (6, {"min_steps": 0}, 20, 1),
        (5000, {"max_steps": 1000}, 1000, 157),
        (160, {"min_steps": 101}, 101, 6),
        (5, {"recipe": "study"}, 100, 1),
        (5000, {"recipe": "study"}, 100 * 40, 40),
    ],
)
def test_a_training_has_steps_enough_however_few_images_there_are(
    count: int, options: dict[str, Any], steps: int, each: int
) -> None:
    assert length(count, classify_recipe(options.pop("recipe", "adapt"), **options)) == (steps, each)


@given(
    st.integers(2, 3000), st.integers(1, 40), st.integers(0, 300), st.integers(2, 64), st.none() | st.integers(1, 500)
)
def test_a_training_reports_at_most_as_often_as_it_has_epochs(
    count: int, epochs: int, min_steps: int, batch_size: int, max_steps: int | None
) -> None:
    config = ClassifyConfig(epochs=epochs, min_steps=min_steps, batch_size=batch_size, max_steps=max_steps)
    steps, each = length(count, config)
    assert each >= 1
    assert 1 <= -(-steps // each) <= epochs
    assert steps >= min(min_steps, max_steps or min_steps)


def test_five_images_train_for_the_least_number_of_steps(
    encoder: Path, parts: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(monkeypatch)
    fitted = fit(parts, take=5, recipe="adapt", init=str(encoder), epochs=4, min_steps=30)
    assert len(trace.rates) == 30
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4]
    assert all(np.isnan(row["valid_balanced_accuracy"]) for row in fitted.history)
