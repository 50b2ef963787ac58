"""Features of labelled images from a frozen encoder, computed once and used by all linear and kNN classifiers.

The frozen encoder normalises with the mean and deviation on its card (those of its pre-training, or 0.5), never with
those of a label subset: what a frozen encoder computes must be fixed before any label is seen, else the 1 % subset
would already have shaped the features that linear evaluation measures. Fine-tuning, whose encoder adapts, normalises
by its subset.
"""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sonolearn.data.store import Frames
from sonolearn.ssl.encoders import Card, normalise

BATCH = 128


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
    batches = torch.split(torch.from_numpy(images), BATCH)
    with torch.no_grad(), fabric.autocast():
        return torch.cat([encoder(normalise(b.to(fabric.device), card.mean, card.std)).float() for b in batches])
