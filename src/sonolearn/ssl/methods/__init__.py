"""The SSL methods, by the name that `--method` takes. To add one: a file in this folder, a line
here, and its settings in `sonolearn.config`.
"""

from collections.abc import Callable

from torch import nn

from sonolearn.config import PretrainConfig
from sonolearn.ssl.methods.barlow_twins import BarlowTwins
from sonolearn.ssl.methods.method import Method

METHODS: dict[str, Callable[[nn.Module, PretrainConfig], Method]] = {
    "barlow_twins": BarlowTwins,
}

__all__ = ["METHODS", "Method"]
