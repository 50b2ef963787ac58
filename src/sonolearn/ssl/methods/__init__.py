"""The SSL methods, by the name that `--method` takes. To add one: a file in this folder, a line
here, its settings in `sonolearn.config.ssl` and its recipe in `sonolearn.recipes`.
"""

from collections.abc import Callable

from torch import nn

from sonolearn.config import PretrainConfig
from sonolearn.ssl.methods.autoencoder import Autoencoder
from sonolearn.ssl.methods.barlow_twins import BarlowTwins
from sonolearn.ssl.methods.byol import BYOL
from sonolearn.ssl.methods.inpainting import Inpainting
from sonolearn.ssl.methods.method import Method
from sonolearn.ssl.methods.moco import MoCo
from sonolearn.ssl.methods.simclr import SimCLR
from sonolearn.ssl.methods.vicreg import VICReg

METHODS: dict[str, Callable[[nn.Module, PretrainConfig], Method]] = {
    "autoencoder": Autoencoder,
    "inpainting": Inpainting,
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "barlow_twins": BarlowTwins,
    "vicreg": VICReg,
}

__all__ = ["METHODS", "Method"]
