"""MoCo v2: find a frame's other view among a long queue of views that a slowly moving encoder has embedded.

He, Fan, Wu, Xie, Girshick: Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020,
arXiv 1911.05722. Chen, Fan, Girshick, He: Improved Baselines with Momentum Contrastive Learning, arXiv 2003.04297.

The paper shuffles keys between GPUs, so that a query and its key are not normalised by the same batch. Here batch norm
is that of the whole batch, on one device or synchronised over several, where shuffling would change nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from sonolearn.config import PretrainConfig
from sonolearn.ssl.devices import gather
from sonolearn.ssl.encoders import feature_count
from sonolearn.ssl.methods.method import Loss, Method, follow, frozen_copy, mlp, momentum_at


class MoCo(Method):
    """Encoder and projector, a momentum copy of both, and the queue; trained by SGD with a cosine."""

    figures = ("top1",)
    queue: Tensor
    oldest: Tensor

    def __init__(self, encoder: nn.Module, config: PretrainConfig) -> None:
        """Put a new projector on `encoder` (a timm model without classifier); the queue starts with random keys."""
        super().__init__(encoder, config)
        self.settings = config.moco
        widths, norm = self.settings.projector, self.settings.projector_norm
        self.projector = mlp(feature_count(encoder), widths, norm, last="norm" if norm else "linear with bias")
        self.momentum_encoder, self.momentum_projector = frozen_copy(encoder), frozen_copy(self.projector)
        # Buffers, so that queue and place are in the checkpoint.
        keys = torch.randn(self.settings.queue, self.settings.projector[-1])
        self.register_buffer("queue", normalize(keys, dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))
        self.fresh_keys: list[Tensor] = []

    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """Loss over the global batch, and how often the other view is nearer than the whole queue."""
        queries = self.projector(self.encoder(first))
        with torch.no_grad():
            keys = self.momentum_projector(self.momentum_encoder(second))
        losses, hits = info_nce(queries, keys, self.queue, self.settings.temperature)
        if self.training:
            self.fresh_keys.append(gather(normalize(keys.float(), dim=1)))
        return gather(losses).mean(), {"top1": gather(hits).mean()}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Move the momentum copy, and put the keys of all processes in the place of the oldest."""
        momentum = momentum_at(self.settings.momentum, self.settings.final_momentum, step, steps)
        follow(self.momentum_encoder, self.encoder, momentum)
        follow(self.momentum_projector, self.projector, momentum)
        keys = torch.cat(self.fresh_keys)
        self.fresh_keys.clear()
        # A ring: batches need not divide the queue, and a smaller last batch replaces fewer keys.
        places = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.oldest += len(keys)
        self.oldest %= len(self.queue)


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Equation 1 of the MoCo paper for each query.

    Args:
        queries: (N, D) embeddings of the first views.
        keys: (N, D) embeddings of the second views, the positives; no gradient.
        queue: (K, D) normalised keys of former batches, the negatives.
        temperature: cosine similarities are divided by it; above 0.

    Returns:
        (N,) losses in float32, and (N,) 1.0 where the positive is nearer than all negatives.
    """
    with torch.autocast(queries.device.type, enabled=False):
        # The queries are divided by the temperature, not the many similarities.
        q, k = normalize(queries.float(), dim=1) / temperature, normalize(keys.float(), dim=1)
        positive = (q * k).sum(dim=1, keepdim=True)
        similarity = torch.cat([positive, q @ queue.T], dim=1)
        first = torch.zeros(len(q), dtype=torch.long, device=q.device)
        return cross_entropy(similarity, first, reduction="none"), (similarity.argmax(dim=1) == 0).float()
