"""Heads and losses of the SSL methods, one dataclass a method; the defaults are the study's.

Optimiser, schedule and views are chosen by `sonolearn.recipes`, where the settings of all methods stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonolearn.checks import at_least_one, not_negative, positive, require, require_each, share


@dataclass(frozen=True)
class AutoencoderConfig:
    """The autoencoder: an encoder and its mirror image."""

    decoder_width: float = 1.0
    """Channels of the decoder, relative to those of the encoder's stages."""

    def __post_init__(self) -> None:
        require_each(self, positive, "give more than 0", "autoencoder.decoder_width")


@dataclass(frozen=True)
class InpaintingConfig:
    """The inpainting autoencoder (after Pathak et al., CVPR 2016): a rectangle of the input is noise."""

    decoder_width: float = 1.0
    """Channels of the decoder, relative to those of the encoder's stages."""
    erase_scale: tuple[float, float] = (0.02, 0.33)
    """Smallest and largest share of the view's area that is erased (random erasing, Zhong et al., AAAI 2020)."""
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest aspect ratio of the erased rectangle."""

    def __post_init__(self) -> None:
        require_each(self, positive, "give more than 0", "inpainting.decoder_width")
        low, high = self.erase_scale
        require(0 < low <= high < 1, f"--inpainting.erase_scale {low} {high}: give 0 < smallest <= largest < 1")
        low, high = self.erase_ratio
        require(0 < low <= high, f"--inpainting.erase_ratio {low} {high}: give 0 < smallest <= largest")


@dataclass(frozen=True)
class SimCLRConfig:
    """SimCLR (Chen et al., ICML 2020)."""

    projector: tuple[int, ...] = (512, 128)
    """Widths of the projector's linear layers."""
    temperature: float = 0.5
    """Cosine similarities are divided by this."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "simclr.projector")
        require_each(self, positive, "give more than 0", "simclr.temperature")


@dataclass(frozen=True)
class MoCoConfig:
    """MoCo v2 (He et al., CVPR 2020; Chen et al., 2020)."""

    projector: tuple[int, ...] = (2048, 128)
    """Widths of the projector's linear layers."""
    projector_norm: bool = False
    """Batch norm in the projector, as in MoCo v3 (Chen et al., ICCV 2021); short runs from random weights need it."""
    temperature: float = 0.5
    """Cosine similarities are divided by this."""
    queue: int = 4096
    """Keys of former batches to compare with; at least the batch size."""
    momentum: float = 0.996
    """Share that the momentum encoder keeps of itself in a step, at the start."""
    final_momentum: float = 1.0
    """The same at the end; a cosine between."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "moco.projector")
        require_each(self, positive, "give more than 0", "moco.temperature")
        require_each(self, at_least_one, "give at least 1", "moco.queue")
        require_each(self, share, "give a share from 0 to 1", "moco.momentum", "moco.final_momentum")


@dataclass(frozen=True)
class BYOLConfig:
    """BYOL (Grill et al., NeurIPS 2020)."""

    projector: tuple[int, ...] = (1024, 256)
    """Widths of the projector's linear layers."""
    predictor: tuple[int, ...] = (1024, 256)
    """Widths of the predictor's linear layers; the last must be the projector's last."""
    momentum: float = 0.996
    """Share that the target network keeps of itself in a step, at the start."""
    final_momentum: float = 1.0
    """The same at the end; a cosine between."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "byol.projector")
        require_widths(self.predictor, "byol.predictor")
        require(
            self.predictor[-1] == self.projector[-1],
            f"--byol.predictor {' '.join(map(str, self.predictor))}: predicts what the projector gives; "
            f"let it end with {self.projector[-1]}",
        )
        require_each(self, share, "give a share from 0 to 1", "byol.momentum", "byol.final_momentum")


@dataclass(frozen=True)
class BarlowTwinsConfig:
    """Barlow Twins (Zbontar et al., ICML 2021)."""

    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's linear layers."""
    redundancy: float = 0.0051
    """Weight of the off-diagonal terms (lambda in the paper)."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "barlow_twins.projector")
        require_each(self, not_negative, "give 0 or more", "barlow_twins.redundancy")


@dataclass(frozen=True)
class VICRegConfig:
    """VICReg (Bardes et al., ICLR 2022)."""

    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's (the paper says expander's) linear layers."""
    invariance: float = 25.0
    """Weight of the distance between the two views."""
    variance: float = 25.0
    """Weight of the hinge that keeps each feature's standard deviation at 1."""
    covariance: float = 1.0
    """Weight of the squared covariances."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "vicreg.projector")
        names = ("vicreg.invariance", "vicreg.variance", "vicreg.covariance")
        require_each(self, not_negative, "give 0 or more", *names)


def require_widths(widths: tuple[int, ...], option: str) -> None:
    """Refuse a head without layers or with an empty one."""
    shown = " ".join(map(str, widths))
    require(len(widths) >= 1 and min(widths) >= 1, f"--{option} {shown}: give at least one width of 1 or more")
