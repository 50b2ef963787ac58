"""BYOL: predict what a slowly moving copy of the network makes of the other view; no negatives.

Grill, Strub, Altché, et al.: Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning. NeurIPS 2020,
arXiv 2006.07733.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sonolearn.config import PretrainConfig
from sonolearn.ssl.devices import gather
from sonolearn.ssl.encoders import feature_count
from sonolearn.ssl.methods.method import Loss, Method, follow, frozen_copy, mlp, momentum_at


class BYOL(Method):
    """Encoder, projector and predictor, and a momentum copy (the target) of the first two; LARS with a cosine."""

    def __init__(self, encoder: nn.Module, config: PretrainConfig) -> None:
        """Put a new projector and predictor on `encoder` (a timm model without classifier)."""
        super().__init__(encoder, config)
        self.settings = settings = config.byol
        self.projector = mlp(feature_count(encoder), settings.projector, last="linear with bias")
        self.predictor = mlp(settings.projector[-1], settings.predictor, last="linear with bias")
        self.target_encoder, self.target_projector = frozen_copy(encoder), frozen_copy(self.projector)

    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """Each view predicts the target's projection of the other."""
        p1, p2 = (self.predictor(self.projector(self.encoder(view))) for view in (first, second))
        with torch.no_grad():
            t1, t2 = (self.target_projector(self.target_encoder(view)) for view in (first, second))
        return gather(both_ways(p1, p2, t1, t2)).mean(), {}

    def after_step(self, step: int, steps: int) -> None:
        """Move the target towards the online network."""
        momentum = momentum_at(self.settings.momentum, self.settings.final_momentum, step, steps)
        follow(self.target_encoder, self.encoder, momentum)
        follow(self.target_projector, self.projector, momentum)


def both_ways(p1: Tensor, p2: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """(N,) losses of N frames: the first view's prediction against the second's target, and the other way round."""
    losses = regression(torch.cat([p1, p2]), torch.cat([t2, t1]))
    return losses.view(2, -1).sum(dim=0)


def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Equation 2 of the paper: the squared distance of the normalised vectors, 2 - 2 cos.

    Args:
        prediction: (N, D).
        target: (N, D), no gradient.

    Returns:
        (N,) in float32, 0 to 4.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        p, t = prediction.float(), target.float()
        # Three sums and no normalised copies: that would be twice the work for vectors as short as these.
        return 2 - 2 * (p * t).sum(dim=1) * inverse_length(p) * inverse_length(t)


def inverse_length(z: Tensor) -> Tensor:
    """(N,) 1 / |z_i| of (N, D), at most 1e8."""
    return z.square().sum(dim=1).clamp_min(1e-16).rsqrt()
