"""Every option of every command with its default, its meaning and its limits: one dataclass a command.

The command line, YAML files, `--print_config` and notebooks all read these classes, so that a default stands in one
place. Values that make no sense are refused here, before any data are read. What differs from SSL method to SSL method
stands in `sonolearn.recipes`.
"""

from sonolearn.config.base import DoctorConfig, EncoderConfig, Precision
from sonolearn.config.classify import (
    ClassifyConfig,
    ClassifyRecipe,
    DemoConfig,
    Draw,
    EmbedConfig,
    Mode,
    PredictConfig,
    Standardise,
    SuggestConfig,
    SuggestMethod,
)
from sonolearn.config.data import CleaningConfig, Columns, PhantomConfig, PrepareConfig
from sonolearn.config.hospital import DeidentifyConfig, DicomConfig, WatchConfig
from sonolearn.config.ssl import (
    AutoencoderConfig,
    BarlowTwinsConfig,
    BYOLConfig,
    InpaintingConfig,
    Method,
    MoCoConfig,
    OptimizerConfig,
    PoolConfig,
    PositivesConfig,
    PretrainConfig,
    Recipe,
    SimCLRConfig,
    VICRegConfig,
)
from sonolearn.config.views import ViewsConfig

__all__ = [
    "AutoencoderConfig",
    "BYOLConfig",
    "BarlowTwinsConfig",
    "ClassifyConfig",
    "ClassifyRecipe",
    "CleaningConfig",
    "Columns",
    "DeidentifyConfig",
    "DemoConfig",
    "DicomConfig",
    "DoctorConfig",
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
    "WatchConfig",
]
