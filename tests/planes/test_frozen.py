"""Frozen encoders: features, linear heads and nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from planes.labelled_store import tiny
from sonolearn.config import ClassifyConfig, Standardise
from sonolearn.console import UserError
from sonolearn.planes.head import HeldOut
from sonolearn.planes.knn import fit_knn
from sonolearn.planes.linear import fit_linear, standardisation
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import Card, build
from sonolearn.ssl.features import extract, knn_votes


def clouds(n: int, separation: float, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Three Gaussian clouds in 8 dimensions and their classes."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    points = rng.normal(size=(n, 8)) + separation * np.eye(3, 8)[targets]
    return torch.tensor(points, dtype=torch.float32), targets


def study(**options: object) -> ClassifyConfig:
    """The study's linear evaluation, shortened."""
    return tiny("linear", "study", **options)


def test_features_leave_every_weight_and_statistic_of_the_encoder_as_it_was() -> None:
    card = Card("test_resnet", mean=0.2, std=0.3)
    encoder = build(card, seed=0).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert any("running_mean" in name for name in before)
    images = np.random.default_rng(0).integers(0, 256, (140, 32, 32)).astype(np.uint8)
    features = extract(encoder, card, images, make_fabric("cpu", "32-true"))
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    assert not encoder.training
    # The features of an image do not depend on its batch, and use the card's normalisation.
    alone = encoder(torch.tensor((images[139] / 255 - 0.2) / 0.3, dtype=torch.float32)[None, None])
    assert torch.allclose(features[139], alone[0], atol=1e-4)


def test_standardisation_equals_scikit_learn_and_silences_constant_features() -> None:
    features = torch.randn(50, 4) * torch.tensor([1.0, 5.0, 0.5, 1.0]) + 3
    features[:, 3] = 0.7
    shift, scale = standardisation(features, "each")
    found = (features - shift) * scale
    assert found[:, :3].numpy() == pytest.approx(StandardScaler().fit_transform(features[:, :3].numpy()), abs=1e-3)
    assert ((torch.full((1, 4), 9.0) - shift) * scale)[0, 3] == 0


def test_shared_standardisation_divides_by_one_spread_the_root_of_the_mean_variance() -> None:
    features = torch.randn(50, 4) * torch.tensor([1.0, 5.0, 0.5, 0.0]) + torch.tensor([3.0, -7.0, 0.0, 9.0])
    shift, scale = standardisation(features, "shared")
    assert shift.numpy() == pytest.approx(features.numpy().mean(0), abs=1e-5)
    spread = np.sqrt(features.numpy().astype(float).var(0).mean())
    assert scale.numpy() == pytest.approx(np.full(4, 1 / spread))


def test_a_feature_that_hardly_varies_in_six_images_is_made_loud_by_its_own_spread_and_not_by_a_shared_one() -> None:
    features = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    features[:, 0] *= 1e-3
    loudness = {}
    for kind in ("each", "shared", "none"):
        shift, scale = standardisation(features, kind)
        loudness[kind] = ((features - shift) * scale).std(0)
    assert loudness["each"][0] == pytest.approx(loudness["each"][1].item(), rel=1e-3)
    assert loudness["shared"][0] < 2e-3 * loudness["shared"][1:].median()
    # One factor for all: the features keep their proportions.
    assert torch.allclose(loudness["shared"] / loudness["none"], (loudness["shared"] / loudness["none"])[:1])


def test_without_standardisation_features_stay_as_they_are() -> None:
    features = torch.randn(6, 3) + 5
    shift, scale = standardisation(features, "none")
    assert torch.equal((features - shift) * scale, features)


@pytest.mark.parametrize("kind", ["each", "shared"])
def test_images_that_are_all_the_same_get_scale_zero(kind: Standardise) -> None:
    _, scale = standardisation(torch.full((5, 3), 0.3), kind)
    assert (scale == 0).all()


