"""BYOL's regression against the paper's formula and against lightly, and its target network."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch.nn.functional import cosine_similarity, normalize
from torch.profiler import ProfilerActivity, profile

from sonolearn.ssl.methods.byol import both_ways, regression
from ssl_methods import SHAPES, embeddings, frames, make, small


@pytest.mark.parametrize(("count", "features"), SHAPES)
@pytest.mark.parametrize("peer", ["lightly", "formula"])
def test_value_and_gradient_equal(count: int, features: int, peer: str) -> None:
    prediction, target = embeddings(count, features)
    prediction.requires_grad_()
    loss = regression(prediction, target).mean()
    (ours,) = torch.autograd.grad(loss, prediction)
    if peer == "lightly":
        # Its loss is the mean of -cos; the paper's is 2 - 2 cos.
        expected = 2 + 2 * NegativeCosineSimilarity()(prediction, target)
    else:
        p, t = normalize(prediction.double(), dim=1), normalize(target.double(), dim=1)
        expected = (p - t).square().sum(dim=1).mean()
    (theirs,) = torch.autograd.grad(expected, prediction)
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_it_is_0_for_equal_2_for_unrelated_and_4_for_opposite_directions() -> None:
    z = torch.eye(3)
    assert regression(z, 5 * z).tolist() == pytest.approx([0, 0, 0])
    assert regression(z, z.roll(1, 0)).tolist() == pytest.approx([2, 2, 2])
    assert regression(z, -z).tolist() == pytest.approx([4, 4, 4])


@pytest.mark.parametrize("length", [0.0, 1e-6, 1e-3, 1.0, 1e8])
def test_value_and_gradient_are_those_of_torchs_cosine_at_any_length(length: float) -> None:
    prediction, target = embeddings(9, 33)
    prediction = (prediction * length).requires_grad_()
    losses = regression(prediction, target), 2 - 2 * cosine_similarity(prediction, target, dim=1)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-6)
    ours, theirs = (torch.autograd.grad(loss.mean(), prediction)[0] for loss in losses)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))


def test_both_ways_are_the_two_regressions() -> None:
    (p1, p2), (t1, t2) = embeddings(5, 12), embeddings(5, 12, seed=1)
    torch.testing.assert_close(both_ways(p1, p2, t1, t2), regression(p1, t2) + regression(p2, t1))


def test_both_ways_take_three_sums_over_the_features() -> None:
    """Products, and squares of predictions and targets; both views at once, and nothing is copied to be normalised."""
    (p1, p2), (t1, t2) = embeddings(5, 12), embeddings(5, 12, seed=1)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        both_ways(p1, p2, t1, t2)
    calls = {event.key: event.count for event in seen.key_averages()}
    # Three over features, and one that adds the two ways.
    assert calls["aten::sum"] == 4
    assert "aten::div" not in calls
    assert "aten::linalg_vector_norm" not in calls


def test_both_views_predict_each_other() -> None:
    method = make(small("byol")).eval()
    first, second = frames()
    torch.testing.assert_close(method(first, second)[0], method(second, first)[0])


def test_no_gradient_reaches_the_target() -> None:
    method = make(small("byol"))
    method(*frames())[0].backward()
    assert all(p.grad is None for n, p in method.named_parameters() if n.startswith("target"))
    assert all(p.grad is not None for n, p in method.named_parameters() if not n.startswith("target"))


def test_heads_are_those_of_the_study() -> None:
    method = make(small("byol", byol={"projector": (1024, 256), "predictor": (1024, 256)}))
    for head in (method.projector, method.predictor):
        assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert head[-1].bias is not None
