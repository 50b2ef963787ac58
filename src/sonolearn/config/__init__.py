"""Every option of every command with its default, its meaning and its limits: one dataclass a command.

The command line, YAML files, `--print_config` and notebooks all read these classes, so that a default stands in one
place. Values that make no sense are refused here, before any data are read. What differs from SSL method to SSL method
stands in `sonolearn.recipes`.
"""

from sonolearn.config.classify import ClassifyConfig, ClassifyRecipe, DemoConfig, Draw, Mode, Standardise
from sonolearn.config.cleaning import CleaningConfig
from sonolearn.config.data import Columns, PhantomConfig, PrepareConfig
from sonolearn.config.encoder import EncoderConfig, Precision
from sonolearn.config.methods import (
    AutoencoderConfig,
    BarlowTwinsConfig,
    BYOLConfig,
    InpaintingConfig,
    MoCoConfig,
    SimCLRConfig,
    VICRegConfig,
)
from sonolearn.config.pool import PoolConfig
from sonolearn.config.predict import PredictConfig
from sonolearn.config.pretrain import Method, OptimizerConfig, PretrainConfig, Recipe
from sonolearn.config.suggest import EmbedConfig, SuggestConfig, SuggestMethod
from sonolearn.config.views import PositivesConfig, ViewsConfig

__all__ = [
    "AutoencoderConfig",
    "BYOLConfig",
    "BarlowTwinsConfig",
    "ClassifyConfig",
    "ClassifyRecipe",
    "CleaningConfig",
    "Columns",
    "DemoConfig",
    "Draw",
    "EmbedConfig",
    "EncoderConfig",
    "InpaintingConfig",
    "Method",
    "MoCoConfig",
    "Mode",
    "OptimizerConfig",
    "PhantomConfig",
    "PoolConfig",
    "PositivesConfig",
    "Precision",
    "PredictConfig",
    "PrepareConfig",
    "PretrainConfig",
    "Recipe",
    "SimCLRConfig",
    "Standardise",
    "SuggestConfig",
    "SuggestMethod",
    "VICRegConfig",
    "ViewsConfig",
]
