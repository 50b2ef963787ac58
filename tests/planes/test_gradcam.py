"""Grad-CAM: on a network with global average pooling and one linear layer it is the class activation map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sonolearn.planes.gradcam import EACH, TILE, grad_cam, write_cams
from sonolearn.planes.head import Fitted, PlaneClassifier
from sonolearn.ssl.encoders import Card, build, feature_count

PLANES = ("3VV", "4CH", "LVOT")


def classifier(name: str = "test_resnet", seed: int = 0) -> PlaneClassifier:
    encoder = build(Card(name), seed)
    network = PlaneClassifier(encoder, feature_count(encoder), len(PLANES), 0.5, seed).eval()
    with torch.no_grad():
        # As after training: no layer of zeros, weights of both signs.
        for number, parameter in enumerate(network.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    return network


def fitted(network: PlaneClassifier | None) -> Fitted:
    return Fitted(lambda images: np.zeros((len(images), 3), np.float32), 1, 0.5, [], network, (0.4, 0.2))


def images(count: int, size: int = 96, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_class_activation_map_of_zhou_up_to_scale() -> None:
    """Zhou et al., CVPR 2016, equation 2: M_c(x, y) = sum_k w_ck f_k(x, y); gradients of its mean are w_ck / (h w)."""
    network, pictures = classifier(), images(6)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    maps = grad_cam(network, pictures, classes)
    assert maps is not None
    with torch.no_grad():
        features = network.encoder.forward_features(pictures)  # type: ignore[operator]
        weights = network.head.weight[classes]  # type: ignore[union-attr,index]
        expected = torch.einsum("nk,nkyx->nyx", weights, features).relu()
    assert maps.shape == expected.shape
    assert maps.shape[1] > 1
    largest = expected.amax((1, 2), keepdim=True)
    assert (largest > 0).any()
    torch.testing.assert_close(maps, expected / largest.clamp_min(1e-12), rtol=1e-4, atol=1e-5)


def test_maps_are_shares_and_leave_the_network_as_it_was() -> None:
    network = classifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    maps = grad_cam(network, images(4), torch.tensor([0, 1, 2, 2]))
    assert maps is not None
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert not maps.requires_grad
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_class_that_nothing_speaks_for_has_an_empty_map() -> None:
    network = classifier()
    with torch.no_grad():
        # Features come out of a ReLU: with negative weights alone every place speaks against the class.
        network.head.weight[1] = -1  # type: ignore[union-attr,index]
    maps = grad_cam(network, images(2), torch.tensor([1, 1]))
    assert maps is not None
    assert maps.abs().max() == 0


def test_a_transformer_has_no_map(tmp_path: Path) -> None:
    network = classifier("test_vit")
    assert grad_cam(network, images(1, 160), torch.tensor([0])) is None
    frames = np.zeros((3, 160, 160), np.uint8)
    assert not write_cams(tmp_path / "cam.png", fitted(network), frames, np.arange(3), PLANES)
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_without_a_network_has_no_sheet(tmp_path: Path) -> None:
    assert not write_cams(tmp_path / "a.png", fitted(None), np.zeros((3, 32, 32), np.uint8), np.arange(3), PLANES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("counts", [(6, 4, 5), (1, 2, 9), (3, 0, 4)])
def test_a_sheet_has_a_row_a_plane_and_the_pictures_themselves(counts: tuple[int, ...], tmp_path: Path) -> None:
    targets = np.repeat(np.arange(3), counts)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (len(targets), 1, 1)).repeat(64, 1).repeat(64, 2).astype(np.uint8)
    assert write_cams(tmp_path / "cam.png", fitted(classifier()), frames, targets, PLANES)
    sheet = cv2.imread(str(tmp_path / "cam.png"))
    assert sheet is not None
    assert sheet.shape == (3 * TILE, EACH * 2 * TILE, 3)
    for plane in range(3):
        row = sheet[plane * TILE : (plane + 1) * TILE]
        shown = {int(row[TILE // 2, 2 * TILE * number + TILE // 2, 0]) for number in range(EACH)}
        if counts[plane]:
            assert shown <= {int(frame[0, 0]) for frame in frames[targets == plane]}
        else:
            assert (row == 255).all()
