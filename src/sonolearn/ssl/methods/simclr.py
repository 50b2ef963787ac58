"""SimCLR: find a frame's other view among all views of the batch.

Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations. ICML 2020,
arXiv 2002.05709.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from sonolearn.config import PretrainConfig
from sonolearn.console import UserError
from sonolearn.ssl.devices import gather
from sonolearn.ssl.encoders import feature_count
from sonolearn.ssl.methods.method import Loss, Method, mlp


class SimCLR(Method):
    """Encoder and projector with batch norm; trained by LARS with a cosine."""

    figures = ("top1",)

    def __init__(self, encoder: nn.Module, config: PretrainConfig) -> None:
        """Put a new projector on `encoder` (a timm model without classifier)."""
        super().__init__(encoder, config)
        self.settings = config.simclr
        self.projector = mlp(feature_count(encoder), self.settings.projector, last="norm")

    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """Loss over the global batch, and how often the other view is the nearest."""
        z1, z2 = self.projector(self.encoder(first)), self.projector(self.encoder(second))
        loss, top1 = nt_xent(gather(z1), gather(z2), self.settings.temperature)
        return loss, {"top1": top1}


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The normalised temperature-scaled cross-entropy, equation 1 of the paper, averaged over all 2N views.

    Each view is to find the other view of its frame among the 2N - 1 views that are not itself.

    Args:
        z1: (N, D) embeddings of the first views, N >= 2.
        z2: (N, D) embeddings of the second views.
        temperature: cosine similarities are divided by it; above 0.

    Returns:
        The loss in float32, and the share of views that find their other one.
    """
    count = len(z1)
    if count < 2:
        raise UserError("SimCLR compares a frame with the others of its batch: give batches of at least 2 frames")
    with torch.autocast(z1.device.type, enabled=False):
        z = normalize(torch.cat([z1.float(), z2.float()]), dim=1)
        similarity = (z / temperature @ z.T).fill_diagonal_(float("-inf"))
        other = torch.arange(2 * count, device=z.device).roll(count)
        return cross_entropy(similarity, other), (similarity.argmax(dim=1) == other).float().mean()
