"""`pretrain` against lightly's recipe for the same method, from files to weights.

Both learn Barlow Twins on the same frames of 256 px with a ResNet-18 of timm, the same batch, projector widths, number
of loader processes and threads. The peer is what lightly's own benchmark and example put together: its data set over a
folder of images (here the frames as PNG), `BYOLTransform`, `MultiViewCollate`, its projection head, loss and LARS,
both views of a batch through the network at once, three channels of normalised floats. Ours is the product's whole
loop, with its logging and seeding; validation, once an epoch on both sides, is left out. On a GPU both compute in
bfloat16. On a CPU the convolutions of 224 px take nearly all of the time on both sides, and are equally many.

The two take turns of one step on a CPU and of many on a GPU, and the loader processes of whoever waits are stopped.
Time on the clock; median over the turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import timm
import torch
from lightly.data import LightlyDataset
from lightly.data.multi_view_collate import MultiViewCollate
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from lightly.models.utils import get_weight_decay_parameters
from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from lightly.utils.lars import LARS
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from benchmarks.figure import Row, device, run_script, speed, waiting
from benchmarks.pretrain import STORED, Turns, alternate
from benchmarks.store import write_store
from sonolearn.recipes import recipe
from sonolearn.ssl.frames import FramePool, training_frames


@dataclass(frozen=True)
class Setting:
    """Sizes of a row."""

    encoder: str
    size: int
    batch: int
    width: int
    workers: int
    turns: Turns
    target: float | None
    narrow: bool = False

    @property
    def figure(self) -> str:
        """What the row says."""
        encoder = f"quarter-width {self.encoder}" if self.narrow else self.encoder
        return f"a step of `pretrain` from files, Barlow Twins, {encoder}, {self.size} px, batch {self.batch}"

    @property
    def encoder_args(self) -> dict[str, Any]:
        """More arguments of the timm model: those of the plan `cpu`, which trains on two cores."""
        return {"channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8} if self.narrow else {}


TINY = Setting("test_resnet", 32, 8, 64, 1, Turns(2), None)
SMALL = Setting("resnet18", 64, 64, 2048, 1, Turns(5), 1.3)
NARROW = Setting("resnet18", 64, 64, 512, 1, Turns(9), 1.3, narrow=True)
LARGE = Setting("resnet18", 224, 16, 2048, 1, Turns(5), 1.3)
# Turns and warm-up are longer than what loader processes hold in store.
GPU = Setting("resnet18", 224, 256, 8192, 15, Turns(4, steps=40, warm_up=2), 3.0)
PEER = "lightly's recipe"


def rows(quick: bool) -> Iterator[Row]:
    """The product against lightly's recipe."""
    gpu = device() == "cuda"
    settings = [TINY] if quick else [GPU] if gpu else [LARGE, SMALL, NARROW]
    with tempfile.TemporaryDirectory() as folder:
        pool = training_frames([write_store(Path(folder), scans=20 if gpu else 2, frames=64, size=STORED)])
        images = write_images(pool, Path(folder) / "images")
        for setting in settings:
            yield compare(pool, images, setting)
    if not gpu:
        yield waiting(f"{GPU.figure}, 16 cores", PEER, 3.0)


def compare(pool: FramePool, images: Path, setting: Setting) -> Row:
    """A row: our loop and lightly's, in turns."""
    config = recipe(
        "barlow_twins",
        None,
        encoder=setting.encoder,
        encoder_args=setting.encoder_args,
        image_size=setting.size,
        batch_size=setting.batch,
        workers=setting.workers,
        barlow_twins={"projector": (setting.width,) * 3},
        valid_patients=0.0,
    )
    times = alternate(pool, config, lightlys_loop(images, setting), setting.turns)
    return speed(setting.figure, times.ours, PEER, times.other, setting.target)


def lightlys_loop(images: Path, setting: Setting) -> Callable[[], object]:
    """A function that takes the next step of lightly's recipe; its loader is at work from now on."""
    backbone: nn.Module = timm.create_model(setting.encoder, num_classes=0, **setting.encoder_args).to(device())
    head = BarlowTwinsProjectionHead(backbone.num_features, setting.width, setting.width).to(device())
    decayed, others = get_weight_decay_parameters([backbone, head])
    factor = setting.batch / 256
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0, "lr": 0.0048 * factor}]
    optimizer = LARS(groups, lr=0.2 * factor, momentum=0.9, weight_decay=1.5e-6)
    criterion = BarlowTwinsLoss(lambda_param=5e-3)
    batches = iter(lightlys_loader(images, setting))

    def step() -> list[torch.Tensor]:
        views = [view.to(device()) for view in next(batches)[0]]
        with precision():
            z0, z1 = head(backbone(torch.cat(views)).flatten(start_dim=1)).chunk(2)
            loss = criterion(z0, z1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return views

    return step


def lightlys_loader(images: Path, setting: Setting) -> DataLoader[object]:
    """Batches as lightly's benchmark makes them, in one epoch that is long enough for all turns."""
    views = BYOLView1Transform(input_size=setting.size), BYOLView2Transform(input_size=setting.size)
    dataset = LightlyDataset(str(images), transform=BYOLTransform(*views))
    steps = (setting.turns.warm_up + setting.turns.count + 1) * setting.turns.steps
    return DataLoader(
        dataset,
        batch_size=setting.batch,
        sampler=RandomSampler(dataset, replacement=True, num_samples=steps * setting.batch),
        num_workers=setting.workers,
        collate_fn=MultiViewCollate(),
        drop_last=True,
    )


def precision() -> AbstractContextManager[object]:
    """What `pretrain --precision auto` takes, too."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=device() == "cuda")


def write_images(pool: FramePool, folder: Path) -> Path:
    """The frames of a pool as PNG files."""
    folder.mkdir()
    for index in range(len(pool)):
        cv2.imwrite(str(folder / f"{index:06d}.png"), pool.read(index))
    return folder


if __name__ == "__main__":
    run_script(rows, __doc__)
