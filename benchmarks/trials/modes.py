"""What must be rejected and shows blood flow or time: colour boxes, spectra and M-mode strips."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from benchmarks.trials.inks import INKS, Colour
from benchmarks.trials.shapes import View
from benchmarks.trials.traces import cursor, swept
from sonolearn_phantom.picture import Image
from sonolearn_phantom.solids import Array, as_array

Random = np.random.Generator
_SLOW = 0.12  # share of the fastest flow that the wall filter hides
_PASSES = 3


@dataclass(frozen=True)
class ColourBox:
    """A box of colour or `power` Doppler: shares of the picture (along from, to, across from, to) and its outline."""

    along: tuple[float, float]
    across: tuple[float, float]
    power: bool
    outline: Colour

    @classmethod
    def draw(cls, power: bool, rng: Random) -> ColourBox:
        """A box around the middle of the picture, small or nearly all of it."""
        half = (float(rng.uniform(0.14, 0.3)), float(rng.uniform(0.25, 0.7)))
        middle = (float(rng.uniform(0.42, 0.6)), float(rng.uniform(-0.2, 0.2)))
        along = (middle[0] - half[0], min(0.97, middle[0] + half[0]))
        across = (max(-0.98, middle[1] - half[1]), min(0.98, middle[1] + half[1]))
        return cls(along, across, power, INKS[str(rng.choice(["white", "green", "yellow", "cyan", "grey"]))])

    def paint(self, screen: Image, view: View, flow: Array, strength: float) -> None:
        """Colour blood by `flow` (depths, beams) in -1 to 1, times `strength`, on `screen` in place."""
        across, along = view.shares
        inside = view.sector & (across > self.across[0]) & (across < self.across[1])
        inside &= (along > self.along[0]) & (along < self.along[1])
        # Where the signal is weak, the estimate is noise.
        noise = np.random.default_rng(int(1e6 * strength) + int(abs(flow).sum())).normal(0, 0.06, flow.shape)
        velocity = view.show(as_array(flow * np.float32(strength) + noise * (abs(noise) > 0.13)), cv2.INTER_LINEAR)
        speed = np.clip(np.abs(velocity), 0, 1)[..., None]
        if self.power:
            colour = np.array((255, 60, 0)) * (0.45 + 0.55 * speed) + np.array((0, 170, 60)) * speed**2
        else:
            warm = np.array((190, 0, 0)) * (0.6 + 0.4 * speed) + np.array((65, 230, 40)) * speed**2
            cool = np.array((0, 10, 190)) * (0.6 + 0.4 * speed) + np.array((60, 220, 65)) * speed**2
            colour = np.where(velocity[..., None] > 0, warm, cool)
        shown = inside & (speed[..., 0] > _SLOW)
        screen[shown] = np.clip(colour, 0, 255)[shown].astype(np.uint8)
        near, far = (np.full(24, share) for share in self.along)
        steps = np.linspace(*self.across, 24)
        outline = view.line(np.concatenate([steps, steps[::-1]]), np.concatenate([near, far]))
        cv2.polylines(screen, [outline], True, self.outline, 1, cv2.LINE_AA)


@dataclass(frozen=True)
class Strip:
    """A strip that a sweep fills: `box` (top, bottom, left, right) in px, the endless `tape`, px a frame."""

    box: tuple[int, int, int, int]
    tape: Image = field(repr=False)
    start: float
    speed: float
    colour: tuple[float, float, float]

    @classmethod
    def of(cls, box: tuple[int, int, int, int], beam: Array | None, frames: int, beat: float, rng: Random) -> Strip:
        """A spectrum, or with a `beam` (depths,) of grey levels its M-mode; a heart beat is `beat` px wide."""
        high, wide = box[1] - box[0], box[3] - box[2]
        tape = _spectrum(high, wide * _PASSES, beat, rng) if beam is None else _m_mode(beam, high, wide, beat, rng)
        colour = ((1.0, 1.0, 1.0), (1.0, 0.95, 0.75), (0.85, 0.95, 1.0))[int(rng.integers(3))]
        start, speed = float(rng.uniform(0.05, 1.6)) * wide, float(rng.uniform(0.5, 1.2)) * wide / frames
        return cls(box, tape, start, speed, colour)

    def paint(self, screen: Image, frame: int) -> None:
        """Draw the strip as far as the sweep has come, with what it left the last time round, on `screen` in place."""
        top, bottom, left, right = self.box
        column, turn = cursor(right - left, self.start, self.speed, frame)
        gap = max(4, (right - left) // 60)
        shown = np.zeros((bottom - top, right - left), np.uint8)
        new, old = swept(column, right - left, turn, gap)
        shown[:, :column] = self.tape[:, new]
        if turn and old.stop > old.start:
            shown[:, column + gap :] = self.tape[:, old]
        screen[top:bottom, left:right] = (shown[..., None] * np.array(self.colour)).astype(np.uint8)
        for tick in range(left, right, max(8, (right - left) // 20)):
            cv2.line(screen, (tick, bottom - 1), (tick, bottom - 5), (170, 170, 170), 1)
        for tick in range(top, bottom, max(8, (bottom - top) // 6)):
            cv2.line(screen, (right + 1, tick), (right + 5, tick), (170, 170, 170), 1)


def _spectrum(high: int, wide: int, beat: float, rng: Random) -> Image:
    base = high * rng.uniform(0.6, 0.85)
    phase = (np.arange(wide) / beat) % 1
    peak = np.exp(-(((phase - 0.3) / 0.12) ** 2)) + 0.55 * np.exp(-(((phase - 0.68) / 0.1) ** 2)) + 0.12
    peak *= rng.uniform(0.75, 0.95) * base / peak.max() * (1 + 0.05 * np.sin(np.arange(wide) / beat))
    above = base - np.arange(high)[:, None]
    share = above / np.maximum(peak, 1)
    power = np.clip((1 - share) * 9, 0, 1) * (0.25 + 0.75 * np.clip(share, 0, 1)) * (above > 0)
    noise = cv2.GaussianBlur(rng.exponential(1.0, (high, wide)), (0, 0), 0.7)
    level = 210 * power * np.sqrt(noise) + 14 * noise
    level[int(base)] = 200
    return np.clip(level, 0, 255).astype(np.uint8)


def _m_mode(beam: Array, high: int, wide: int, beat: float, rng: Random) -> Image:
    # The beam's echoes rise and fall with the beat, most of all in the middle, where the heart lies.
    depths, time = len(beam), np.arange(wide * _PASSES)[None]
    along = np.linspace(0, 1, high)[:, None]
    swing = 0.035 * np.exp(-(((along - 0.55) / 0.2) ** 2)) * np.sin(2 * np.pi * time / beat)
    swing = swing + 0.006 * np.sin(2 * np.pi * time / (7 * beat) + 1)
    rows = as_array((along + swing) * (depths - 1))
    level = cv2.remap(as_array(beam[:, None]), np.zeros_like(rows), rows, cv2.INTER_LINEAR)
    grain = cv2.GaussianBlur(rng.normal(0, 1, rows.shape), (0, 0), 1.2)
    return np.clip(level * (1 + 0.5 * grain), 0, 255).astype(np.uint8)
