"""SSL losses, the momentum update and the LARS step against the peers' own modules for the same work.

Ours and lightly's loss get the same embeddings (two views of 256 frames), and give loss and gradients: 8192 features
for Barlow Twins and VICReg, 128 for SimCLR and MoCo (4096 keys), 256 for BYOL, as in the study. The momentum update
and the step of LARS are those of a whole ResNet-50; the peer of the latter is timm's LARS.

All take turns, in float32. On a CPU one thread computes, and the times are those of the processor, so that what else
runs counts little; on a GPU they are what passes on the clock.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import timm
import torch
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models.utils import update_momentum
from timm.optim.lars import Lars
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.figure import Row, device, in_turns, run_script, speed
from sonolearn.config import OptimizerConfig, VICRegConfig
from sonolearn.ssl.methods.barlow_twins import barlow_twins_loss
from sonolearn.ssl.methods.byol import both_ways
from sonolearn.ssl.methods.method import follow, frozen_copy
from sonolearn.ssl.methods.moco import info_nce
from sonolearn.ssl.methods.simclr import nt_xent
from sonolearn.ssl.methods.vicreg import vicreg_loss
from sonolearn.ssl.optim import make_optimizer

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Callable[[], object], Callable[[], object]]

KEYS = 4096
LARS = OptimizerConfig("lars", lr_biases=0.0048)


def rows(quick: bool) -> Iterator[Row]:
    """A row for each loss, then the momentum update and the optimiser's step."""
    count, wide, narrow, encoder = (16, 64, 8, "test_resnet") if quick else (256, 8192, 128, "resnet50")
    few, many = (1, 2) if quick else (2, 9)
    computing = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, (features, target, ours, theirs) in losses(count, wide, narrow).items():
            views = [torch.randn(count, features, device=device()) for _ in range(2)]
            pair = backward(ours, views), backward(theirs, views)
            repeats, calls = (few, 1) if features == wide else (many, 20)
            yield row(
                f"{name} loss, {count} x {features}, forward and backward", "lightly", pair, repeats, calls, target
            )
        yield row(f"momentum update, {encoder}", "lightly", momentum(encoder), many, 1, 1)
        yield row(f"LARS step, {encoder}", "timm", optimisers(encoder), many, 1, 1)
    finally:
        torch.set_num_threads(computing)


def losses(count: int, wide: int, narrow: int) -> dict[str, tuple[int, float, Loss, Loss]]:
    """Number of features, target, our loss and lightly's."""
    queue = normalize(torch.randn(KEYS, narrow, device=device()), dim=1)
    t1, t2 = (torch.randn(count, 2 * narrow, device=device()) for _ in range(2))
    weights, cosine, with_queue = VICRegConfig(), NegativeCosineSimilarity(), moco_with(queue)
    return {
        "Barlow Twins": (wide, 10, lambda a, b: barlow_twins_loss(a, b, 0.0051)[0], BarlowTwinsLoss(0.0051)),
        "VICReg": (wide, 10, lambda a, b: vicreg_loss(a, b, weights)[0], VICRegLoss()),
        "SimCLR": (narrow, 1, lambda a, b: nt_xent(a, b, 0.5)[0], NTXentLoss(0.5)),
        # The second views are MoCo's keys: no gradient.
        f"MoCo ({KEYS} keys)": (
            narrow, 1, lambda a, b: info_nce(a, b.detach(), queue, 0.5)[0].mean(),
            lambda a, b: with_queue(a, b.detach()),
        ),
        # The cosines of lightly, scaled to the paper's 2 - 2 cos, so that values and gradients are equal.
        "BYOL": (
            2 * narrow, 1, lambda a, b: both_ways(a, b, t1, t2).mean(),
            lambda a, b: 4 + 2 * (cosine(a, t2) + cosine(b, t1)),
        ),
    }  # fmt: skip


def moco_with(queue: Tensor) -> NTXentLoss:
    """MoCo's loss of lightly, its memory bank filled with the keys of `queue`."""
    loss = NTXentLoss(0.5, memory_bank_size=tuple(queue.shape)).to(device())
    loss.memory_bank.bank = queue.clone()
    loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    return loss


def backward(loss: Loss, views: list[Tensor]) -> Callable[[], tuple[Tensor, Tensor | None]]:
    """A function that computes a loss and its gradients, and gives the loss and the first view's gradient."""

    def run() -> tuple[Tensor, Tensor | None]:
        one, other = (z.detach().requires_grad_() for z in views)
        value = loss(one, other)
        value.backward()
        return value.detach(), one.grad

    return run


def momentum(encoder: str) -> Pair:
    """A momentum update of a whole encoder."""
    online: nn.Module = timm.create_model(encoder, num_classes=0).to(device())
    target = frozen_copy(online)
    return lambda: follow(target, online, 0.99), lambda: update_momentum(online, target, 0.99)


def optimisers(encoder: str) -> Pair:
    """A step of LARS on a whole encoder: ours, and timm's with the same groups."""
    model: nn.Module = timm.create_model(encoder, num_classes=0).to(device(), memory_format=torch.channels_last)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    copied = copy.deepcopy(model)
    for p, other in zip(model.parameters(), copied.parameters(), strict=True):
        other.grad = p.grad.clone()
    groups = [dict(group) for group in make_optimizer(copied, LARS, 256).param_groups]
    return make_optimizer(model, LARS, 256).step, Lars(groups, momentum=LARS.momentum, trust_coeff=0.001).step


def row(figure: str, peer: str, pair: Pair, repeats: int, calls: int, target: float) -> Row:
    """The row of two functions; a turn is several calls where one is over before a clock can tell."""
    clock = time.perf_counter if device() == "cuda" else time.process_time
    found = in_turns({"ours": several(pair[0], calls), "theirs": several(pair[1], calls)}, repeats, clock)
    return speed(figure, found["ours"] / calls, peer, found["theirs"] / calls, target)


def several(function: Callable[[], object], calls: int) -> Callable[[], None]:
    """`calls` calls of a function."""

    def run() -> None:
        for _ in range(calls):
            function()

    return run


if __name__ == "__main__":
    run_script(rows, __doc__)
