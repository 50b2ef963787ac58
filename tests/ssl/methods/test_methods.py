"""What holds for every SSL method: it learns, two processes equal one, precision, and the books that it keeps."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from operators import WAITS, Operators
from processes import on_processes
from sonolearn.config import Method as MethodName
from sonolearn.config import OptimizerConfig
from sonolearn.ssl import optim as lars
from sonolearn.ssl.methods import METHODS, Method
from sonolearn.ssl.methods.moco import MoCo
from sonolearn.ssl.optim import set_learning_rate
from ssl_methods import NAMES, frames, make, small, without_batch_norm


def train(method: Method, steps: int, views: tuple[Tensor, Tensor], after_steps: bool = True) -> list[float]:
    """Losses of some steps on one batch, as the training loop takes them."""
    optimizer, losses = method.optimizer(), []
    for step in range(steps):
        set_learning_rate(optimizer, 1.0)
        loss, _ = method.train()(*views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if after_steps:
            method.after_step(step, steps)
        losses.append(float(loss.detach()))
    return losses


def views_for(name: MethodName, count: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    first, second = frames(count, seed=seed)
    return (first, first) if name == "autoencoder" else (first, second)


def test_every_name_of_the_command_line_has_its_class() -> None:
    assert tuple(METHODS) == NAMES


# The least that each loss can be on 8 frames. SimCLR: equal views, and frames at the corners of a simplex, whose
# cosines are -1/7. Barlow Twins and VICReg: 8 centred samples span 7 dimensions, so 32 features of variance 1 have
# squared (co)variances that add up to at least 32^2 / 7, 32 of it on the diagonal.
OFF_DIAGONAL = 32**2 / 7 - 32
LEAST = {
    "simclr": math.log(1 + 14 * math.exp((-1 / 7 - 1) / 0.5)),
    "barlow_twins": 0.0051 * OFF_DIAGONAL,
    "vicreg": 2 * OFF_DIAGONAL / 32,
}


@pytest.mark.parametrize("name", NAMES)
def test_it_overfits_eight_frames(name: MethodName) -> None:
    config = small(name, optimizer={"name": "adamw", "lr": 3e-3, "lr_batch": None}, batch_size=8)
    method = make(config)
    if isinstance(method, MoCo):
        # The keys of 8 frames would fill the queue, and be positives among the negatives: it keeps its random ones, and
        # the keys are those of another network, which start far from the queries.
        method.settings = replace(config.moco, temperature=0.1)
        method.momentum_encoder = make(config, seed=1).encoder.requires_grad_(False)
    losses = train(method, 60, views_for(name), after_steps=name != "moco")
    least = LEAST.get(name, 0.0)
    assert losses[-1] < least + 0.1 * (losses[0] - least), losses[::10]
    assert losses[-1] > 0.98 * least


@pytest.mark.parametrize("name", NAMES)
def test_what_it_logs_is_what_it_names_and_scalar(name: MethodName) -> None:
    loss, figures = make(small(name))(*views_for(name))
    assert tuple(figures) == METHODS[name].figures  # type: ignore[attr-defined]
    assert loss.ndim == 0
    assert all(value.ndim == 0 and not value.requires_grad for value in figures.values())


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_changes_nothing(name: MethodName) -> None:
    method = make(small(name)).eval()
    before = copy.deepcopy(method.state_dict())
    with torch.no_grad():
        method(*views_for(name))
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_smaller_last_batch_has_a_loss_of_the_same_scale(name: MethodName, count: int) -> None:
    method = make(small(name)).eval()
    whole, part = (float(method(*views_for(name, n))[0].detach()) for n in (16, count))
    assert 0.05 < part / whole < 20


@pytest.mark.parametrize("name", NAMES)
def test_in_bfloat16_the_loss_stays_near_and_is_float32(name: MethodName) -> None:
    method = make(small(name)).eval()
    expected, _ = method(*views_for(name))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method(*views_for(name))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_bfloat16_gives_loss_and_gradient_of_float32(name: MethodName) -> None:
    method = make(small(name)).cuda()
    views = tuple(view.cuda() for view in views_for(name, 16))
    found = []
    for enabled in (False, True):
        method.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=enabled):
            loss, _ = method(*views)
        loss.backward()
        found.append((loss.detach(), torch.cat([p.grad.flatten() for p in method.parameters() if p.requires_grad])))
    (loss, gradient), (half_loss, half_gradient) = found
    torch.testing.assert_close(half_loss, loss, rtol=0.05, atol=0.05)
    assert torch.cosine_similarity(half_gradient, gradient, dim=0) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_no_part_of_a_step_waits_for_the_values_of_a_gpu(name: MethodName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lars, "_on_cpu", lambda params: False)
    method = make(small(name))
    optimizer = method.optimizer()
    for step in range(2):
        with Operators() as operators:
            loss, _ = method.train()(*views_for(name))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(step, 4)
    assert not WAITS & set(operators.calls)


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_holds_all_that_changes(name: MethodName) -> None:
    one, other = make(small(name)), make(small(name), seed=1)
    train(one, 2, views_for(name))
    other.load_state_dict(one.state_dict())
    for step in (2, 3):
        views = views_for(name, seed=step)
        torch.testing.assert_close(other.train()(*views)[0], one.train()(*views)[0], rtol=0, atol=0)
        for method in (one, other):
            method.after_step(step, 4)
    assert all(torch.equal(value, one.state_dict()[key]) for key, value in other.state_dict().items())


def test_two_processes_equal_one_on_the_joined_batch() -> None:
    """Of every method: loss, gradients of all weights, and what changes after a step (momentum encoder, queue)."""
    on_processes(2, _compare_all)


def _compare_all(rank: int, count: int) -> None:
    for name in NAMES:
        try:
            _compare_with_joined_batch(rank, count, name)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def _compare_with_joined_batch(rank: int, count: int, name: MethodName) -> None:
    optimizer = OptimizerConfig(name="sgd", lr=0.01, lr_batch=None)
    alone = make(small(name, optimizer={"name": optimizer.name, "lr": optimizer.lr, "lr_batch": None}))
    # In float32 the order of sums alone moves single gradients by more than a per cent on some processors. Only what
    # comes before the losses, which compute in float32 anyway, is made finer.
    without_batch_norm(alone)
    for parameter in alone.parameters():
        parameter.data = parameter.data.double()
    together = copy.deepcopy(alone)
    ddp = nn.parallel.DistributedDataParallel(together, broadcast_buffers=False)
    steps = alone.optimizer(), together.optimizer()
    for step in range(2):
        first, second = (view.double() for view in views_for(name, 6, seed=step))
        share = slice(rank * 3, rank * 3 + 3)
        loss, figures = ddp(first[share], second[share])
        (loss * count).backward()
        with _one_process():
            expected, expected_figures = alone(first, second)
        expected.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(figures, expected_figures, rtol=1e-4, atol=1e-5)
        for parameter, other in zip(together.parameters(), alone.parameters(), strict=True):
            if other.grad is not None:
                torch.testing.assert_close(parameter.grad, other.grad, rtol=2e-3, atol=2e-5)
        for optimizer_of, method in zip(steps, (alone, together), strict=True):
            optimizer_of.step()
            optimizer_of.zero_grad()
            method.after_step(step, 2)
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[key], value, rtol=2e-3, atol=2e-5)


class _one_process:  # noqa: N801 - used like a function
    """While open, the package sees one process."""

    def __enter__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("sonolearn.ssl.devices.dist.get_world_size", lambda: 1)

    def __exit__(self, *error: object) -> None:
        self.patch.undo()
