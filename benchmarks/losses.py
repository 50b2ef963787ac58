"""SSL losses and momentum updates against lightly's own modules for the same work: forward and backward, in one run.

    python benchmarks/ssl_methods.py [--device cuda] [--count 256] [--features 8192]

Prints the machine, then milliseconds and the ratio lightly / ours (above 1: ours is faster). Each pair is timed in
turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import lightly
import timm
import torch
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models.utils import update_momentum
from torch import Tensor, nn
from torch.nn.functional import normalize

from sonolearn.config import VICRegConfig
from sonolearn.runs import machine
from sonolearn.ssl.methods.barlow_twins import barlow_twins_loss
from sonolearn.ssl.methods.byol import regression
from sonolearn.ssl.methods.moco import info_nce
from sonolearn.ssl.methods.simclr import nt_xent
from sonolearn.ssl.methods.vicreg import vicreg_loss
from sonolearn.ssl.momentum import follow, frozen_copy

QUEUE = 4096
Pair = tuple[Callable[[], object], Callable[[], object]]


def losses(count: int, wide: int, narrow: int, device: str) -> dict[str, Pair]:
    """Ours and lightly's, at the study's widths: `wide` for the information methods, `narrow` for the others."""
    queue = normalize(torch.randn(QUEUE, narrow, device=device), dim=1)
    with_queue = NTXentLoss(0.5, memory_bank_size=(QUEUE, narrow)).to(device)
    with_queue.memory_bank.bank = queue.clone()
    with_queue.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    cosine, weights = NegativeCosineSimilarity(), VICRegConfig()
    barlow, vicreg, contrast = BarlowTwinsLoss(0.0051), VICRegLoss(), NTXentLoss(0.5)
    z1, z2 = (torch.randn(count, wide, device=device) for _ in range(2))
    y1, y2 = (torch.randn(count, narrow, device=device) for _ in range(2))
    key = y2.detach()
    return {
        f"Barlow Twins, {count} x {wide}": (
            backward(lambda a, b: barlow_twins_loss(a, b, 0.0051)[0], z1, z2), backward(barlow, z1, z2),
        ),
        f"VICReg, {count} x {wide}": (
            backward(lambda a, b: vicreg_loss(a, b, weights)[0], z1, z2), backward(vicreg, z1, z2),
        ),
        f"SimCLR, {count} x {narrow}": (
            backward(lambda a, b: nt_xent(a, b, 0.5)[0], y1, y2), backward(contrast, y1, y2),
        ),
        f"MoCo, {count} x {narrow}, {QUEUE} keys": (
            backward(lambda a, _: info_nce(a, key, queue, 0.5)[0].mean(), y1, y2),
            backward(lambda a, _: with_queue(a, key), y1, y2),
        ),
        f"BYOL, {count} x {narrow}": (
            backward(lambda a, b: (regression(a, key) + regression(b, key)).mean(), y1, y2),
            backward(lambda a, b: cosine(a, key) + cosine(b, key), y1, y2),
        ),
    }  # fmt: skip


def momentum(encoder: str, device: str) -> Pair:
    """A momentum update of a whole encoder."""
    online: nn.Module = timm.create_model(encoder, num_classes=0).to(device)
    target = frozen_copy(online)
    return lambda: follow(target, online, 0.99), lambda: update_momentum(online, target, 0.99)


def backward(loss: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> Callable[[], None]:
    """A function that computes a loss and its gradients."""

    def run() -> None:
        leaves = [z.detach().requires_grad_() for z in (one, other)]
        loss(*leaves).backward()

    return run


def milliseconds(pair: Pair, repeats: int, device: str) -> tuple[float, float]:
    """Medians of both, measured in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 2):
        for function, found in zip(pair, times, strict=True):
            started = time.perf_counter()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat >= 2:
                found.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--features", type=int, default=8192)
    parser.add_argument("--narrow", type=int, default=128)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if options.device == "cuda" else machine()["processor"]
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, lightly {lightly.__version__}\n")
    print("| work | ours, ms | lightly, ms | lightly / ours |\n|---|---|---|---|")
    pairs = losses(options.count, options.features, options.narrow, options.device)
    pairs[f"momentum update, {options.encoder}"] = momentum(options.encoder, options.device)
    for name, pair in pairs.items():
        ours, theirs = milliseconds(pair, options.repeats, options.device)
        print(f"| {name} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} |")


if __name__ == "__main__":
    main()
