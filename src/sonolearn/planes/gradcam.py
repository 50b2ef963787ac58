"""Where a fine-tuned classifier looks: Grad-CAM (Selvaraju et al., ICCV 2017) on the last feature map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonolearn.planes.head import Fitted, PlaneClassifier
from sonolearn.runs import writing
from sonolearn.ssl.encoders import normalise
from sonolearn.store.store import Frames

EACH = 4
"""Images of each plane on a sheet."""
TILE = 112
"""Side of a picture on the sheet, px."""


def grad_cam(classifier: PlaneClassifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """How much each place of the last feature map speaks for a class.

    The channels of the feature map are weighted by the mean gradient of the class's logit and added up; what is below
    0 is dropped, and each map is divided by its largest value.

    Args:
        classifier: a timm encoder and a linear head, in evaluation mode.
        images: (N, 1, H, W) normalised images.
        classes: (N,) the class asked about.

    Returns:
        (N, h, w), 0 to 1; None where the encoder has no two-dimensional feature map, as transformers have none.
    """
    encoder = classifier.encoder
    features: Tensor = encoder.forward_features(images).detach()  # type: ignore[operator]
    if features.ndim != 4:
        return None
    features.requires_grad_()
    logits = classifier.logits(encoder.forward_head(features))  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), features)
    maps = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)


def write_cams(path: Path, fitted: Fitted, frames: Frames, targets: NDArray[np.int64], planes: tuple[str, ...]) -> bool:
    """Write a sheet: a row a plane, `EACH` test images of different places in the table, each beside its map.

    Args:
        path: the PNG.
        fitted: a fine-tuned classifier.
        frames: (n, H, W) uint8 test images.
        targets: (n,) their classes.
        planes: the classes.

    Returns:
        Whether there was anything to draw.
    """
    if fitted.classifier is None:
        return False
    rows = []
    for plane in range(len(planes)):
        found = np.flatnonzero(targets == plane)
        shown = found[np.linspace(0, len(found) - 1, EACH).round().astype(int)] if len(found) else []
        tiles = [_tile(fitted, frames[i], plane) for i in shown]
        if any(tile is None for tile in tiles):
            return False
        blank = np.full((TILE, 2 * TILE, 3), 255, np.uint8)
        rows.append(np.hstack([tile if tile is not None else blank for tile in tiles] or [blank] * EACH))
    with writing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
    return True


def _tile(fitted: Fitted, frame: NDArray[np.uint8], plane: int) -> NDArray[np.uint8] | None:
    """The frame, and the same under its map, side by side; None without a map."""
    assert fitted.classifier is not None  # `write_cams` has looked
    classifier, (mean, std) = fitted.classifier, fitted.normalisation
    device = next(classifier.parameters()).device
    image = normalise(torch.from_numpy(frame)[None].to(device), mean, std)
    with torch.enable_grad():
        cam = grad_cam(classifier.eval(), image, torch.tensor([plane], device=device))
    if cam is None:
        return None
    size = (TILE, TILE)
    grey = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    strength = cv2.resize(cam[0].cpu().numpy(), size, interpolation=cv2.INTER_LINEAR)
    # Cividis is read alike by the colour-blind; the picture shows through.
    heat = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    return np.hstack([grey, cv2.addWeighted(grey, 0.5, heat, 0.5, 0)]).astype(np.uint8)
