"""Classifying a scan on two cores, from its file to its tables, against ONNX Runtime alone on frames that lie ready.

A phantom's recording (H.264, 640 x 480 px, 30 frames a second; the muxer repeats 60 frames) is decoded, cleaned at 256
px, resized to 224 px and classified by a ResNet-18 as `sonolearn predict` does it, and its tables are written. What is
left out is what happens once a call: importing, loading the classifier, and making the session. Weights are random, as
speed does not depend on them.

- ONNX Runtime alone gets as many frames as normalised float arrays in memory. Its graph is the plain one of
  `torch.onnx.export`, which takes floats and gives logits; it has the same number of threads, on which it splits each
  layer as it comes, and batches of 16, with which it is faster than with the 2 of `predict`.
- PyTorch alone: the same arrays, the same batches, the network as loaded, channels last, in inference mode.

Sonolearn's side has one batch on each thread, while a third thread cleans. Wall time, median; the sides take turns.
Times real time: seconds of the recording for each second of work.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figure import Row, in_turns, run_script
from benchmarks.prepare import FPS, lengthened, rendered
from sonolearn.config import PredictConfig
from sonolearn.deploy.classifier import Classifier, load_classifier
from sonolearn.deploy.frames import Reading
from sonolearn.deploy.predict import classify_scans
from sonolearn.deploy.results import Classified, write_scan, write_tables
from sonolearn.deploy.runtime import Runtime, make_runtime, session_of
from sonolearn.planes.saved import ClassifierCard, PlaneNetwork, save_classifier
from sonolearn.ssl.encoders import Card, build
from sonolearn.store.cleaned_scan import content_hash

THREADS = 2
PEER_BATCH = 16
TARGET = 0.9
STORED = 256
PLANES = ("3VT", "3VV", "4CH", "LVOT", "RVOT")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sizes:
    """What is measured: the network, its input, and the recording."""

    encoder: str = "resnet18"
    image_size: int = 224
    frames: int = 600
    repeats: int = 3


def rows(quick: bool) -> Iterator[Row]:
    """One scan by either side, with the default of every fifth frame and with every frame."""
    sizes = Sizes("test_resnet", 32, 40, 1) if quick else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        classifier = made_classifier(home, sizes)
        session = session_of(plain_graph(classifier), THREADS)
        clip = rendered(0, home, quick)
        scan = lengthened(clip, home / "scan.mp4", sizes.frames)
        yield from compared(classifier, session, scan, sizes, frame_skip=5, target=TARGET)
        every = replace(sizes, frames=sizes.frames // 10)
        scan = lengthened(clip, home / "every.mp4", every.frames)
        yield from compared(classifier, session, scan, every, frame_skip=1, target=None)


def compared(
    classifier: Classifier, session: Any, scan: Path, sizes: Sizes, frame_skip: int, target: float | None
) -> list[Row]:
    """The scan by sonolearn, and as many frames by ONNX Runtime and PyTorch alone."""
    config = PredictConfig(threads=THREADS, accelerator="cpu", frame_skip=frame_skip)
    runtime = make_runtime(classifier, config)
    count = classified(scan, classifier, runtime, config)
    ready = np.random.default_rng(0).normal(0, 1, (count, 1, sizes.image_size, sizes.image_size)).astype(np.float32)
    onnx, eager = "ONNX Runtime alone", "PyTorch alone"
    sides = {
        "sonolearn": lambda: classified(scan, classifier, runtime, config),
        onnx: onnx_alone(session, ready),
        eager: torch_alone(classifier, ready),
    }
    times = in_turns(sides, sizes.repeats)
    ours, seconds = times["sonolearn"], sizes.frames / FPS
    taken = "every frame" if frame_skip == 1 else f"every {frame_skip}th frame"
    figure = (
        f"a scan of {seconds:g} s, {taken}, from file to tables, {sizes.encoder}, {sizes.image_size} px, "
        f"{THREADS} threads: {seconds / ours:.1f} times real time"
    )
    return [
        Row(figure, per_frame(ours, count), f"{peer}: {per_frame(times[peer], count)}", times[peer] / ours, target=goal)
        for peer, goal in ((onnx, target), (eager, None))
    ]


def per_frame(seconds: float, count: int) -> str:
    """A time for so many frames, a frame."""
    return f"{1000 * seconds / count:.3g} ms a frame"


def classified(scan: Path, classifier: Classifier, runtime: Runtime, config: PredictConfig) -> int:
    """Name the scan by its content, classify it, write its tables; how many frames were classified."""
    reading, found = Reading(f"S-{content_hash([scan])[:16]}", (scan,)), Classified()
    with tempfile.TemporaryDirectory() as out:
        for batch, probabilities in classify_scans([reading], classifier, runtime, config):
            found.add(batch, probabilities)
        write_scan(Path(out), reading, "P-0", found, PLANES, 0.0)
        return int(write_tables(Path(out), PLANES)["frames"].sum())


def onnx_alone(session: Any, ready: Floats) -> Callable[[], Floats]:
    """ONNX Runtime on ready arrays: (n, C) logits."""

    def run() -> Floats:
        batches = (ready[start : start + PEER_BATCH] for start in range(0, len(ready), PEER_BATCH))
        return np.concatenate([session.run(None, {"images": batch})[0] for batch in batches])

    return run


def torch_alone(classifier: Classifier, ready: Floats) -> Callable[[], torch.Tensor]:
    """PyTorch on ready arrays: (n, C) logits."""
    network = torch.nn.Sequential(classifier.network.encoder, classifier.network.head)
    images = torch.from_numpy(ready).to(memory_format=torch.channels_last)

    def run() -> torch.Tensor:
        torch.set_num_threads(THREADS)
        with torch.inference_mode():
            return torch.cat([network(batch) for batch in images.split(PEER_BATCH)])

    return run


def plain_graph(classifier: Classifier) -> bytes:
    """The graph of encoder and head as the exporter makes it: (N, 1, S, S) float images to (N, C) logits."""
    network = torch.nn.Sequential(classifier.network.encoder, classifier.network.head).eval()
    sample = torch.zeros(2, 1, classifier.image_size, classifier.image_size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (sample,), dynamo=True, verbose=False, input_names=["images"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )  # fmt: skip
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def made_classifier(folder: Path, sizes: Sizes) -> Classifier:
    """A classifier of random weights, saved and loaded like any other."""
    card = Card(sizes.encoder, image_size=sizes.image_size)
    file = folder / "classifier.safetensors"
    described = ClassifierCard(card, PLANES, STORED, None, "finetune", 1.0, 0, 100, 10)
    save_classifier(file, PlaneNetwork(build(card, 0), len(PLANES), card.mean, card.std), described)
    return load_classifier(file)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(THREADS)
    run_script(rows, __doc__)
