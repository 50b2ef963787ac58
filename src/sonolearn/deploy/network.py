"""The network of a saved classifier: loaded, turned into an ONNX graph, computed by PyTorch. Needs torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from sonolearn.config.classify import PredictConfig
from sonolearn.console import UserError
from sonolearn.deploy.classifier import Classifier
from sonolearn.deploy.runtime import CPU_BATCH, GPU_BATCH, NotExportable, Runtime, cores, session_of
from sonolearn.planes.card import Probabilities
from sonolearn.planes.saved import PlaneNetwork
from sonolearn.runs import generator_for
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import build
from sonolearn.store.store import Frames

TOLERANCE = 1e-4


def load_network(classifier: Classifier) -> PlaneNetwork:
    """(N, S, S) uint8 frames to (N, C) float32 probabilities, in evaluation mode.

    Raises:
        UserError: the file is damaged.
    """
    card = classifier.card
    network = PlaneNetwork(build(card.encoder, seed=0), len(card.planes), card.encoder.mean, card.encoder.std)
    try:
        with safe_open(classifier.file, framework="pt") as stored:
            network.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{classifier.file}: its weights do not fit its card; train it again") from error
    return network.eval().requires_grad_(False)


def export(classifier: Classifier) -> bytes:
    """Make the graph, and compare it with the network.

    Raises:
        NotExportable: an operator of the network has no counterpart, or its probabilities differ from PyTorch's.
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


def device_of(config: PredictConfig) -> torch.device:
    """The device that the options name.

    Raises:
        UserError: it is not there.
    """
    return make_fabric(config.accelerator, "32-true").device


def torch_runtime(classifier: Classifier, config: PredictConfig) -> Runtime:
    """PyTorch on the device that the options name."""
    device = device_of(config)
    network = classifier.network.to(device)

    def classify(frames: Frames) -> Probabilities:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(frames).to(device)).cpu().numpy(), np.float32)

    if device.type != "cpu":
        return Runtime("torch", classify, config.batch or GPU_BATCH, 1)
    return Runtime("torch", classify, config.batch or CPU_BATCH, cores(config), lambda: torch.set_num_threads(1))
