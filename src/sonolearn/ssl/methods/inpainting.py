"""Inpainting autoencoder: rebuild a clean view from one with a rectangle of noise.

After Pathak, Krähenbühl, Donahue, Darrell, Efros: Context Encoders: Feature Learning by Inpainting. CVPR 2016,
arXiv 1604.07379; without its adversarial loss, as in the study, and with random erasing (Zhong et al., AAAI 2020).
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from sonolearn.config import PretrainConfig
from sonolearn.ssl.methods.autoencoder import Autoencoder
from sonolearn.ssl.methods.method import Pairing


class Inpainting(Autoencoder):
    """An autoencoder whose first view is the erased, whose second the clean one."""

    pairing: ClassVar[Pairing] = "erased_view"

    def __init__(self, encoder: nn.Module, config: PretrainConfig) -> None:
        """Put a new decoder on `encoder` (a timm model with a feature map)."""
        super().__init__(encoder, config, config.inpainting.decoder_width)
