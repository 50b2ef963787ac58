"""What trained classifiers share: class weights, batches, the choice of the epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from sonolearn.console import UserError
from sonolearn.planes.head import Best, LinearHead, PlaneClassifier, batches_of, class_weights, make_head, mean_loss


def test_class_weights_are_the_balanced_ones_of_scikit_learn() -> None:
    targets = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert class_weights(targets, 3).numpy() == pytest.approx(expected)


def test_a_class_without_images_has_weight_zero_and_changes_no_other() -> None:
    targets = np.array([0, 0, 2])
    assert class_weights(targets, 3).tolist() == pytest.approx([0.75, 0, 1.5])


@pytest.mark.parametrize(("count", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (2, [2]), (1, [1]), (4, [4])])
def test_no_batch_of_one_is_left_beside_others(count: int, sizes: list[int]) -> None:
    batches = batches_of(count, 4, seed=0, epoch=1)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(np.concatenate(batches)) == list(range(count))


def test_order_differs_between_epochs_and_seeds_and_repeats_otherwise() -> None:
    first = batches_of(50, 50, 0, 1)[0].tolist()
    assert first == batches_of(50, 50, 0, 1)[0].tolist()
    assert first != batches_of(50, 50, 0, 2)[0].tolist()
    assert first != batches_of(50, 50, 1, 1)[0].tolist()


def test_head_comes_from_its_seed_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    heads = [make_head(4, 2, seed).weight for seed in (0, 0, 1)]
    assert torch.rand(1) == expected
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_best_epoch_is_the_earliest_of_the_best_and_its_weights_come_back() -> None:
    model, best, truth = torch.nn.Linear(1, 1), Best(), np.array([0, 0, 1, 1])
    right = {1: 2, 2: 3, 3: 4, 4: 4, 5: 3}  # images right in each epoch
    for epoch, count in right.items():
        torch.nn.init.constant_(model.weight, epoch)
        predicted = np.where(np.arange(4) < count, truth, 1 - truth)
        best.offer(model, epoch, 0.5, truth, np.eye(2, dtype=np.float32)[predicted])
    torch.nn.init.constant_(model.weight, 99)
    best.restore(model)
    assert (best.epoch, best.score, model.weight.item()) == (3, 1.0, 3.0)
    assert [row["valid_balanced_accuracy"] for row in best.history] == [0.5, 0.75, 1.0, 1.0, 0.75]


def test_balanced_accuracy_and_not_accuracy_chooses_the_epoch() -> None:
    model, best = torch.nn.Linear(1, 1), Best()
    truth = np.array([0, 0, 0, 0, 1])
    for epoch, predicted in ((1, [0, 0, 0, 0, 0]), (2, [0, 0, 1, 1, 1])):  # accuracy 0.8 and 0.6
        best.offer(model, epoch, 0.5, truth, np.eye(2, dtype=np.float32)[predicted])
    assert best.epoch == 2


def test_a_loss_that_is_not_finite_names_its_step() -> None:
    losses = [torch.tensor(v) for v in (1.0, float("nan"), 1.0)]
    with pytest.raises(UserError, match="step 12"):
        mean_loss(losses, last_step=13)


def test_a_network_that_starts_from_a_head_has_its_logits_and_gives_it_back() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 6, generator=generator) + 50
    weight, bias = torch.randn(3, 6, generator=generator), torch.tensor([0.3, -1.0, -torch.inf])
    weight[:, 4] = 0  # of a feature that is constant in the subset: its scale is 0
    head = LinearHead(features.mean(0), weight, bias)
    scale = torch.tensor([2.0, 0.5, 1.0, 100.0, 0.0, 1e-3])
    network = PlaneClassifier(torch.nn.Identity(), 6, 3, 0.5, seed=0).eval()
    network.start_from(head, scale)
    expected = ((features - head.centre) @ weight.T + bias).softmax(1)
    assert network(features).softmax(1).detach().numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert (network(features).softmax(1)[:, 2] == 0).all()
    assert all(torch.isfinite(p).all() for p in network.parameters())  # a bias of -inf could not be averaged
    again = network.linear()
    found = ((features - again.centre) @ again.weight.T + again.bias).softmax(1)
    assert found.detach().numpy() == pytest.approx(expected.numpy(), abs=1e-5)
