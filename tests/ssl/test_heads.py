"""Heads have the layers of lightly's, which are those of the papers."""

from __future__ import annotations

import pytest
from lightly.models.modules import heads as peer
from torch import nn

from sonolearn.ssl.methods.method import mlp

OURS_AND_THEIRS = [
    (mlp(8, (16, 4), last="norm"), peer.SimCLRProjectionHead(8, 16, 4)),
    (mlp(8, (16, 4), norm=False, last="linear with bias"), peer.MoCoProjectionHead(8, 16, 4)),
    (mlp(8, (16, 4), last="linear with bias"), peer.BYOLProjectionHead(8, 16, 4)),
    (mlp(8, (16, 4), last="linear with bias"), peer.BYOLPredictionHead(8, 16, 4)),
]


def shape(layer: nn.Module) -> tuple[str, list[tuple[int, ...]]]:
    return type(layer).__name__, [tuple(p.shape) for p in layer.parameters()]


@pytest.mark.parametrize(("ours", "theirs"), OURS_AND_THEIRS, ids=["simclr", "moco", "byol", "predictor"])
def test_layers_equal_lightlys(ours: nn.Sequential, theirs: nn.Module) -> None:
    assert [shape(layer) for layer in ours] == [shape(layer) for layer in theirs.layers]


@pytest.mark.parametrize("theirs", [peer.BarlowTwinsProjectionHead(8, 16, 4), peer.VICRegProjectionHead(8, 16, 4, 3)])
def test_the_information_methods_head_is_lightlys_but_for_a_last_bias_that_their_authors_do_not_have(theirs) -> None:
    *before, last = [shape(layer) for layer in theirs.layers]
    assert [shape(layer) for layer in mlp(8, (16, 16, 4))] == [*before, (last[0], last[1][:1])]


def test_one_width_is_one_linear_layer() -> None:
    assert [shape(layer) for layer in mlp(8, (4,))] == [("Linear", [(4, 8)])]
