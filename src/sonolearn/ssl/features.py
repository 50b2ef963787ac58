"""Labelled images as an encoder takes them, and their features, computed once for all linear and kNN classifiers.

The frozen encoder normalises with the mean and deviation on its card (those of its pre-training, or 0.5), never with
those of a label subset: what a frozen encoder computes must be fixed before any label is seen, else the 1 % subset
would already have shaped the features that linear evaluation measures. Fine-tuning, whose encoder adapts, normalises
by its subset.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sonolearn.data.store import Frames, Rows, Store
from sonolearn.ssl.encoders import Card, normalise

READ_AT_ONCE = 256


def extract(encoder: nn.Module, card: Card, images: Frames, fabric: Fabric) -> Tensor:
    """Features of images; the encoder is in evaluation mode, so that neither weights nor batch-norm statistics move.

    Args:
        encoder: (N, 1, H, W) float32 to (N, F).
        card: its normalisation.
        images: (n, H, W) uint8.
        fabric: device and precision.

    Returns:
        (n, F) float32 on the fabric's device.
    """
    encoder = encoder.to(fabric.device).eval()
    batches = torch.split(torch.from_numpy(images), batch_of(fabric.device))
    with torch.no_grad(), fabric.autocast():
        return torch.cat([encoder(normalise(b.to(fabric.device), card.mean, card.std)).float() for b in batches])


def batch_of(device: torch.device) -> int:
    """Images that an encoder takes at once where nothing is learnt.

    On a CPU so few that what one layer gives is still in the cache when the next one takes it.
    """
    return 16 if device.type == "cpu" else 256


def read_images(store: Store, rows: Rows, size: int) -> Frames:
    """Frames of the store, resized to `size` x `size`.

    Args:
        store: where they are.
        rows: (n,) rows of it.
        size: side in px.

    Returns:
        (n, size, size) uint8, 0 to 255.
    """
    images = np.empty((len(rows), size, size), np.uint8)
    # INTER_AREA averages what it shrinks; enlarged, it would repeat pixels.
    interpolation = cv2.INTER_AREA if size < store.size else cv2.INTER_LINEAR
    for start in range(0, len(rows), READ_AT_ONCE):
        part = slice(start, start + READ_AT_ONCE)
        if size == store.size:
            store.read(rows[part], out=images[part])
            continue
        for image, frame in zip(images[part], store.read(rows[part]), strict=True):
            cv2.resize(frame, (size, size), dst=image, interpolation=interpolation)
    return images
