"""From unlabelled ultrasound scan videos and a few labelled images to a plane classifier one can trust.

Every command of the command line is a function here: phantom, prepare, pretrain, classify, predict, report, demo. Each
takes its paths and one config dataclass of `sonolearn.config`; `recipe` makes that of an SSL method.
"""

from sonolearn.commands import classify, demo, phantom, predict, prepare, pretrain, report
from sonolearn.recipes import recipe
from sonolearn.version import __version__

__all__ = ["__version__", "classify", "demo", "phantom", "predict", "prepare", "pretrain", "recipe", "report"]
