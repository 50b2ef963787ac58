"""`pretrain --compile`: torch.compile sees the whole method, and the run is the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sonolearn.config import Method as MethodName
from sonolearn.ssl.pretrain import pretrain
from ssl_methods import small
from stores import write_store


@pytest.mark.parametrize("method", ["barlow_twins", "byol", "moco", "inpainting"])
def test_a_compiled_run_ends_with_the_weights_of_a_plain_one(
    method: MethodName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "store")
    config = {"epochs": 1, "valid_patients": 0.2, "optimizer": {"warmup_epochs": 0}}
    plain = pretrain([store], tmp_path / "plain", small(method, **config))
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        # Traces and computes as it is: kernels would take a compiler and minutes, and round otherwise.
        compiled.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    torch.compiler.reset()
    run = pretrain([store], tmp_path / "compiled", small(method, compile=True, **config))
    assert max(compiled) > 50, "the encoder was not traced as a whole"
    one, other = (load_file(path / "encoder.safetensors") for path in (plain, run))
    assert one.keys() == other.keys()
    for name, weights in one.items():
        torch.testing.assert_close(other[name], weights, rtol=1e-4, atol=1e-5)
