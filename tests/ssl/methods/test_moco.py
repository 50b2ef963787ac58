"""InfoNCE against the paper's formula and against lightly; the queue and the momentum encoder."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.nn.functional import normalize

from operators import WAITS, Operators
from sonolearn.ssl.methods.moco import MoCo, info_nce
from ssl_methods import SHAPES, embeddings, frames, make, small


def reference(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the paper in float64, query by query."""
    losses = []
    for one, key in zip(q.double(), k.double(), strict=True):
        others = torch.stack([one @ n / (one.norm() * n.norm()) for n in queue.double()])
        own = one @ key / (one.norm() * key.norm())
        losses.append(-own / temperature + torch.cat([own[None], others]).div(temperature).exp().sum().log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("count", "features"), SHAPES)
@pytest.mark.parametrize("peer", ["lightly", "formula"])
@pytest.mark.parametrize("keys", [1, 37])
def test_value_and_gradient_equal(count: int, features: int, peer: str, keys: int) -> None:
    q, k = embeddings(count, features)
    q.requires_grad_()
    queue = normalize(torch.randn(keys, features, generator=torch.Generator().manual_seed(1)), dim=1)
    losses, _ = info_nce(q, k, queue, 0.2)
    (ours,) = torch.autograd.grad(losses.mean(), q)
    if peer == "lightly":
        theirs = NTXentLoss(0.2, memory_bank_size=(keys, features))
        theirs.memory_bank.bank, theirs.memory_bank.bank_ptr = queue.clone(), torch.zeros(1, dtype=torch.long)
        expected = theirs(q, k)
    else:
        expected = reference(q, k, queue, 0.2)
    (other,) = torch.autograd.grad(expected, q)
    torch.testing.assert_close(losses.mean().double(), expected.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-5)


def test_a_positive_like_the_query_among_negatives_at_right_angles_has_the_closed_form() -> None:
    z = torch.eye(8)
    losses, hits = info_nce(z[:2], z[:2], z[2:], temperature=0.5)
    assert losses.tolist() == pytest.approx([math.log(math.e**2 + 6) - 2] * 2)
    assert hits.tolist() == [1, 1]


def steps(method: MoCo, count: int, size: int) -> list[Tensor]:
    """The normalised keys of `count` steps of `size` frames each."""
    keys = []
    for step in range(count):
        first, second = frames(size, seed=step)
        method(first, second)
        keys.append(method.fresh_keys[-1].clone())
        method.after_step(step, count)
    return keys


def test_the_queue_is_a_ring_that_holds_the_latest_keys_whatever_the_batches() -> None:
    method = make(small("moco", moco={"projector": (8, 4), "queue": 10}, batch_size=4))
    assert isinstance(method, MoCo)
    keys = torch.cat([*steps(method, 3, 4), *steps(method, 1, 3)])
    assert len(keys) == 15
    start = int(method.oldest)
    assert start == 5
    in_order = torch.cat([method.queue[start:], method.queue[:start]])
    torch.testing.assert_close(in_order, keys[-10:])


def test_a_new_queue_has_keys_of_length_one() -> None:
    queue = make(small("moco")).queue
    torch.testing.assert_close(queue.norm(dim=1), torch.ones(len(queue)))


def test_the_accumulated_parts_of_a_step_all_come_into_the_queue() -> None:
    method = make(small("moco"))
    assert isinstance(method, MoCo)
    for seed in (0, 1):
        method(*frames(4, seed=seed))
    method.after_step(0, 10)
    assert int(method.oldest) == 8


def test_validation_leaves_queue_and_momentum_encoder_alone() -> None:
    method = make(small("moco")).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method(*frames())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert not method.fresh_keys


def test_the_projector_is_that_of_the_study() -> None:
    projector = make(small("moco", moco={"projector": (2048, 128), "queue": 16})).projector
    assert [type(layer).__name__ for layer in projector] == ["Linear", "ReLU", "Linear"]
    assert all(layer.bias is not None for layer in (projector[0], projector[2]))


def test_the_queue_is_gone_through_once_forward_and_once_backward() -> None:
    queries, keys = embeddings(5, 6)
    queue = normalize(torch.randn(50, 6), dim=1)
    with Operators() as operators:
        info_nce(queries.requires_grad_(), keys, queue, 0.5)[0].mean().backward()
    assert operators.calls["mm"] == 2
    # The similarities; the queue itself (50 x 6) is not copied.
    assert operators.largest == 5 * 51 < queue.numel()
    assert not WAITS & set(operators.calls)
