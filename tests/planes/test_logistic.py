"""Logistic regression to its optimum: scikit-learn's solution, for all subsets and strengths at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils.class_weight import compute_sample_weight
from torch.nn.functional import cross_entropy

from planes.labelled_store import tiny
from sonolearn.config import Standardise
from sonolearn.console import UserError
from sonolearn.planes import logistic, logistic_optimum
from sonolearn.planes.classify import classify
from sonolearn.planes.head import HeldOut, class_weights
from sonolearn.planes.logistic import FOLDS, Head, class_mean_head, fit_heads, fit_logistic, folds_of
from sonolearn.planes.metrics import balanced_accuracy
from sonolearn.ssl.encoders import Card, build, save_encoder

CLASSES = 4
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
Data = tuple[torch.Tensor, np.ndarray]


def images(n: int, features: int, seed: int = 0, shift: float = 3.0) -> Data:
    """Overlapping Gaussian classes of unequal size in correlated features of unequal scale, the last one constant."""
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(99)
    targets = np.concatenate([np.arange(CLASSES), rng.choice(CLASSES, n - CLASSES, p=[0.4, 0.3, 0.2, 0.1])])
    latent = rng.normal(size=(n, 12)) + 1.5 * mixing.normal(size=(CLASSES, 12))[targets]
    points = latent @ mixing.normal(size=(12, features)) / 3 + 0.2 * rng.normal(size=(n, features))
    points = points * mixing.uniform(0.2, 2, features) + shift
    points[:, -1] = shift
    return torch.tensor(points, dtype=torch.float32), targets


def fitted(
    train: Data,
    subsets: list[np.ndarray],
    valid: Data | None,
    strengths: tuple[float, ...] = STRENGTHS,
    standardise: Standardise = "each",
    patients: np.ndarray | None = None,
) -> list[Head]:
    """The heads of some subsets; every image is of another patient unless `patients` says otherwise."""
    patients = np.arange(len(train[1])).astype(object) if patients is None else patients
    config = tiny(regularisations=strengths, standardise=standardise)
    return fit_heads(*train, patients, subsets, HeldOut(*valid) if valid else None, CLASSES, config)


def solved(train: Data, subset: np.ndarray, strength: float, standardise: Standardise = "each") -> Head:
    """The head of one subset with one strength."""
    return fitted(train, [subset], train, (strength,), standardise)[0]


def of_scikit_learn(
    train: Data, subset: np.ndarray, strength: float, standardise: Standardise
) -> tuple[np.ndarray, ...]:
    """Coefficients (C, F) on raw features and probabilities (n, C) of all training images."""
    features, targets = train[0].double(), train[1]
    spreads = features[subset].numpy().std(0)
    spreads = {"each": spreads, "shared": np.sqrt((spreads**2).mean()), "none": 1.0}[standardise]
    # The bias is not regularised: where the features are centred changes no probability.
    scale = np.divide(1.0, spreads, where=np.asarray(spreads > 1e-6), out=np.zeros_like(spreads, float))
    inputs = features.numpy() * scale
    weights = class_weights(targets[subset], CLASSES).double().numpy()[targets[subset]]
    # Its L-BFGS stops some 1e-4 short of the optimum where the regularisation is weak.
    peer = LogisticRegression(C=1 / (strength * len(subset)), solver="newton-cg", tol=1e-10, max_iter=10_000)
    peer.fit(inputs[subset], targets[subset], sample_weight=weights)
    assert len(peer.classes_) > 2  # of two it makes one vector, which regularises half as much
    probabilities = np.zeros((len(inputs), CLASSES))
    probabilities[:, peer.classes_] = peer.predict_proba(inputs)
    coefficients = np.zeros((CLASSES, inputs.shape[1]))
    coefficients[peer.classes_] = peer.coef_ * scale
    return coefficients, probabilities


SUBSETS = {
    "fewer images than features": (40, 90, np.arange(25)),
    "more images than features": (120, 20, np.arange(10, 110)),
    "many more images than features": (300, 8, np.arange(280)),
    "a class is missing": (80, 30, None),
    "images occur several times": (60, 30, np.repeat(np.arange(20), [1, 2, 3, 4] * 5)),
}


@pytest.mark.parametrize("standardise", ["shared", "each", "none"])
@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("case", SUBSETS)
def test_a_head_equals_that_of_scikit_learn(case: str, strength: float, standardise: Standardise) -> None:
    n, features, subset = SUBSETS[case]
    train = images(n, features)
    if subset is None:
        subset = np.flatnonzero(train[1] != 1)
    coefficients, probabilities = of_scikit_learn(train, subset, strength, standardise)
    head = solved(train, subset, strength, standardise)
    assert head.predict(train[0]) == pytest.approx(probabilities, abs=1e-4)
    found = head.weight.T.numpy()
    assert np.abs(found - coefficients).max() <= 1e-3 * np.abs(coefficients).max()
    assert head.weight.dtype == head.bias.dtype == torch.float32


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_gradient_at_the_optimum_vanishes(strength: float) -> None:
    train, targets = images(50, 70)
    inputs, truth = train.double()[None], torch.tensor(targets)
    weights = class_weights(targets, CLASSES).double()
    one_hot = torch.eye(CLASSES, dtype=torch.float64)[truth].T
    strengths = torch.tensor([strength], dtype=torch.float64)
    weight, bias = logistic_optimum.optima(inputs, (weights[truth] / len(truth))[None], one_hot[None], strengths)

    found = weight[0, 0].requires_grad_(), bias[0, 0].requires_grad_()
    losses = cross_entropy(inputs[0] @ found[0].T + found[1], truth, weight=weights, reduction="none")
    of_loss = torch.autograd.grad(losses.mean(), found)
    pull = strength * found[0].detach()
    assert pull.norm() > 1e-4
    assert (of_loss[0] + pull).norm() < 1e-4 * pull.norm()
    assert of_loss[1].norm() < 1e-4 * pull.norm()


def test_a_batch_gives_what_each_subset_gives_alone() -> None:
    train, valid = images(150, 60), images(40, 60, seed=1)
    rng = np.random.default_rng(0)
    subsets = [rng.choice(150, size, replace=False) for size in (5, 5, 20, 20, 20, 60, 150)]
    together = fitted(train, subsets, valid)
    for subset, head in zip(subsets, together, strict=True):
        alone = fitted(train, [subset], valid)[0]
        assert head.regularisation == alone.regularisation
        assert head.predict(valid[0]) == pytest.approx(alone.predict(valid[0]), abs=1e-6)


def test_batches_cut_by_memory_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = images(60, 20), images(40, 20, seed=1)
    subsets = [np.random.default_rng(seed).choice(60, 15, replace=False) for seed in range(5)]
    whole = fitted(train, subsets, valid)
    monkeypatch.setattr(logistic, "AT_ONCE", 12_000)
    cut = fitted(train, subsets, valid)
    assert [head.regularisation for head in whole] == [head.regularisation for head in cut]
    for one, other in zip(whole, cut, strict=True):
        assert one.predict(valid[0]) == pytest.approx(other.predict(valid[0]), abs=1e-6)


@settings(max_examples=10)
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_neither_the_order_of_subsets_nor_of_their_images_matters(order: list[int], seed: int) -> None:
    train, valid = images(60, 20), images(30, 20, seed=1)
    rng = np.random.default_rng(5)
    subsets = [rng.choice(60, size, replace=False) for size in (4, 12, 12, 12, 30, 30)]
    heads = fitted(train, subsets, valid)
    shuffled = [np.random.default_rng(seed).permutation(subsets[i]) for i in order]
    for i, head in zip(order, fitted(train, shuffled, valid), strict=True):
        assert head.regularisation == heads[i].regularisation
        assert torch.allclose(head.weight, heads[i].weight, atol=1e-5)
        assert torch.allclose(head.bias, heads[i].bias, atol=1e-5)


def test_equal_subsets_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = images(40, 10), images(20, 10, seed=1)
    asked: list[int] = []
    original = logistic.optima
    monkeypatch.setattr(logistic, "optima", lambda inputs, *rest: asked.append(len(inputs)) or original(inputs, *rest))
    everything = np.arange(40)
    heads = fitted(train, [everything, everything[::-1], everything[:20]], valid)
    assert sorted(asked) == [1, 1]
    assert heads[0] is heads[1]
    assert heads[0] is not heads[2]


@pytest.mark.parametrize("seed", range(6))
def test_the_strength_is_the_best_on_the_validation_part_then_the_surest_there(seed: int) -> None:
    # Few validation images, so that several strengths find equally many of them.
    train, valid = images(40, 30, seed), images(14, 30, seed + 50)
    chosen = fitted(train, [np.arange(40)], valid)[0]
    weights = class_weights(train[1], CLASSES).numpy()[valid[1]]
    options = []
    for strength in STRENGTHS:
        probabilities = solved(train, np.arange(40), strength).predict(valid[0]).astype(float)
        score = balanced_accuracy(valid[1], probabilities.argmax(1))
        loss = -(weights * np.log(probabilities[np.arange(14), valid[1]])).mean()
        options.append((round(score, 9), -loss, strength))
    score, loss, strength = max(options)
    assert chosen.regularisation == strength
    assert chosen.valid_balanced_accuracy == pytest.approx(score)
    assert chosen.valid_loss == pytest.approx(-loss, rel=1e-3)


def test_validation_part_decides_by_loss_where_strengths_are_equally_good() -> None:
    train, valid = images(60, 30), images(60, 30)
    chosen = fitted(train, [np.arange(60)], valid, (1e-3, 1e-2))[0]
    assert chosen.valid_balanced_accuracy == 1
    assert chosen.regularisation == 1e-3  # learnt by heart: the weaker, the surer


def test_a_plane_without_images_is_never_predicted_and_does_not_hide_the_best_strength() -> None:
    train, valid = images(60, 20), images(40, 20, seed=1)
    subset = np.flatnonzero(train[1] != 3)
    head = fitted(train, [subset], valid)[0]
    probabilities = head.predict(valid[0])
    assert (probabilities[:, 3] == 0).all()
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-6)
    assert (head.weight[:, 3] == 0).all()
    assert np.isfinite(head.valid_loss)
    known = [0, 1, 2]
    weights = class_weights(train[1][subset], CLASSES).numpy()[valid[1]]
    losses = -np.log(np.where(np.isin(valid[1], known), probabilities[np.arange(40), valid[1]], 1))
    assert head.valid_loss == pytest.approx((weights * losses).mean(), rel=1e-3)


def test_a_subset_of_a_single_plane_predicts_it_with_the_largest_strength() -> None:
    train, valid = images(60, 20), images(40, 20, seed=1)
    head = fitted(train, [np.flatnonzero(train[1] == 2)], valid)[0]
    assert (head.predict(valid[0]) == np.eye(CLASSES)[2]).all()
    assert head.regularisation == 10
    assert head.valid_balanced_accuracy == pytest.approx(1 / CLASSES)


def test_images_that_are_all_the_same_say_nothing() -> None:
    train = torch.full((6, 5), 0.3), np.array([0, 0, 0, 0, 1, 2])
    head = fitted(train, [np.arange(6)], train)[0]
    assert head.predict(train[0]) == pytest.approx(np.tile([1 / 3, 1 / 3, 1 / 3, 0], (6, 1)), abs=1e-6)


def test_features_far_from_zero_lose_nothing_to_rounding() -> None:
    train, far = images(60, 20), images(60, 20)
    far = (train[0] * 64).round() / 64 + 4096, train[1]  # exact in float32
    near = far[0] - 4096, train[1]
    expected = solved(near, np.arange(60), 1e-3).predict(near[0])
    assert solved(far, np.arange(60), 1e-3).predict(far[0]) == pytest.approx(expected, abs=1e-3)


def test_mistakes_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    train = images(40, 10)
    everything = [np.arange(40)]
    with pytest.raises(UserError, match="1 training image is too few; give a larger fraction"):
        fitted(train, [*everything, np.array([3])], train)
    with pytest.raises(UserError, match="no validation image"):
        fitted(train, everything, (train[0][:0], train[1][:0]))
    broken = train[0].clone()
    broken[7, 3] = float("inf")
    for features in ((broken, train[0]), (train[0], broken)):
        with pytest.raises(UserError, match="features are not finite; give --precision 32-true"):
            fitted((features[0], train[1]), everything, (features[1], train[1]))
    monkeypatch.setattr(logistic_optimum, "MOST_STEPS", 5)
    with pytest.raises(UserError, match=r"regularisation 0.0001 has not converged in 5 steps; leave small values out"):
        fitted(train, everything, train)


def grouped(n: int, patients: int, seed: int) -> np.ndarray:
    """Patients of n images, of unlike numbers of images."""
    rng = np.random.default_rng(seed)
    return np.array([f"P{p}" for p in rng.choice(patients, n, p=rng.dirichlet(np.full(patients, 3.0)))], object)


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_folds_share_no_patient_and_what_is_learnt_from_shows_every_class(
    n: int, patients: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    targets, of_patients = rng.integers(0, classes, 80), grouped(80, patients, seed)
    subset = rng.choice(80, n, replace=False)
    folds = folds_of(subset, targets, of_patients)
    least = min(len(set(of_patients[subset][targets[subset] == c])) for c in set(targets[subset]))
    assert len(folds) in (0, min(FOLDS, least))
    if least < 2 or len(set(targets[subset])) < 2:
        assert folds == []
    if folds:
        assert sorted(np.concatenate([out for _, out in folds])) == sorted(subset)  # each image is judged once
    for rest, out in folds:
        assert sorted([*rest, *out]) == sorted(subset)
        assert not set(of_patients[rest]) & set(of_patients[out])
        assert set(targets[rest]) == set(targets[subset])


def test_where_a_fold_would_leave_a_class_out_of_what_is_learnt_from_there_are_no_folds() -> None:
    # Each class has two patients, but those of class 0 land in one fold.
    targets, patients = np.array([1, 0, 0, 1]), np.array(["b", "d", "b", "c"], object)
    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=0)
    assert {len(set(targets[rest])) for rest, _ in splitter.split(targets, targets, patients)} == {1, 2}
    assert folds_of(np.arange(4), targets, patients) == []


@pytest.mark.parametrize("standardise", ["shared", "each", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_without_a_validation_part_the_strength_is_that_of_a_cross_validation_over_patients(
    seed: int, standardise: Standardise
) -> None:
    train, patients = images(90, 20, seed), grouped(90, 14, seed)
    subset = np.random.default_rng(seed).choice(90, 60, replace=False)
    strengths = (0.03, 0.3, 1.0, 3.0, 10.0)
    head = fitted(train, [subset], None, strengths, standardise, patients)[0]

    rows = np.sort(subset)
    inputs, truth = train[0].double().numpy()[rows], train[1][rows]
    least = min(len(set(patients[rows][truth == plane])) for plane in range(CLASSES))
    splitter = StratifiedGroupKFold(min(5, least), shuffle=True, random_state=0)
    losses = np.zeros(len(strengths))
    counts = compute_sample_weight("balanced", truth)
    for rest, out in splitter.split(inputs, truth, patients[rows]):
        spreads = inputs[rest].std(0)
        spreads = {"each": spreads, "shared": np.sqrt((spreads**2).mean()), "none": 1.0}[standardise]
        scale = np.divide(1.0, spreads, where=np.asarray(spreads > 1e-6), out=np.zeros_like(spreads, float))
        for index, strength in enumerate(strengths):
            peer = LogisticRegression(C=1 / (strength * len(rest)), solver="newton-cg", tol=1e-10, max_iter=10_000)
            peer.fit(inputs[rest] * scale, truth[rest], sample_weight=compute_sample_weight("balanced", truth[rest]))
            surprise = -peer.predict_log_proba(inputs[out] * scale)[np.arange(len(out)), truth[out]]
            losses[index] += (counts[out] * surprise).sum() / len(rows)
    assert head.regularisation == strengths[losses.argmin()]
    assert head.valid_loss == pytest.approx(losses.min(), rel=1e-3)
    assert np.isnan(head.valid_balanced_accuracy)
    alone = solved(train, subset, head.regularisation, standardise)
    assert head.predict(train[0]) == pytest.approx(alone.predict(train[0]), abs=1e-6)


def test_where_a_class_comes_from_one_patient_nothing_is_chosen_and_the_middle_strength_is_taken() -> None:
    train = images(60, 20)
    patients = np.where(train[1] == 3, "only", np.arange(60).astype(str)).astype(object)
    head = fitted(train, [np.arange(60)], None, (10.0, 0.03, 1.0, 3.0, 0.3), "shared", patients)[0]
    assert head.regularisation == 1.0
    assert np.isnan(head.valid_loss)
    assert head.predict(train[0]) == pytest.approx(solved(train, np.arange(60), 1.0, "shared").predict(train[0]))


def test_a_handful_of_images_that_make_no_folds_gets_its_class_means() -> None:
    train = images(60, 20)
    handful = np.concatenate([np.flatnonzero(train[1] == plane)[: 1 + plane] for plane in range(CLASSES)])
    head, larger = fitted(train, [handful, np.arange(60)], None)
    weight, bias = class_mean_head(train[0][handful].double(), train[1][handful], CLASSES, 0.07)
    expected = (train[0].double() @ weight.T + bias).softmax(1).numpy()
    assert head.regularisation is None
    assert head.predict(train[0]) == pytest.approx(expected, abs=1e-5)
    assert larger.regularisation in STRENGTHS
    fixed = fitted(train, [handful], None, (1.0,))[0]
    assert fixed.regularisation == 1.0, "who gives one strength gets it"


def test_what_is_not_in_the_subset_neither_chooses_nor_teaches_anything() -> None:
    train, patients = images(80, 20), grouped(80, 12, 0)
    subset = np.arange(40)
    head = fitted(train, [subset], None, STRENGTHS, "shared", patients)[0]
    rng = np.random.default_rng(1)
    other = train[0].clone(), train[1].copy()
    other[0][40:] += 100 * torch.randn(40, 20)
    other[1][40:] = rng.permutation(other[1][40:])
    strangers = patients.copy()
    strangers[40:] = rng.permutation(strangers[40:])
    again = fitted(other, [subset], None, STRENGTHS, "shared", strangers)[0]
    assert again.regularisation == head.regularisation
    assert torch.equal(again.weight, head.weight)
    assert torch.equal(again.bias, head.bias)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_scale_of_the_features_changes_nothing(factor: float) -> None:
    train, patients = images(50, 30), grouped(50, 12, 0)
    scaled = train[0] * factor, train[1]
    head = fitted(train, [np.arange(50)], None, STRENGTHS, "shared", patients)[0]
    other = fitted(scaled, [np.arange(50)], None, STRENGTHS, "shared", patients)[0]
    assert other.regularisation == head.regularisation
    assert other.predict(scaled[0]) == pytest.approx(head.predict(train[0]), abs=1e-5)


def test_a_feature_that_says_next_to_nothing_in_six_images_does_not_decide() -> None:
    """Its tiny spread happens to follow the classes of the subset; of new images it says nothing."""
    rng = np.random.default_rng(0)
    targets = np.tile(np.arange(3), 40)
    points = rng.normal(size=(120, 40)) + 3 * np.eye(3, 40)[targets]
    points[:, 3:] = 1e-4 * rng.normal(size=(120, 37))
    points[:6, 3:] += 1e-4 * np.eye(3, 3)[targets[:6]].repeat(13, 1)[:, :37] * 5
    data = torch.tensor(points, dtype=torch.float32), targets
    found = {
        kind: fitted(data, [np.arange(6)], None, (0.3,), kind)[0].predict(data[0][6:]).argmax(1)
        for kind in ("shared", "each")
    }
    right = {kind: (predicted == targets[6:]).mean() for kind, predicted in found.items()}
    assert right["shared"] > 0.9
    assert right["each"] < 0.7


@pytest.mark.parametrize("strengths", [(), (0.0,), (0.1, -1.0), (float("inf"),), (float("nan"),)])
def test_strengths_that_are_not_above_zero_are_refused(strengths: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"--regularisations \[.*\]: give numbers above 0"):
        tiny(regularisations=strengths)


def test_classifiers_are_fitted_without_epochs() -> None:
    train, valid = images(40, 10), images(20, 10, seed=1)
    patients, config = np.arange(40).astype(object), tiny(regularisations=STRENGTHS, standardise="each")
    (classifier,) = fit_logistic(*train, patients, [np.arange(40)], HeldOut(*valid), CLASSES, config)
    head = fitted(train, [np.arange(40)], valid)[0]
    assert (classifier.predict(valid[0]) == head.predict(valid[0])).all()
    assert (classifier.best_epoch, classifier.history) == (0, [])
    assert classifier.valid_balanced_accuracy == head.valid_balanced_accuracy
    assert classifier.regularisation == head.regularisation


def test_classify_is_deterministic_and_seeds_differ_by_their_labels_only(store_path: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.safetensors"
    save_encoder(encoder, build(Card("test_resnet"), 1), Card("test_resnet", image_size=32))
    config = tiny(solver="logistic", init=str(encoder), encoder=None)
    first, second = (classify(store_path, tmp_path / name, config) for name in ("first", "second"))
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))
    one, two = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("first", "second"))
    assert one == two
    assert list(first["train_images"]) == [12, 12, 48, 48]
    assert (first["best_epoch"] == 0).all()
    predictions = pd.read_csv(tmp_path / "first" / "predictions.csv")
    columns = [name for name in predictions if name.startswith("p_")]
    whole = [part[columns].to_numpy() for _, part in predictions[predictions["fraction"] == 1].groupby("seed")]
    assert (whole[0] == whole[1]).all()
    assert len(pd.read_csv(tmp_path / "first" / "history.csv")) == 0
