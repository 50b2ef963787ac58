"""What computes the network of a classifier: ONNX Runtime or PyTorch; both give the same probabilities within 1e-4.

On CPUs a call computes on one core, and several threads call at the same time, a batch each (`overlap`): that takes
less time in all than to split each layer of one batch between cores, which have to wait for each other at every layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch

from sonolearn.config.predict import PredictConfig
from sonolearn.console import UserError, warn
from sonolearn.data.store import Frames
from sonolearn.deploy.classifier import Classifier
from sonolearn.deploy.onnx_export import NotExportable, onnx_bytes, session_of
from sonolearn.planes.head import Probabilities
from sonolearn.ssl.devices import make_fabric

CPU_BATCH, GPU_BATCH = 2, 64


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
    device = make_fabric(config.accelerator, "32-true").device
    on_cpu = device.type == "cpu"
    if config.engine == "onnx" and not on_cpu:
        raise UserError(f"--engine onnx: computes on CPUs, not on {device.type}; give --accelerator cpu")
    if config.engine != "torch" and on_cpu:
        made = _onnx(classifier, config)
        if made is not None:
            return made
    network = classifier.network.to(device)

    def classify(frames: Frames) -> Probabilities:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(frames).to(device)).cpu().numpy(), np.float32)

    if not on_cpu:
        return Runtime("torch", classify, config.batch or GPU_BATCH, 1)
    return Runtime("torch", classify, config.batch or CPU_BATCH, _cores(config), lambda: torch.set_num_threads(1))


def _onnx(classifier: Classifier, config: PredictConfig) -> Runtime | None:
    """ONNX Runtime, or None where it is not asked for and cannot be had."""
    missing = [name for name in ("onnxruntime", "onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        if config.engine == "onnx":
            raise UserError(f"--engine onnx: needs {', '.join(missing)}; pip install 'sonolearn[onnx]', or give torch")
        return None
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

    return Runtime("onnx", classify, config.batch or CPU_BATCH, _cores(config))


def _cores(config: PredictConfig) -> int:
    with suppress(AttributeError):  # not on every system
        return config.threads or len(os.sched_getaffinity(0))
    return config.threads or os.cpu_count() or 1
