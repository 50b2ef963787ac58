"""SimCLR's views as the study, lightly and three libraries of augmentations make them; see `views` for what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import albumentations
import cv2
import h5py
import kornia.augmentation as kornia
import numpy as np
import torch
from lightly.transforms import SimCLRTransform
from PIL import Image
from torch import Tensor
from torchvision import transforms as study
from torchvision.transforms import v2

from sonolearn.ssl.frames import FramePool
from sonolearn.store.store import Frames

Maker = Callable[[Sequence[int]], Sequence[Any]]
"""Two views of each of these frames."""

STUDY, LIGHTLY = "the study's pipeline", "lightly"
SCALE, SIGMA = (0.08, 1.0), (0.1, 2.0)


def peers(pool: FramePool, folder: Path, size: int) -> dict[str, Maker]:
    """Every peer, with the frames of `pool` to read; views of `size` px."""
    return {
        STUDY: study_pipeline(pool, folder / "videos.h5", size),
        LIGHTLY: lightly(pool, size),
        "torchvision v2 on tensors": torchvision(pool, size),
        "kornia, batches": batched_kornia(pool, size),
        "albumentations": albumentation(pool, size),
    }


def study_pipeline(pool: FramePool, file: Path, size: int) -> Maker:
    """A data set a video in HDF5; PIL in three channels; floats."""
    scans, starts = np.unique(pool.scan_of_frame, return_index=True)
    with h5py.File(file, "w") as h5:
        for scan in scans:
            h5[str(scan)] = np.stack([pool.read(int(index)) for index in np.flatnonzero(pool.scan_of_frame == scan)])
    videos = h5py.File(file, "r")
    jitter = study.ColorJitter(0.8, 0.8, 0.8, 0.2)
    transform = study.Compose(
        [
            study.RandomResizedCrop(size, SCALE, interpolation=study.InterpolationMode.BICUBIC),
            study.RandomHorizontalFlip(),
            study.RandomApply([jitter], 0.8),
            study.RandomGrayscale(0.2),
            study.RandomApply([study.GaussianBlur(blur_kernel(size), SIGMA)], 0.5),
            study.ToTensor(),
            study.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    def make(samples: Sequence[int]) -> Sequence[Any]:
        made = []
        for sample in samples:
            scan = int(pool.scan_of_frame[sample])
            picture = Image.fromarray(videos[str(scan)][sample - starts[scan]]).convert("RGB")
            made.append([transform(picture), transform(picture)])
        return made

    return make


def lightly(pool: FramePool, size: int) -> Maker:
    """Its transform for SimCLR; PIL in three channels; floats."""
    transform = SimCLRTransform(input_size=size)
    return lambda samples: [transform(Image.fromarray(pool.read(sample)).convert("RGB")) for sample in samples]


def torchvision(pool: FramePool, size: int) -> Maker:
    """Version 2 of its transforms on uint8 tensors of one channel."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, SCALE, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8)], 0.8),
            v2.RandomApply([v2.GaussianBlur(blur_kernel(size), SIGMA)], 0.5),
        ]
    )
    return two_views(pool, lambda frame: torch.from_numpy(frame)[None], transform)


def albumentation(pool: FramePool, size: int) -> Maker:
    """Albumentations on uint8 arrays of one channel."""
    transform = albumentations.Compose(
        [
            albumentations.RandomResizedCrop((size, size), SCALE, interpolation=cv2.INTER_CUBIC),
            albumentations.HorizontalFlip(),
            albumentations.ColorJitter((0.2, 1.8), (0.2, 1.8), (1, 1), (0, 0), p=0.8),
            albumentations.GaussianBlur(blur_limit=0, sigma_limit=SIGMA, p=0.5),
        ]
    )
    return two_views(pool, lambda frame: frame[..., None], lambda picture: transform(image=picture)["image"])


def batched_kornia(pool: FramePool, size: int) -> Maker:
    """Kornia on a batch of float tensors of one channel; the views of all samples at once."""
    kernel = (blur_kernel(size), blur_kernel(size))
    transform = torch.nn.Sequential(
        kornia.RandomResizedCrop((size, size), SCALE, resample="bicubic", cropping_mode="slice"),
        kornia.RandomHorizontalFlip(),
        kornia.RandomBrightness((0.2, 1.8), p=0.8),
        kornia.RandomContrast((0.2, 1.8), p=0.8),
        kornia.RandomGaussianBlur(kernel, SIGMA, p=0.5),
    )

    def make(samples: Sequence[int]) -> Sequence[Tensor]:
        frames = torch.from_numpy(np.stack([pool.read(sample) for sample in samples]))[:, None].float() / 255
        return list(torch.stack([transform(frames), transform(frames)], dim=1))

    return make


def two_views(pool: FramePool, take: Callable[[Frames], Any], transform: Callable[[Any], Any]) -> Maker:
    """One sample after the other, each read once."""

    def make(samples: Sequence[int]) -> Sequence[Any]:
        made = []
        for sample in samples:
            picture = take(pool.read(sample))
            made.append([transform(picture), transform(picture)])
        return made

    return make


def blur_kernel(size: int) -> int:
    """A tenth of the side, made odd."""
    return size // 10 | 1
