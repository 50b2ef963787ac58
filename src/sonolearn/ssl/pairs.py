"""What an SSL method learns from: two views, one, or one with a hole; and which frame the second view comes from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonolearn.config import PretrainConfig
from sonolearn.data.store import Frames
from sonolearn.runs import generator_for
from sonolearn.ssl.frames import FramePool
from sonolearn.ssl.methods.method import Pairing
from sonolearn.ssl.views import Beams, Image, erase, make_view


class PairMaker:
    """Makes what a method learns from out of a pool of frames; every draw comes from (seed, epoch, sample)."""

    def __init__(self, pool: FramePool, config: PretrainConfig, pairing: Pairing) -> None:
        """Pairs of the frames in `pool`."""
        self.pool, self.config, self.pairing = pool, config, pairing
        nearby = config.positives.name == "nearby_frames"
        self.neighbours = Neighbours(pool, config.positives.seconds) if nearby else None

    @property
    def views(self) -> int:
        """Number of views of a sample: 1 or 2."""
        return 1 if self.pairing == "one_view" else 2

    def sources(self, epoch: int, sample: int) -> list[Frames]:
        """The frames that the views come from, (S, S) uint8: one, or two where they differ."""
        frames = [self.pool.read(sample)]
        if self.neighbours:
            rng = generator_for(self.config.seed, "positive", epoch, sample)
            frames.append(self.pool.read(self.neighbours.draw(sample, rng)))
        return frames

    def make(self, epoch: int, sample: int) -> list[Image]:
        """The views of a sample, each (image_size, image_size) uint8."""
        return self.augment(self.sources(epoch, sample), epoch, sample)

    def augment(self, frames: list[Frames], epoch: int, sample: int) -> list[Image]:
        """The views of a sample whose `sources` are read."""
        config = self.config
        rng = generator_for(config.seed, "views", epoch, sample)
        beams = [Beams(frame) for frame in frames]
        first = make_view(frames[0], config.image_size, config.views, 0, rng, beams[0])
        match self.pairing:
            case "two_views":
                return [first, make_view(frames[-1], config.image_size, config.views, 1, rng, beams[-1])]
            case "one_view":
                return [first]
            case "erased_view":
                hole = config.inpainting
                return [erase(first, hole.erase_scale, hole.erase_ratio, rng), first]


class Neighbours:
    """For each frame of a pool, the other frames of its scan that are near in time."""

    def __init__(self, pool: FramePool, seconds: float) -> None:
        """Find them once; two whole numbers a frame are kept.

        Args:
            pool: the frames.
            seconds: how far away a neighbour is at most.
        """
        # Stills have no time: they are their own, only neighbour.
        scan, time = pool.scan_of_frame, np.nan_to_num(pool.time_of_frame, nan=0.0).astype(np.float64)
        scan = np.where(np.isnan(pool.time_of_frame), -1 - np.arange(len(pool)), scan)
        self.order = np.lexsort((time, scan))
        # Scans are laid one after the other on one axis of time, too far apart to be neighbours.
        starts = np.flatnonzero(np.diff(scan[self.order], prepend=scan[self.order[0]] - 1))
        number = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(pool)))
        axis = time[self.order] + number * (np.ptp(time) + 2 * seconds + 1)
        reach = seconds * (1 + 1e-6)
        self.place = np.argsort(self.order)
        self.first = np.searchsorted(axis, axis - reach, side="left")
        self.count = np.searchsorted(axis, axis + reach, side="right") - self.first

    @property
    def alone(self) -> int:
        """Number of frames without a neighbour, such as stills: their pairs are two views of the same frame."""
        return int((self.count == 1).sum())

    def draw(self, sample: int, rng: np.random.Generator) -> int:
        """A neighbour of a frame, each equally likely; the frame itself where it has none."""
        place = self.place[sample]
        first, count = int(self.first[place]), int(self.count[place])
        if count == 1:
            return sample
        chosen = first + int(rng.integers(count - 1))
        # The frame itself is left out by shifting what comes after it.
        return int(self.order[chosen + (chosen >= place)])

    def of(self, sample: int) -> NDArray[np.int64]:
        """All neighbours of a frame, itself left out."""
        place = self.place[sample]
        found = self.order[self.first[place] : self.first[place] + self.count[place]]
        return np.sort(found[found != sample])
