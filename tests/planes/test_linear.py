"""Linear heads trained together: each as if alone, with as many calls as one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from planes.labelled_store import tiny
from sonolearn.config import ClassifyConfig
from sonolearn.console import UserError
from sonolearn.planes import linear
from sonolearn.planes.head import Fitted, HeldOut, batches_of, class_weights, make_head
from sonolearn.planes.linear import balanced_accuracies, draw_kept, fit_linear, fit_linear_heads
from sonolearn.runs import generator_for

CLASSES, FEATURES = 4, 12
Data = tuple[torch.Tensor, np.ndarray]


def clouds(n: int, seed: int) -> Data:
    """Overlapping clouds of unequal size, far from 0 and of unlike scales."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(CLASSES, n, p=[0.4, 0.3, 0.2, 0.1])
    points = (rng.normal(size=(n, FEATURES)) + np.eye(CLASSES, FEATURES)[targets]) * np.linspace(0.1, 3, FEATURES) + 5
    return torch.tensor(points, dtype=torch.float32), targets


def subsets(sizes: tuple[int, ...], of: int = 100) -> list[tuple[np.ndarray, int]]:
    return [(np.random.default_rng(i).choice(of, size, replace=False), i % 3) for i, size in enumerate(sizes)]


def study(**options: Any) -> ClassifyConfig:
    """The study's linear evaluation, shortened."""
    return tiny("linear", "study", **options)


