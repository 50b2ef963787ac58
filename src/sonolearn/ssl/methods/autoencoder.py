"""Autoencoder: rebuild a view from the encoder's last feature map.

Masci, Meier, Cireşan, Schmidhuber: Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction. ICANN 2011.
The decoder is that of the study: the encoder mirrored, with transposed convolutions.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from sonolearn.config import PretrainConfig
from sonolearn.ssl.decoder import mirror
from sonolearn.ssl.distributed import gather
from sonolearn.ssl.methods.method import Loss, Method, Pairing


class Autoencoder(Method):
    """Encoder and decoder; trained by AdamW with a rate that falls in steps."""

    pairing: ClassVar[Pairing] = "one_view"

    def __init__(self, encoder: nn.Module, config: PretrainConfig, decoder_width: float | None = None) -> None:
        """Put a new decoder on `encoder` (a timm model with a feature map)."""
        super().__init__(encoder, config)
        width = config.autoencoder.decoder_width if decoder_width is None else decoder_width
        self.decoder = mirror(encoder, config.image_size, width)

    def rebuild(self, views: Tensor) -> Tensor:
        """What encoder and decoder make of (N, 1, H, W) normalised views: the same shape and scale."""
        rebuilt: Tensor = self.decoder(self.encoder.forward_features(views))  # type: ignore[operator]
        return rebuilt

    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """Squared error of what is rebuilt from the first views against the second; here they are the same."""
        errors = (self.rebuild(first).float() - second).square()
        return gather(errors.mean(dim=(1, 2, 3))).mean(), {}
