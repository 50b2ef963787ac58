"""Heads: the small networks between an encoder and its loss, thrown away after pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn


def mlp(
    features: int,
    widths: Sequence[int],
    norm: bool = True,
    last: Literal["linear", "linear with bias", "norm"] = "linear",
) -> nn.Sequential:
    """Linear layers with ReLU between them.

    Args:
        features: F, the width of the input.
        widths: of the layers, the output last.
        norm: batch norm before every ReLU; the linear layers before it then have no bias, which it would cancel.
        last: what ends it: a linear layer without or with bias, or one without bias and a batch norm after it.

    Returns:
        A module from (N, F) to (N, widths[-1]).
    """
    layers: list[nn.Module] = []
    for before, width in pairwise((features, *widths[:-1])):
        layers += [nn.Linear(before, width, bias=not norm)]
        layers += [nn.BatchNorm1d(width)] if norm else []
        layers += [nn.ReLU(inplace=True)]
    before = widths[-2] if len(widths) > 1 else features
    layers += [nn.Linear(before, widths[-1], bias=last == "linear with bias")]
    layers += [nn.BatchNorm1d(widths[-1])] if last == "norm" else []
    return nn.Sequential(*layers)
