"""The benchmark of `predict`: both sides classify as many frames, and rows name peer and target."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import predict
from sonolearn.config import PredictConfig


def test_rows_are_of_the_default_and_of_every_frame_against_both_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    ready: list[int] = []
    counted: list[int] = []
    alone, classified = predict.onnx_alone, predict.classified
    monkeypatch.setattr(predict, "onnx_alone", lambda s, frames: ready.append(len(frames)) or alone(s, frames))
    monkeypatch.setattr(predict, "classified", lambda *a: counted.append(classified(*a)) or counted[-1])
    rows = list(predict.rows(quick=True))
    assert [row.target for row in rows] == [0.9, None, None, None]
    assert [row.against.split(":")[0] for row in rows] == ["ONNX Runtime alone", "PyTorch alone"] * 2
    assert all(row.ratio is not None and math.isfinite(row.ratio) and row.ratio > 0 for row in rows)
    assert all("times real time" in row.figure for row in rows)
    # 40 frames, every fifth; 4 frames, each of them: ONNX Runtime got as many as sonolearn classified, in every round.
    assert Counter(counted).keys() == set(ready) == {8, 4}


def test_the_plain_graph_gives_the_logits_behind_the_probabilities(tmp_path: Path) -> None:
    sizes = predict.Sizes("test_resnet", 32, 20, 1)
    classifier = predict.made_classifier(tmp_path, sizes)
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32)).astype("uint8")
    session = predict.session_of(predict.plain_graph(classifier), 1)
    logits = predict.onnx_alone(session, ((frames[:, None] / 255 - 0.5) / 0.5).astype("float32"))()
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    config = PredictConfig(engine="torch", accelerator="cpu")
    expected = predict.make_runtime(classifier, config).classify(frames)
    assert exponents / exponents.sum(1, keepdims=True) == pytest.approx(expected, abs=1e-4)
