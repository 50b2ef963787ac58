"""From unlabelled ultrasound scan videos and a few labelled images to a plane classifier one can trust.

Every command of the command line is a function here: phantom, prepare, pretrain, suggest, embed, classify, predict,
report, demo. Each takes its paths and one config dataclass of `sonolearn.config`; `recipe` makes that of an SSL method.
"""

from sonolearn.commands import classify, demo, embed, phantom, predict, prepare, pretrain, report, suggest
from sonolearn.recipes import recipe
from sonolearn.version import __version__

__all__ = [
    "__version__", "classify", "demo", "embed", "phantom", "predict", "prepare", "pretrain", "recipe", "report",
    "suggest",
]  # fmt: skip
