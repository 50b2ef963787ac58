"""What computes the network of a classifier: ONNX Runtime or PyTorch; both give the same probabilities within 1e-4.

Where the ONNX graph lies beside the classifier, torch is not needed and not loaded: `network.py` is the one door to it.

On CPUs a call computes on one core, and several threads call at the same time, a batch each (`overlap`): that takes
less time in all than to split each layer of one batch between cores, which have to wait for each other at every layer.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sonolearn.checksums import intact
from sonolearn.config.classify import PredictConfig
from sonolearn.console import UserError, say, warn
from sonolearn.deploy.classifier import Classifier
from sonolearn.planes.card import Probabilities
from sonolearn.runs import hash_file, writing
from sonolearn.store.store import Frames
from sonolearn.version import __version__

CPU_BATCH, GPU_BATCH = 2, 64


class NotExportable(Exception):  # noqa: N818 - a property of the network
    """A network that ONNX cannot compute, or not equally."""


@dataclass(frozen=True)
class Runtime:
    """How a network is computed.

    Attributes:
        name: onnx or torch.
        classify: (N, S, S) uint8 frames to (N, C) float32 probabilities; threads may call it at the same time.
        batch: frames in a call.
        threads: how many threads are to call it.
        in_thread: what each of these threads does first.
    """

    name: str
    classify: Callable[[Frames], Probabilities]
    batch: int
    threads: int
    in_thread: Callable[[], None] = lambda: None


def make_runtime(classifier: Classifier, config: PredictConfig) -> Runtime:
    """The runtime that the options name.

    Raises:
        UserError: the engine is not installed or cannot compute this network, or the device is not there.
    """
    device = _device(config)
    if config.engine == "onnx" and device != "cpu":
        raise UserError(f"--engine onnx: computes on CPUs, not on {device}; give --accelerator cpu")
    if config.engine != "torch" and device == "cpu":
        made = _onnx(classifier, config)
        if made is not None:
            return made
    from sonolearn.deploy.network import torch_runtime

    return torch_runtime(classifier, config)


def _device(config: PredictConfig) -> str:
    """cpu, cuda or mps; without torch there is only the CPU."""
    if config.accelerator == "cpu" or (config.accelerator == "auto" and find_spec("torch") is None):
        return "cpu"
    from sonolearn.deploy.network import device_of

    return device_of(config).type


def _onnx(classifier: Classifier, config: PredictConfig) -> Runtime | None:
    """ONNX Runtime, or None where it is not asked for and cannot be had."""
    try:
        session = session_of(onnx_bytes(classifier), threads=1)
    except NotExportable as error:
        if config.engine == "onnx":
            raise UserError(f"--engine onnx: {error}; give --engine torch") from error
        warn(f"{error}: PyTorch computes it")
        return None

    def classify(frames: Frames) -> Probabilities:
        (probabilities,) = session.run(None, {"frames": frames})
        return np.asarray(probabilities, np.float32)

    return Runtime("onnx", classify, config.batch or CPU_BATCH, cores(config))


def onnx_bytes(classifier: Classifier) -> bytes:
    """The graph of a classifier, from the file beside it, or made and written there.

    Where the folder may not be written to, the graph is made anew each time.

    Raises:
        NotExportable: an operator of the network has no counterpart, or its probabilities differ from PyTorch's.
        UserError: there is none, and no torch to make it.
    """
    if find_spec("torch") is None:
        return intact(_graph_beside(classifier.file)).read_bytes()
    file = onnx_file(classifier.file)
    if file.is_file():
        return intact(file).read_bytes()
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise NotExportable(f"{' and '.join(missing)} not installed (pip install 'sonolearn[train]')")
    from sonolearn.deploy.network import export

    say(f"{classifier.file.name}: making its ONNX graph, once")
    graph = export(classifier)
    with contextlib.suppress(UserError), writing(file) as temporary:
        temporary.write_bytes(graph)
    return graph


def onnx_file(file: Path) -> Path:
    """Where the graph of a classifier is kept: named by its content and by what made it, so that none is stale."""
    return file.with_name(f"{file.stem}.{hash_file(file)}-{__version__}-torch{version('torch').split('+')[0]}.onnx")


def _graph_beside(file: Path) -> Path:
    """A graph of this very classifier, whichever versions made it.

    Raises:
        UserError: there is none.
    """
    found = sorted(file.parent.glob(f"{glob.escape(file.stem)}.{hash_file(file)}-*.onnx"))
    if not found:
        raise UserError(
            f"{file}: its ONNX graph is not beside it, and torch, which makes it, is not installed: call `sonolearn "
            "predict` once where it was trained and copy the .onnx file, too, or pip install 'sonolearn[train]'"
        )
    return found[-1]


def session_of(graph: bytes, threads: int) -> Any:
    """A session of ONNX Runtime that computes a call on the given number of cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def cores(config: PredictConfig) -> int:
    """Threads that classify."""
    with suppress(AttributeError):  # not on every system
        return config.threads or len(os.sched_getaffinity(0))
    return config.threads or os.cpu_count() or 1
