"""What computes the network of a classifier: ONNX Runtime or PyTorch; both give the same probabilities within 1e-4.

On CPUs a call computes on one core, and several threads call at the same time, a batch each (`overlap`): that takes
less time in all than to split each layer of one batch between cores, which have to wait for each other at every layer.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonolearn.checksums import intact
from sonolearn.config.classify import PredictConfig
from sonolearn.console import UserError, say, warn
from sonolearn.deploy.classifier import Classifier
from sonolearn.planes.head import Probabilities
from sonolearn.runs import generator_for, hash_file, writing
from sonolearn.ssl.devices import make_fabric
from sonolearn.store.store import Frames
from sonolearn.version import __version__

TOLERANCE = 1e-4


class NotExportable(Exception):  # noqa: N818 - a property of the network
    """A network that ONNX cannot compute, or not equally."""


def onnx_bytes(classifier: Classifier) -> bytes:
    """The graph of a classifier, from the file beside it, or made and written there.

    Where the folder may not be written to, the graph is made anew each time.

    Raises:
        NotExportable: an operator of the network has no counterpart, or its probabilities differ from PyTorch's.
    """
    file = onnx_file(classifier.file)
    if file.is_file():
        return intact(file).read_bytes()
    say(f"{classifier.file.name}: making its ONNX graph, once")
    graph = export(classifier)
    with contextlib.suppress(UserError), writing(file) as temporary:
        temporary.write_bytes(graph)
    return graph


def session_of(graph: bytes, threads: int) -> Any:
    """A session of ONNX Runtime that computes a call on the given number of cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def onnx_file(file: Path) -> Path:
    """Where the graph of a classifier is kept: named by its content and by what made it, so that none is stale."""
    return file.with_name(f"{file.stem}.{hash_file(file)}-{__version__}-torch{torch.__version__.split('+')[0]}.onnx")


def export(classifier: Classifier) -> bytes:
    """Make the graph, and compare it with the network.

    Raises:
        NotExportable: see `onnx_bytes`.
    """
    size = classifier.image_size
    noise = generator_for("onnx", size).integers(0, 256, (3, size, size), np.uint8)
    sample = noise // np.array([1, 4, 16], np.uint8)[:, None, None]
    try:
        graph = _exported(classifier, torch.from_numpy(sample))
    except torch.onnx.OnnxExporterError as error:
        raise NotExportable(f"{classifier.card.encoder.encoder} cannot be turned into an ONNX graph") from error
    (found,) = session_of(graph, threads=1).run(None, {"frames": sample})
    with torch.inference_mode():
        expected = classifier.network(torch.from_numpy(sample)).numpy()
    if not np.allclose(found, expected, atol=TOLERANCE, rtol=0):
        raise NotExportable(f"the ONNX graph of {classifier.card.encoder.encoder} gives other probabilities")
    return graph


def _exported(classifier: Classifier, sample: torch.Tensor) -> bytes:
    """The optimised graph without the names of source files that the exporter notes at each node."""
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                classifier.network, (sample,), dynamo=True, verbose=False, optimize=True,
                input_names=["frames"], output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
            )  # fmt: skip
    finally:
        quiet.setLevel(level)
    assert program is not None
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer,
                 *model.graph.input, *model.graph.output, *model.functions):  # fmt: skip
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return bytes(model.SerializeToString())


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
