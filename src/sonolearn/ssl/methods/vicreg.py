"""VICReg: pull two views together, keep every feature's variance up, decorrelate the features.

Bardes, Ponce, LeCun: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning. ICLR 2022,
arXiv 2105.04906.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, relu

from sonolearn.config import PretrainConfig, VICRegConfig
from sonolearn.console import UserError
from sonolearn.ssl.devices import gather
from sonolearn.ssl.encoders import feature_count
from sonolearn.ssl.methods.method import Loss, Method, mlp


class VICReg(Method):
    """Encoder and projector (the paper's expander); trained by LARS with warm-up and cosine."""

    figures = ("invariance", "variance", "covariance")

    def __init__(self, encoder: nn.Module, config: PretrainConfig) -> None:
        """Put a new projector on `encoder` (a timm model without classifier)."""
        super().__init__(encoder, config)
        self.settings = config.vicreg
        self.projector = mlp(feature_count(encoder), self.settings.projector)

    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """Loss over the global batch."""
        z1, z2 = self.projector(self.encoder(first)), self.projector(self.encoder(second))
        loss, terms = vicreg_loss(gather(z1), gather(z2), self.settings)
        return loss, dict(zip(self.figures, terms, strict=True))


def vicreg_loss(z1: Tensor, z2: Tensor, weights: VICRegConfig) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Equation 6 of the paper.

    Args:
        z1: (N, D) embeddings of the first views, N >= 2.
        z2: (N, D) embeddings of the second views.
        weights: of the three terms (lambda, mu and nu in the paper).

    Returns:
        The loss in float32, and its three terms without their weights: the mean squared distance of the views; the
        mean hinge max(0, 1 - S) of the features' standard deviations S, averaged over the views; the squared
        covariances of different features over D, summed over the views.
    """
    if len(z1) < 2:
        raise UserError("VICReg takes variances over the batch: give batches of at least 2 frames")
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2 = z1.float(), z2.float()
        invariance = mse_loss(z1, z2)
        hinge1, covariance1 = hinge_and_covariance(z1)
        hinge2, covariance2 = hinge_and_covariance(z2)
        variance, covariance = (hinge1 + hinge2) / 2, covariance1 + covariance2
        loss = weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance
        return loss, (invariance.detach(), variance.detach(), covariance.detach())


def hinge_and_covariance(z: Tensor) -> tuple[Tensor, Tensor]:
    """mean_j max(0, 1 - sqrt(var_j + 1e-4)), and sum_{i != j} Cov_ij^2 / D, of (N, D) embeddings.

    Cov = Z^T Z / (N - 1) for centred Z. The sum of all its squares is that of the N x N matrix Z Z^T, so the smaller
    of the two is formed.
    """
    count, features = z.shape
    centred = z - z.mean(dim=0)
    variances = centred.square().sum(dim=0) / (count - 1)
    product = centred @ centred.T if count < features else centred.T @ centred
    everything = (product / (count - 1)).square().sum()
    covariance = (everything - variances.square().sum()) / features
    return relu(1 - (variances + 1e-4).sqrt()).mean(), covariance
