"""Encoders: one grey channel equals three, files say what they are, and wrong ones are refused with a sentence."""

from __future__ import annotations

import dataclasses
import doctest
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from operators import Operators
from sonolearn.config import EncoderConfig, PretrainConfig
from sonolearn.console import UserError
from sonolearn.ssl import encoders
from sonolearn.ssl.encoders import (
    Card,
    build,
    feature_count,
    load_encoder,
    load_file,
    normalise,
    read_card,
    save_encoder,
)
from sonolearn.ssl.pretrain import pretrain

# One of each family that users of the field name: residual, mobile, dense, modern convolutional, transformer.
FAMILIES = [
    ("resnet18", {"channels": [8, 8, 16, 16]}),
    ("mobilenetv3_small_050", {}),
    ("tf_efficientnet_lite0", {}),
    ("densenet121", {"growth_rate": 4, "block_config": [2, 2, 2, 2]}),
    ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 16, 16, 32]}),
    ("vit_tiny_patch16_224", {"img_size": 64, "embed_dim": 24, "depth": 2}),
]


def grey_frames(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "arguments"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_any_timm_backbone_takes_one_channel_and_gives_its_features(name, arguments) -> None:
    encoder = build(Card(name, arguments), seed=0).eval()
    features = encoder(normalise(grey_frames(), 0.5, 0.25))
    assert features.shape == (2, feature_count(encoder))
    assert torch.isfinite(features).all()


def test_activations_stay_channels_last_from_one_grey_channel_on() -> None:
    """One channel lies the same in both orders; convolutions must not fall back to channels first."""
    encoder, orders = build(Card("resnet18", {"channels": [8, 8, 16, 16]}), seed=0), list[bool]()
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _, __, out: orders.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    encoder(normalise(grey_frames(), 0.5, 0.25)).sum().backward()
    weights = [module.weight for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert len(orders) == len(weights) > 16
    assert all(orders)
    assert all(w.grad.is_contiguous(memory_format=torch.channels_last) for w in weights)


def test_frames_are_made_floats_once_and_normalised_in_place() -> None:
    pairs = torch.stack([grey_frames(), grey_frames()], dim=1)
    with Operators() as operators:
        normalise(pairs[:, 0], 0.5, 0.25)
    made = {name: count for name, count in operators.calls.items() if name not in ("select", "slice", "unsqueeze")}
    assert made == {"_to_copy": 1, "sub_": 1, "div_": 1}


def test_the_example_is_true() -> None:
    assert doctest.testmod(encoders).failed == 0


def test_weights_follow_from_the_seed() -> None:
    one, again, other = (build(Card("test_resnet"), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["conv1.0.weight"], other["conv1.0.weight"])


def test_building_does_not_move_the_global_random_state() -> None:
    before = torch.random.get_rng_state()
    build(Card("test_resnet"), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_normalise_is_mean_and_deviation_of_grey_values() -> None:
    frames = grey_frames()
    expected = (frames[:, None].double() / 255 - 0.3) / 0.2
    result = normalise(frames, 0.3, 0.2)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_colour_weights_give_grey_images_the_features_of_their_rgb_copy_exactly(tmp_path: Path) -> None:
    # The mean and deviation of tf_efficientnet_lite0 are 0.5 in all three channels, so nothing is lost.
    colour = timm.create_model("tf_efficientnet_lite0", num_classes=10).eval()
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in colour.state_dict().items()},
        tmp_path / "w.safetensors",
    )
    colour.load_state_dict({k: v.half() for k, v in colour.state_dict().items()})
    grey, card = load_file(tmp_path / "w.safetensors", EncoderConfig(encoder="tf_efficientnet_lite0"))

    rgb = normalise(grey_frames(), 0.5, 0.5).repeat(1, 3, 1, 1)
    with torch.no_grad():
        expected = colour.forward_head(colour.forward_features(rgb), pre_logits=True)
        features = grey.eval()(normalise(grey_frames(), card.mean, card.std))
    assert (card.mean, card.std, card.method) == (0.5, 0.5, "file")
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_where_channels_are_normalised_differently_features_stay_close(tmp_path: Path) -> None:
    # ImageNet's usual means (.485 .456 .406) differ between channels: their average shifts the input a little.
    torch.manual_seed(0)
    colour = timm.create_model("resnet18", num_classes=10).eval()
    save_file(colour.state_dict(), tmp_path / "w.safetensors")
    grey, card = load_file(tmp_path / "w.safetensors", EncoderConfig(encoder="resnet18"))
    frames = grey_frames()
    mean, std = (torch.tensor(colour.pretrained_cfg[k])[None, :, None, None] for k in ("mean", "std"))
    with torch.no_grad():
        expected = colour.forward_head(colour.forward_features((frames[:, None] / 255 - mean) / std), pre_logits=True)
        features = grey.eval()(normalise(frames, card.mean, card.std))
    assert nn.functional.cosine_similarity(features, expected).min() > 0.99


def test_real_imagenet_weights_load(shared_data: Path) -> None:
    file = shared_data / "weights" / "tf_efficientnet_lite0.in1k.fp16.safetensors"
    encoder, card = load_encoder(EncoderConfig(encoder="tf_efficientnet_lite0", init=str(file)), seed=0)
    features = encoder.eval()(normalise(grey_frames(4, 96), card.mean, card.std))
    assert features.shape == (4, 1280)
    # Trained weights: the batch norms have seen data.
    assert float(encoder.state_dict()["bn1.running_var"].std()) > 0


def test_a_saved_encoder_comes_back_with_its_card(tmp_path: Path) -> None:
    card = Card("test_resnet", small_stem=True, image_size=32, mean=0.1, std=0.2, method="barlow_twins")
    encoder = build(card, seed=3)
    save_encoder(tmp_path / "encoder.safetensors", encoder, card)
    assert read_card(tmp_path / "encoder.safetensors") == card
    for init in (tmp_path, tmp_path / "encoder.safetensors"):
        again, found = load_encoder(EncoderConfig(init=str(init)), seed=9)
        assert found == card
        assert all(
            torch.equal(a, b) for a, b in zip(encoder.state_dict().values(), again.state_dict().values(), strict=True)
        )


def test_a_small_stem_keeps_more_of_a_small_image() -> None:
    images = normalise(grey_frames(1, 32), 0.5, 0.25)
    usual, small = (build(Card("test_resnet", small_stem=s), 0).eval().forward_features(images) for s in (False, True))
    assert small.shape[-1] == 2 * usual.shape[-1]


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors: does not fit a resnet18 .* name its own backbone"):
        load_encoder(EncoderConfig(encoder="resnet18", init=str(tmp_path / "w.safetensors")), seed=0)
    with pytest.raises(UserError, match="does not say which backbone"):
        load_encoder(EncoderConfig(init=str(tmp_path / "w.safetensors")), seed=0)


def test_a_run_of_another_backbone_is_refused(tmp_path: Path) -> None:
    card = Card("test_resnet")
    save_encoder(tmp_path / "encoder.safetensors", build(card, 0), card)
    with pytest.raises(UserError, match="holds a test_resnet, no resnet18"):
        load_encoder(EncoderConfig(encoder="resnet18", init=str(tmp_path)), seed=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoder": "resnet1"}, "timm knows no such model; did you mean"),
        ({"init": "nowhere.safetensors"}, "no such file or folder"),
        ({"encoder": "vit_tiny_patch16_224", "small_stem": True}, "has no max-pool"),
        ({"encoder_args": {"chanels": [8]}}, "does not take them"),
    ],
)
def test_wrong_settings_are_refused(change, sentence: str) -> None:
    config = dataclasses.replace(EncoderConfig(encoder="test_resnet"), **change)
    with pytest.raises(UserError, match=sentence):
        load_encoder(config, seed=0)


@pytest.mark.parametrize(
    "encoder", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "swin_tiny_patch4_window7_224"]
)
def test_a_transformer_is_built_for_the_image_size_of_the_run(encoder: str) -> None:
    config = EncoderConfig(encoder=encoder, encoder_args={"embed_dim": 24})
    if encoder.startswith("vit"):
        config = dataclasses.replace(config, encoder_args={"embed_dim": 24, "depth": 1, "num_heads": 3})
    model, card = load_encoder(config, seed=0, image_size=96)
    assert card.image_size == 96
    assert model.eval()(normalise(grey_frames(2, 96), 0.5, 0.5)).shape == (2, feature_count(model))


