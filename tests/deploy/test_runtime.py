"""Engines: equal probabilities, one graph for each classifier, and no name of this machine in it."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from media import fan
from sonolearn.config import PredictConfig
from sonolearn.console import UserError
from sonolearn.deploy import network as onnx_export
from sonolearn.deploy import runtime
from sonolearn.deploy.classifier import Classifier, load_classifier
from sonolearn.deploy.runtime import make_runtime, onnx_bytes, onnx_file

FRAMES = np.stack([cv2.resize(frame[40:, 60:260], (32, 32)) for frame in fan(7, seed=9)]).astype(np.uint8)


def asked(**options: object) -> PredictConfig:
    return PredictConfig(accelerator="cpu", **options)  # type: ignore[arg-type]


def test_both_engines_give_the_same_probabilities_whatever_the_batch(classifier: Classifier) -> None:
    by_torch = make_runtime(classifier, asked(engine="torch")).classify(FRAMES)
    by_onnx = make_runtime(classifier, asked(engine="onnx"))
    assert by_onnx.name == "onnx"
    assert np.ptp(by_torch, axis=0).max() > 0.05  # they say something of the frames
    assert by_torch.sum(1) == pytest.approx(1, abs=1e-5)
    for batch in (1, 3, 7):
        parts = [by_onnx.classify(FRAMES[start : start + batch]) for start in range(0, 7, batch)]
        assert np.concatenate(parts) == pytest.approx(by_torch, abs=1e-4)


def test_the_graph_takes_bytes_holds_no_batch_norm_and_names_no_source(classifier: Classifier) -> None:
    graph = onnx_bytes(classifier)
    model = onnx.load_model_from_string(graph)
    assert [tensor.name for tensor in model.graph.input] == ["frames"]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    for secret in (b".py", b"stack_trace", str(Path.cwd()).encode(), str(Path(sys.prefix)).encode()):
        assert secret not in graph


def test_the_graph_is_made_once_and_anew_for_another_classifier(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(onnx_export, "export", lambda c: made.append(c.file) or b"graph")
    file = tmp_path / "1.0_0.safetensors"
    shutil.copy(classifier.file, file)
    for _ in range(2):
        assert onnx_bytes(load_classifier(file)) == b"graph"
    assert made == [file]
    before = onnx_file(file)
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert onnx_file(file) != before


def test_a_graph_that_says_something_else_is_not_used(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(classifier: Classifier) -> bytes:
        raise runtime.NotExportable("the ONNX graph of test_resnet gives other probabilities")

    monkeypatch.setattr(runtime, "onnx_bytes", refuse)
    assert make_runtime(classifier, asked()).name == "torch"
    assert "PyTorch computes it" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"--engine onnx: .*; give --engine torch"):
        make_runtime(classifier, asked(engine="onnx"))


def test_probabilities_are_compared_when_the_graph_is_made(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx_bytes(classifier)
    monkeypatch.setattr(onnx_export, "_exported", lambda *_: graph)
    assert onnx_export.export(classifier) == graph
    other = load_classifier(classifier.file)
    other.network.head.bias.data += torch.tensor([0.0, 0.0, 100.0])
    with pytest.raises(runtime.NotExportable, match="other probabilities"):
        onnx_export.export(other)


def test_without_the_exporter_pytorch_computes_and_asking_for_onnx_is_answered(
    classifier_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(classifier_path, tmp_path)
    fresh = load_classifier(tmp_path / classifier_path.name)
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    assert make_runtime(fresh, asked()).name == "torch"
    with pytest.raises(UserError, match=r"--engine onnx: onnxscript not installed .pip install 'sonolearn\[train\]'"):
        make_runtime(fresh, asked(engine="onnx"))


def test_weights_that_do_not_fit_the_card_are_refused(classifier_path: Path, tmp_path: Path) -> None:
    with safe_open(classifier_path, "pt") as stored:
        weights, metadata = {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata()  # noqa: SIM118
    del weights["head.bias"]
    save_file(weights, tmp_path / "cut.safetensors", metadata=metadata)
    with pytest.raises(UserError, match="its weights do not fit its card"):
        make_runtime(load_classifier(tmp_path / "cut.safetensors"), asked(engine="torch"))
