"""The decoder mirrors any convolutional encoder at any input size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sonolearn.console import UserError
from sonolearn.ssl.encoders import Card, build
from sonolearn.ssl.methods.autoencoder import mirror
from ssl_methods import make, small


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv2_035", "convnext_atto", "regnetx_002"])
@pytest.mark.parametrize("size", [32, 50, 75])
def test_it_gives_an_image_of_the_inputs_size(name: str, size: int) -> None:
    encoder = build(Card(name), seed=0)
    decoder = mirror(encoder, size)
    with torch.no_grad():
        assert decoder(encoder.eval().forward_features(torch.zeros(2, 1, size, size))).shape == (2, 1, size, size)


def test_each_halving_of_a_resnet_is_undone_with_the_channels_of_its_stage() -> None:
    decoder = mirror(build(Card("resnet18"), seed=0), 224)
    assert [block.size for block in decoder.blocks] == [14, 28, 56, 112, 224]
    assert [block.shortcut[0].out_channels for block in decoder.blocks] == [256, 128, 64, 64, 32]


def test_without_the_max_pool_there_is_a_doubling_less() -> None:
    whole, small_stem = (mirror(build(Card("resnet18", small_stem=s), seed=0), 64) for s in (False, True))
    assert len(whole.blocks) == len(small_stem.blocks) + 1


def test_doubling_is_a_transposed_convolution_and_the_width_can_be_chosen() -> None:
    encoder = build(Card("resnet10t"), seed=0)
    full, half = mirror(encoder, 64), mirror(encoder, 64, width=0.5)
    for decoder in (full, half):
        kinds = [type(m) for m in decoder.modules()]
        assert kinds.count(nn.ConvTranspose2d) == len(decoder.blocks)
    channels = [[b.shortcut[0].out_channels for b in d.blocks] for d in (full, half)]
    assert channels[1] == [max(8, c // 2) for c in channels[0]]


def test_making_it_changes_nothing_of_the_encoder() -> None:
    encoder = build(Card("resnet10t"), seed=0).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    mirror(encoder, 64)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", ["test_vit", "mobilenetv3_small_050"])
def test_an_encoder_whose_features_are_not_its_pooled_map_is_refused(name: str) -> None:
    config = small("autoencoder", encoder=name, image_size=160 if name == "test_vit" else 32)
    with pytest.raises(UserError, match="does not end in a feature map"):
        make(config)


def test_weights_behind_the_map_are_frozen_since_nothing_trains_them() -> None:
    method = make(small("autoencoder", encoder="convnext_atto"))
    first = torch.randn(2, 1, 32, 32)
    method(first, first)[0].backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert any(not p.requires_grad for p in method.encoder.parameters())