def test_an_image_size_that_patches_do_not_fill_is_refused() -> None:
    config = EncoderConfig(encoder="vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"--image_size 100: .* patches of 16 px; give a multiple .* such as 112"):
        load_encoder(config, seed=0, image_size=100)
    with pytest.raises(UserError, match=r"xcit_nano_12_p16_224: cannot be built for images of 100 px"):
        load_encoder(dataclasses.replace(config, encoder="xcit_nano_12_p16_224"), seed=0, image_size=100)


def test_a_folder_of_weights_stands_for_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    weights = timm.create_model("test_resnet").state_dict()
    save_file(weights, tmp_path / "test_resnet.r160_in1k.safetensors")
    save_file({"another": torch.zeros(1)}, tmp_path / "test_resnet2.safetensors")
    monkeypatch.setenv("SONOLEARN_WEIGHTS", str(tmp_path))
    for name in ("test_resnet", "test_resnet.r160_in1k"):
        encoder, card = load_encoder(EncoderConfig(encoder=name, init="imagenet"), seed=0)
        assert (card.encoder, card.method) == (name, "imagenet")
        assert torch.equal(encoder.state_dict()["layer1.0.conv1.weight"], weights["layer1.0.conv1.weight"])
    save_file(weights, tmp_path / "test_resnet.more.safetensors")
    with pytest.raises(UserError, match="are both weights of test_resnet; give one of them: --init FILE"):
        load_encoder(EncoderConfig(encoder="test_resnet", init="imagenet"), seed=0)


def test_the_folder_of_real_weights_stands_for_the_network(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOLEARN_WEIGHTS", str(shared_data / "weights"))
    encoder, card = load_encoder(EncoderConfig(encoder="tf_efficientnet_lite0", init="imagenet"), seed=0)
    assert (card.method, card.mean, card.std) == ("imagenet", 0.5, 0.5)
    assert float(encoder.state_dict()["bn1.running_var"].std()) > 0


def test_weights_that_cannot_be_had_are_refused_before_stores_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*arguments: object, **named: object) -> None:
        raise OSError("cannot reach the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(UserError, match="cannot be downloaded here"):
        pretrain([tmp_path / "no store"], tmp_path / "run", PretrainConfig(encoder="test_resnet", init="imagenet"))
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(UserError, match="is not a safetensors file"):
        load_encoder(EncoderConfig(encoder="test_resnet", init=str(tmp_path / "w.safetensors")), seed=0)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no encoder\.safetensors; run its pretrain command again"):
        load_encoder(EncoderConfig(init=str(tmp_path)), seed=0)


def test_imagenet_without_a_hub_names_the_option_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **named: object) -> None:
        raise OSError("cannot reach the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    remedies = r"give their safetensors file instead: --init FILE --encoder test_resnet, .* as SONOLEARN_WEIGHTS"
    with pytest.raises(UserError, match=remedies):
        load_encoder(EncoderConfig(encoder="test_resnet", init="imagenet"), seed=0)
