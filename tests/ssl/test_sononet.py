"""SonoNet: equal to a forward pass written out from the paper, and to the published network on its example planes."""

from __future__ import annotations

import doctest
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, max_pool2d

from sonolearn.config import EncoderConfig
from sonolearn.ssl import sononet
from sonolearn.ssl.encoders import Card, build, feature_count, load_encoder, normalise, read_card, save_encoder
from sonolearn.ssl.methods.autoencoder import mirror

# In the order of the published network's outputs (example.py of github.com/baumgach/SonoNet-weights).
PLANES = (
    "3VV", "4CH", "ABDOMINAL", "BACKGROUND", "BRAIN-CB", "BRAIN-TV", "FEMUR", "KIDNEYS", "LIPS", "LVOT", "PROFILE",
    "RVOT", "SPINE-CORONAL", "SPINE-SAGITTAL",
)  # fmt: skip
# Rows and columns of the examples that hold the picture, from the same file.
PICTURE = np.s_[115:734, 81:874]


@pytest.fixture(scope="module")
def published(shared_data: Path) -> dict[str, Tensor]:
    return load_file(shared_data / "weights" / "sononet16.safetensors")


@pytest.fixture
def encoder(shared_data: Path) -> torch.nn.Module:
    file = shared_data / "weights" / "sononet16.safetensors"
    found, card = load_encoder(EncoderConfig(init=str(file)), seed=0)
    assert (card.encoder, card.method) == ("sononet16", "file")
    return found.eval()


def normed(weights: dict[str, Tensor], name: str, maps: Tensor) -> Tensor:
    """Batch norm of Lasagne, whose epsilon is 1e-4."""
    mean, var, weight, bias = (weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return batch_norm(maps, mean, var, weight, bias, eps=1e-4)


def last_map(weights: dict[str, Tensor], frames: Tensor) -> Tensor:
    """The feature map of conv5_3 of (N, H, W) frames, 0 to 255."""
    pixels = frames.double().flatten(1)
    scaled = 255 * (pixels - pixels.mean(1, keepdim=True)) / pixels.std(1, correction=0, keepdim=True)
    maps = scaled.reshape(len(frames), 1, *frames.shape[1:]).float()
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        maps = max_pool2d(maps, 2) if stage else maps
        for layer in range(count):
            maps = conv2d(maps, weights[f"features.{stage}.{layer}.0.weight"], padding=1)
            maps = normed(weights, f"features.{stage}.{layer}.1", maps).relu()
    return maps


def plane_of(weights: dict[str, Tensor], maps: Tensor) -> str:
    """The class that the published adaptation layers give for a feature map."""
    hidden = normed(weights, "adaption.1", conv2d(maps, weights["adaption.0.weight"])).relu()
    logits = normed(weights, "adaption.4", conv2d(hidden, weights["adaption.3.weight"])).mean((2, 3))
    return PLANES[int(logits.argmax())]


def example(file: Path, height: int, width: int) -> Tensor:
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)[PICTURE].mean(2).astype(np.uint8)
    return torch.from_numpy(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))[None]


@pytest.mark.parametrize("size", [(224, 288), (288, 224), (224, 224)], ids=str)
def test_the_published_head_names_the_planes_of_the_examples(encoder, published, shared_data, size) -> None:
    files = [file for plane in PLANES for file in (shared_data / "screens").glob(f"{plane}.png")]
    assert len(files) == 6
    with torch.no_grad():
        found = [plane_of(published, encoder.forward_features(normalise(example(f, *size), 0.5, 0.5))) for f in files]
    assert found == [file.stem for file in files]


def test_features_are_those_of_a_pass_written_out(encoder, published, shared_data) -> None:
    frames = example(shared_data / "screens" / "LIPS.png", 224, 288)
    with torch.no_grad():
        features, expected = encoder(normalise(frames, 0.5, 0.25)), last_map(published, frames).mean((2, 3))
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)


def test_random_weights_follow_the_same_pass() -> None:
    """What the published weights show where they are at hand, at any width and image size."""
    encoder = build(Card("sononet16"), seed=0).eval()
    frames = torch.randint(0, 256, (2, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features, expected = encoder(normalise(frames, 0.3, 0.2)), last_map(encoder.state_dict(), frames).mean((2, 3))
    assert features.shape == (2, feature_count(encoder)) == (2, 128)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "features"), [("sononet16", 128), ("sononet32", 256), ("sononet64", 512)])
def test_the_three_widths_are_models_of_timm(name: str, features: int) -> None:
    with torch.device("meta"):
        encoder = timm.create_model(name, in_chans=1, num_classes=0)
    assert feature_count(encoder) == features
    with pytest.raises(ValueError, match="num_classes must be 0"):
        timm.create_model(name, num_classes=3)


def test_brightness_and_contrast_of_an_image_do_not_reach_the_features() -> None:
    encoder = build(Card("sononet16"), seed=0).eval()
    images = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(encoder(3 * images - 1), encoder(images), rtol=1e-3, atol=1e-4)
        assert encoder(torch.full((1, 1, 48, 48), 0.7)).isfinite().all()


def test_it_is_saved_and_loaded_like_any_other(tmp_path: Path) -> None:
    card = Card("sononet16", image_size=48, mean=0.3, std=0.2, method="vicreg")
    encoder = build(card, seed=1)
    save_encoder(tmp_path / "encoder.safetensors", encoder, card)
    again, found = load_encoder(EncoderConfig(init=str(tmp_path)), seed=0)
    assert found == read_card(tmp_path / "encoder.safetensors") == card
    pairs = zip(encoder.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_autoencoders_can_mirror_it() -> None:
    encoder = build(Card("sononet16"), seed=0)
    decoder = mirror(encoder, 48)
    assert decoder(encoder.eval().forward_features(torch.rand(2, 1, 48, 48))).shape == (2, 1, 48, 48)


def test_its_example_is_true() -> None:
    assert doctest.testmod(sononet).failed == 0
