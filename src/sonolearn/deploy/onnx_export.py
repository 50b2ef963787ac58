"""A classifier as an ONNX graph: made once, kept beside its file.

The graph takes (N, S, S) uint8 `frames` and gives (N, C) float32 `probabilities`: normalisation and softmax are part of
it, batch norm is folded into the convolutions. It names no path and no source code of the machine that made it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonolearn.checksums import intact
from sonolearn.console import UserError, say
from sonolearn.deploy.classifier import Classifier
from sonolearn.runs import generator_for, hash_file, writing
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
    """A session of ONNX Runtime that computes a call on so many cores."""
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
