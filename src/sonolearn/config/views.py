"""Options of the views, the augmented copies of a frame: of pre-training and of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sonolearn.config.base import not_negative, require, require_each, share


@dataclass(frozen=True)
class ViewsConfig:
    """The augmentation; where two numbers are probabilities, they are those of the first and of the second view.

    The presets are in `sonolearn.recipes`. Hue, saturation and colour dropping of the original recipes are left out:
    they do nothing to a grey frame.
    """

    name: Literal["study", "paper", "ultrasound", "gentle"] = "study"
    """Preset: the study's, the original paper's, one made for ultrasound, or weak changes for fine-tuning; the options
    below change it."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the frame's area that the random resized crop takes."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio of that crop."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    flip_vertical: float = 0.0
    """Probability of a vertical flip."""
    rotation: float = 0.0
    """Largest rotation to either side in degrees."""
    randaugment: tuple[int, int] = (0, 0)
    """RandAugment operations and magnitude (0 to 30); 0 operations for none."""
    jitter: float = 0.8
    """Probability of a brightness and contrast jitter."""
    brightness: float = 0.4
    """Brightness factor is drawn from 1 - this to 1 + this."""
    contrast: float = 0.4
    """Contrast factor is drawn from 1 - this to 1 + this."""
    blur: tuple[float, float] = (1.0, 0.1)
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest sigma of that blur in px of the view."""
    solarize: tuple[float, float] = (0.0, 0.2)
    """Probability of a solarisation (grey values from 128 up are inverted)."""
    attenuation: float = 0.0
    """Probability of another attenuation with depth (a TGC set too high or too low)."""
    attenuation_db: tuple[float, float] = (-6.0, 6.0)
    """Smallest and largest change of the echo level at the far end of the picture in dB; 0 at the probe."""
    gain: float = 0.0
    """Probability of another gain and dynamic range."""
    gain_db: tuple[float, float] = (-3.0, 6.0)
    """Smallest and largest change of the gain in dB."""
    dynamic_range_db: tuple[float, float] = (50.0, 75.0)
    """Smallest and largest dynamic range in dB; stored frames are taken to show 60 dB."""
    speckle: float = 0.0
    """Probability of an additional speckle pattern."""
    speckle_db: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest standard deviation of that speckle in dB."""
    haze: float = 0.0
    """Probability of haze (reverberation clutter) over the near part of the picture."""
    haze_level: tuple[float, float] = (0.05, 0.35)
    """Smallest and largest brightness of the haze, as a share of full white."""
    shadow: float = 0.0
    """Probability of an acoustic shadow along the beams."""
    shadow_db: tuple[float, float] = (6.0, 30.0)
    """Smallest and largest loss inside the shadow in dB."""

    def __post_init__(self) -> None:
        probabilities = ("flip", "flip_vertical", "jitter", "blur", "solarize", "attenuation", "gain", "speckle")
        names = [f"views.{name}" for name in (*probabilities, "haze", "shadow")]
        require_each(self, share, "give probabilities from 0 to 1", *names)
        require_each(self, share, "give 0 to 1", "views.brightness", "views.contrast", "views.haze_level")
        require_each(self, not_negative, "give 0 to 180 degrees", "views.rotation")
        require(self.rotation <= 180, f"--views.rotation {self.rotation}: give 0 to 180 degrees")
        low, high = self.crop_scale
        require(
            0 < low <= high <= 1,
            f"--views.crop_scale {low} {high}: give 0 < smallest <= largest <= 1, no crop is larger than its frame",
        )
        for name in ("crop_ratio", "blur_sigma", "dynamic_range_db", "speckle_db", "shadow_db"):
            low, high = getattr(self, name)
            require(0 < low <= high, f"--views.{name} {low} {high}: give 0 < smallest <= largest")
        for name in ("attenuation_db", "gain_db", "haze_level"):
            low, high = getattr(self, name)
            require(low <= high, f"--views.{name} {low} {high}: give smallest <= largest")
        operations, magnitude = self.randaugment
        require(
            operations >= 0 and 0 <= magnitude <= 30,
            f"--views.randaugment {operations} {magnitude}: give 0 or more operations and a magnitude from 0 to 30",
        )