def alone(
    train: Data, subset: np.ndarray, valid: Data, config: ClassifyConfig, seed: int
) -> tuple[np.ndarray, list[float], list[float]]:
    """Probabilities of the best epoch, losses and scores: a plain loop of torch, and scikit-learn's score."""
    features, targets = train[0][subset], torch.tensor(train[1][subset])
    mean, std = features.double().mean(0).float(), features.double().std(0, correction=0).float()
    if config.standardise == "shared":
        std = std.square().mean().sqrt()
    elif config.standardise == "none":
        mean, std = torch.zeros(1), torch.ones(1)
    head, draws = make_head(FEATURES, CLASSES, seed), generator_for(seed, "dropout")
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    criterion = nn.CrossEntropyLoss(weight=class_weights(train[1][subset], CLASSES))
    scores: list[float] = []
    losses: list[float] = []
    best = np.empty(0)
    for epoch in range(1, config.epochs + 1):
        of_epoch = []
        for batch in batches_of(len(subset), config.batch_size, seed, epoch):
            kept = np.empty((len(batch), FEATURES), np.float32)
            if config.dropout:
                draw_kept(draws, config.dropout, kept)
                kept /= 1 - config.dropout
            else:
                kept[:] = 1
            loss = criterion(head((features[batch] - mean) / std * torch.from_numpy(kept)), targets[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            of_epoch.append(loss.item())
        found = head((valid[0] - mean) / std).softmax(1).detach().numpy()
        score = recall_score(valid[1], found.argmax(1), average="macro")
        if score > max(scores, default=-1) + 1e-9:
            best = found
        scores.append(score)
        losses.append(np.mean(of_epoch))
    return best, losses, scores


@pytest.mark.parametrize(
    "options",
    [{}, {"dropout": 0.0}, {"dropout": 0.2, "standardise": "none"}, {"dropout": 0.0, "standardise": "shared"}],
)
def test_each_of_many_heads_equals_a_plain_loop_of_torch(options: dict[str, Any]) -> None:
    train, valid = clouds(100, 0), clouds(60, 1)
    config = study(epochs=12, lr=0.02, batch_size=16, **options)
    trainings = subsets((5, 9, 14, 16, 17, 30, 33, 33, 100))  # 17 and 33: a last batch of one joins the one before
    for fitted, (subset, seed) in zip(together(train, trainings, valid, config), trainings, strict=True):
        probabilities, losses, scores = alone(train, subset, valid, config, seed)
        assert [row["train_loss"] for row in fitted.history] == pytest.approx(losses, abs=1e-4)
        assert [row["valid_balanced_accuracy"] for row in fitted.history] == pytest.approx(scores, abs=1e-9)
        assert [row["epoch"] for row in fitted.history] == list(range(1, 13))
        assert fitted.best_epoch == 1 + next(i for i, score in enumerate(scores) if score > max(scores) - 1e-9)
        assert fitted.valid_balanced_accuracy == pytest.approx(max(scores))
        assert fitted.predict(valid[0]) == pytest.approx(probabilities, abs=1e-4)


def together(train: Data, trainings: list, valid: Data | None, config: ClassifyConfig) -> list[Fitted]:
    found = fit_linear_heads(*train, trainings, HeldOut(*valid) if valid else None, CLASSES, config)
    assert all(isinstance(fitted, Fitted) for fitted in found)
    return found  # type: ignore[return-value]


def test_heads_cut_by_memory_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid, trainings = clouds(100, 0), clouds(60, 1), subsets((20, 20, 20, 20, 20))
    whole = together(train, trainings, valid, study())
    made: list[int] = []
    original = linear._Heads
    monkeypatch.setattr(linear, "_Heads", lambda *a: made.append(len(a[2])) or original(*a))
    monkeypatch.setattr(linear, "AT_ONCE", 2 * (20 + 60 + 3 * 16) * FEATURES)
    cut = together(train, trainings, valid, study())
    assert made == [2, 2, 1]
    for one, other in zip(whole, cut, strict=True):
        assert one.predict(valid[0]) == pytest.approx(other.predict(valid[0]), abs=1e-6)


def test_a_head_with_a_loss_that_is_not_finite_says_so_and_the_others_are_as_without_it() -> None:
    train, valid = clouds(100, 0), clouds(60, 1)
    broken = train[0].clone(), train[1]
    broken[0][7, 3] = float("nan")
    without, first = np.setdiff1d(np.arange(40), [7]), np.arange(40)
    trainings = [(without, 0), (first, 0), (without, 1)]
    one, error, other = fit_linear_heads(*broken, trainings, HeldOut(*valid), CLASSES, study(batch_size=40))
    assert isinstance(error, UserError)
    assert "not finite at step 1;" in str(error)
    expected = together(train, [trainings[0], trainings[2]], valid, study(batch_size=40))
    for found, wanted in zip((one, other), expected, strict=True):
        assert isinstance(found, Fitted)
        assert found.predict(valid[0]) == pytest.approx(wanted.predict(valid[0]), abs=1e-6)


class Calls(TorchDispatchMode):
    """Counts what torch is asked to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


def calls_of_an_epoch(heads: int) -> Counter[str]:
    """What three epochs call more than one."""
    train, valid, trainings = clouds(100, 0), clouds(60, 1), subsets((50,) * heads)
    counts = []
    for epochs in (1, 3):
        with Calls() as calls:
            together(train, trainings, valid, study(epochs=epochs, batch_size=16))
        counts.append(calls.count)
    return counts[1] - counts[0]


def test_an_epoch_of_twenty_heads_takes_as_many_calls_as_an_epoch_of_one() -> None:
    one = calls_of_an_epoch(1)
    assert one["aten.baddbmm.default"] == 2 * (4 + 1)  # four steps, and a look at the validation part
    assert calls_of_an_epoch(20) == one


def test_heads_of_all_seeds_share_their_optimiser_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    original = linear._AdamW.step
    monkeypatch.setattr(linear._AdamW, "step", lambda self, given: steps.append(1) or original(self, given))
    train, valid = clouds(100, 0), clouds(60, 1)
    sizes = (10, 10, 14, 30, 30, 60, 60)  # 1, 2 and 4 steps of 16
    together(train, subsets(sizes), valid, study(epochs=5, batch_size=16))
    assert len(steps) == 5 * (1 + 2 + 4)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_optimiser_moves_as_that_of_torch(weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    theirs = [parameter.detach().clone().requires_grad_() for parameter in ours]
    one, other = linear._AdamW(ours, 0.02, weight_decay), torch.optim.AdamW(theirs, 0.02, weight_decay=weight_decay)
    for _ in range(30):
        gradients = [torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
        one.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        other.step()
    for found, expected in zip(ours, theirs, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(st.floats(0, 0.99) | st.sampled_from([0.125, 0.5, 255 / 256]), st.integers(0, 2**32 - 1))
def test_dropout_keeps_its_share_and_is_the_same_for_a_seed(rate: float, seed: int) -> None:
    kept, again = np.empty((2, 70, 57), np.float32)
    draw_kept(np.random.default_rng(seed), rate, kept)
    draw_kept(np.random.default_rng(seed), rate, again)
    assert (kept == again).all()
    assert set(np.unique(kept)) <= {0, 1}
    deviation = (rate * (1 - rate) / kept.size) ** 0.5
    assert abs(kept.mean() - (1 - rate)) <= 6 * deviation + 2**-16


def test_dropout_goes_on_where_it_stood_in_a_new_batch() -> None:
    generator, kept = np.random.default_rng(0), np.empty((2, 40, 50), np.float32)
    for batch in kept:
        draw_kept(generator, 0.5, batch)
    agreement = (kept[0] == kept[1]).mean()
    assert abs(agreement - 0.5) < 0.1


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_balanced_accuracies_equal_scikit_learn(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, CLASSES, n), rng.integers(0, CLASSES, (3, n))
    found = balanced_accuracies(torch.tensor(predicted), torch.eye(CLASSES, dtype=torch.float64)[truth])
    expected = [recall_score(truth, p, labels=np.unique(truth), average="macro", zero_division=0) for p in predicted]
    assert found.numpy() == pytest.approx(np.array(expected))


def test_one_head_is_that_of_many() -> None:
    train, valid, trainings = clouds(100, 0), clouds(60, 1), subsets((40, 40, 40))
    subset, seed = trainings[1]
    one = fit_linear(train[0][subset], train[1][subset], HeldOut(*valid), CLASSES, study(), seed)
    assert one.predict(valid[0]) == pytest.approx(
        together(train, trainings, valid, study())[1].predict(valid[0]), abs=1e-6
    )


def test_without_a_validation_part_the_last_epoch_is_kept() -> None:
    train, trainings, config = clouds(100, 0), subsets((20, 30)), study(epochs=6, dropout=0.0)
    for fitted, (subset, seed) in zip(together(train, trainings, None, config), trainings, strict=True):
        assert fitted.best_epoch == 6
        assert np.isnan(fitted.valid_balanced_accuracy)
        assert [row["epoch"] for row in fitted.history] == list(range(1, 7))
        assert all(np.isnan(row["valid_balanced_accuracy"]) for row in fitted.history)
        features, targets = train[0][subset], torch.tensor(train[1][subset])
        inputs = (features - features.mean(0)) / features.std(0, correction=0)
        head = make_head(FEATURES, CLASSES, seed)
        optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        criterion = nn.CrossEntropyLoss(weight=class_weights(train[1][subset], CLASSES))
        for epoch in range(1, 7):
            for batch in batches_of(len(subset), config.batch_size, seed, epoch):
                optimizer.zero_grad()
                torch.autograd.backward(criterion(head(inputs[batch]), targets[batch]))
                optimizer.step()
        assert fitted.predict(features) == pytest.approx(head(inputs).softmax(1).detach().numpy(), abs=1e-5)
