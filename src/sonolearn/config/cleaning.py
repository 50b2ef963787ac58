"""What cleaning takes away, and when it refuses a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sonolearn.checks import not_negative, require, require_each, share

Reason = Literal["blank", "menu", "spectral", "split", "rendering", "doppler", "dark", "small", "frozen"]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class CleaningConfig:
    """Options of cleaning, each step of which can be switched off."""

    sector: bool = True
    """Keep the ultrasound picture alone: crop to it, and set everything outside to 0."""
    marks: Literal["telea", "navier_stokes", "keep"] = "telea"
    """Callipers, text, arrows and traces on the picture: fill them by this method, or keep them."""
    reject: tuple[Reason, ...] = REASONS
    """Leave out frames that are or show this: blank, menu (a page of text), spectral (Doppler or M-mode beside the
    picture), split (several pictures), rendering (3D), doppler (colour), dark, small, frozen. `[]` leaves out none."""
    doppler_share: float = 0.002
    """Share of the sector that must be coloured area for `doppler`."""
    dark_level: int = 24
    """Grey level that the brightest hundredth of the sector reaches unless the frame is `dark`."""
    smallest: int = 64
    """Shorter side of the sector in px below which it is `small`."""
    least_change: float = 0.0
    """Leave out a frame that differs from the last kept one by less than this share of the grey range; 0 keeps all."""

    def __post_init__(self) -> None:
        require_each(self, share, "give a share from 0 to 1", "doppler_share", "least_change")
        require_each(self, not_negative, "give 0 or more", "dark_level", "smallest")
        require(len(set(self.reject)) == len(self.reject), f"--cleaning.reject {self.reject}: names a reason twice")