@pytest.mark.parametrize("kind", ["each", "shared"])
@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e4])
def test_standardised_features_do_not_depend_on_their_scale(factor: float, kind: Standardise) -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) + 3
    (shift, scale), (scaled_shift, scaled_scale) = (standardisation(x, kind) for x in (features, features * factor))
    assert torch.allclose((features * factor - scaled_shift) * scaled_scale, (features - shift) * scale, atol=1e-3)
    assert (scale > 0).all()


@pytest.mark.parametrize("standardise", ["shared", "each", "none"])
def test_linear_head_separates_what_can_be_separated(standardise: str) -> None:
    train, valid, test = (clouds(300, 12, seed) for seed in range(3))
    fitted = fit_linear(*train, HeldOut(*valid), 3, study(epochs=40, lr=0.03, standardise=standardise), seed=0)
    assert (fitted.predict(test[0]).argmax(1) == test[1]).mean() > 0.95
    assert fitted.valid_balanced_accuracy == 1


def test_linear_head_on_shuffled_labels_is_at_chance() -> None:
    train, valid, test = (clouds(300, 12, seed) for seed in range(3))
    rng = np.random.default_rng(0)
    wrong = rng.permutation(train[1])
    fitted = fit_linear(train[0], wrong, HeldOut(valid[0], rng.permutation(valid[1])), 3, study(epochs=5), seed=0)
    assert abs((fitted.predict(test[0]).argmax(1) == rng.permutation(test[1])).mean() - 1 / 3) < 0.1


def test_linear_head_is_a_function_of_its_arguments() -> None:
    train, valid = clouds(40, 2, 0), clouds(20, 2, 1)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))  # whatever was drawn before must not matter
        runs.append(fit_linear(*train, HeldOut(*valid), 3, study(), seed).predict(valid[0]))
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


def test_linear_head_stops_at_max_steps() -> None:
    train, valid = clouds(40, 2, 0), clouds(20, 2, 1)
    fitted = fit_linear(*train, HeldOut(*valid), 3, study(epochs=10, max_steps=4, batch_size=16), 0)
    assert [row["epoch"] for row in fitted.history] == [1, 2]  # 3 + 1 steps


def test_linear_loss_that_is_not_finite_is_one_sentence() -> None:
    train = clouds(40, 2, 0)
    train[0][7, 3] = float("nan")
    with pytest.raises(UserError, match="not finite at step 1"):
        fit_linear(*train, HeldOut(*clouds(20, 2, 1)), 3, study(batch_size=40), 0)


def test_knn_votes_equal_a_plain_loop() -> None:
    (train, targets), (queries, _) = clouds(30, 1, 0), clouds(7, 1, 1)
    found = knn_votes(train, torch.tensor(targets), queries, 4, neighbours=5, temperature=0.1).numpy()
    a, b = train.numpy().astype(float), queries.numpy().astype(float)
    for row, query in zip(found, b, strict=True):
        similarity = a @ query / np.linalg.norm(a, axis=1) / np.linalg.norm(query)
        votes = np.zeros(4)
        for index in np.argsort(-similarity)[:5]:
            votes[targets[index]] += np.exp(similarity[index] / 0.1)
        assert row == pytest.approx(votes / votes.sum(), abs=1e-5)


def test_knn_with_fewer_images_than_neighbours_lets_all_vote() -> None:
    train, targets = clouds(3, 10, 0)
    fitted = fit_knn(train, targets, None, 3, tiny("knn", neighbours=20))
    assert (fitted.predict(train).argmax(1) == targets).all()
    assert np.isnan(fitted.valid_balanced_accuracy)
    assert fitted.best_epoch == 0


def test_knn_survives_a_low_temperature() -> None:
    train, targets = clouds(30, 3, 0)
    assert torch.isfinite(knn_votes(train, torch.tensor(targets), train, 3, 5, temperature=1e-4)).all()
