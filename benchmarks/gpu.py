"""`pretrain` on a GPU: the loop against its bare step, and that step against the fastest one for the same work.

ResNet-50, 224 px, Barlow Twins with the study's projector, batches of 256, channels last, bfloat16. The loop and its
bare step are those of `benchmarks.pretrain`, in turns of many steps, as a GPU runs behind the program. All are compiled
by torch.compile, as `--compile` does. The fastest step has torch's fused SGD in place of LARS: that spares the norms
and two passes over the gradients, so no LARS can be faster. On both sides the two views go through the network one
after the other, each with its own batch statistics, as in the paper; both at once would be another method.

Without a GPU the rows wait. `--quick` goes the same way on any device at tiny sizes, and lets torch.compile trace the
step but write no kernels, which takes minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.figure import Row, device, in_turns, run_script, speed, waiting
from benchmarks.pretrain import STORED, Turns, against_the_step, alternate, bare_step
from benchmarks.store import write_store
from sonolearn.config import PretrainConfig
from sonolearn.recipes import recipe
from sonolearn.ssl.frames import FramePool, training_frames

WORK = "Barlow Twins, ResNet-50, 224 px, batch 256, bfloat16"
LOOP, STEP = f"a step of `pretrain`, {WORK}", f"its bare step, {WORK}"
PEER = "compiled, with fused SGD"
TARGET = 0.9


def rows(quick: bool) -> Iterator[Row]:
    """The loop against its step, then the step against the fastest."""
    if device() != "cuda" and not quick:
        yield waiting(LOOP, "bare", TARGET)
        yield waiting(STEP, PEER, TARGET)
        return
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            pool = training_frames([write_store(Path(folder), scans=1, frames=16, size=STORED)])
            small = {"encoder": "test_resnet", "image_size": 32, "batch_size": 8, "workers": 1}
            config = recipe("barlow_twins", None, barlow_twins={"projector": (64, 64, 64)}, **small)
            yield from measure(pool, config, Turns(2, steps=2), "tiny", "eager")
        else:
            pool = training_frames([write_store(Path(folder), scans=20, frames=64, size=STORED)])
            config = recipe("barlow_twins", None, encoder="resnet50", batch_size=256, compile=True)
            yield from measure(pool, config, Turns(4, steps=30, warm_up=2), WORK, "inductor")


def measure(pool: FramePool, config: PretrainConfig, turns: Turns, work: str, backend: str) -> Iterator[Row]:
    """Both rows."""
    bare = bare_step(pool, config, compiled=backend if config.compile else None)
    times = alternate(pool, config, bare, turns)
    yield against_the_step(f"`pretrain`, {work}", times, TARGET)
    plain = replace(config.optimizer, name="sgd")
    fastest = bare_step(pool, replace(config, optimizer=plain), compiled=backend)
    steps = {"ours": bare, "fastest": fastest}
    functions = {name: lambda step=step: [step() for _ in range(turns.steps)] for name, step in steps.items()}
    seconds = in_turns(functions, turns.count, warm_up=turns.warm_up)
    ours, theirs = (seconds[name] / turns.steps for name in functions)
    yield speed(f"its bare step, {work}", ours, PEER, theirs, TARGET)


if __name__ == "__main__":
    run_script(rows, __doc__)
