"""Packages that are installed with an extra only, and the sentence that says so where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sonolearn.console import UserError

EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "timm", "lightning_fabric", "huggingface_hub", "tensorboard"), "train"),
    **dict.fromkeys(("sklearn", "matplotlib", "pyarrow", "onnx", "onnxscript"), "train"),
    "scipy": "study",
    "ray": "ray",
    **dict.fromkeys(("highdicom", "requests"), "hospital"),
}
"""Module and extra."""


@contextmanager
def naming_extras() -> Iterator[None]:
    """Name the extra when one of its packages is missing.

    Raises:
        UserError: it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in EXTRAS:
            raise
        raise UserError(f"{name} is not installed: pip install 'sonolearn[{EXTRAS[name]}]'") from error
