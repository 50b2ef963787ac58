"""Monitors against their formulas and closed forms, and that a collapse is noticed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from processes import on_processes
from sonolearn.ssl import pretrain as loop
from sonolearn.ssl.monitors import alignment, effective_rank, feature_std, has_collapsed, monitor, uniformity
from sonolearn.ssl.pretrain import pretrain
from ssl_methods import embeddings, small
from stores import write_store


@pytest.mark.parametrize(("count", "features"), [(300, 5), (40, 40), (20, 200)])
def test_the_effective_rank_is_that_of_rankme(count: int, features: int) -> None:
    z, _ = embeddings(count, features)
    singular = np.linalg.svd(z.double().numpy(), compute_uv=False)
    p = singular / singular.sum() + 1e-7
    assert effective_rank(z) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-3)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_counts_equal_directions(rank: int) -> None:
    z = torch.zeros(64, 16)
    z[torch.arange(64), torch.arange(64) % rank] = 2.0
    assert effective_rank(z) == pytest.approx(rank, rel=1e-3)


def test_features_in_all_directions_have_a_deviation_of_one_and_equal_ones_none() -> None:
    z = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_std(z) == pytest.approx(1, abs=0.02)
    assert feature_std(torch.ones(10, 64)) == pytest.approx(0, abs=1e-6)


def test_alignment_and_uniformity_are_those_of_the_paper() -> None:
    z1, z2 = (torch.nn.functional.normalize(z, dim=1) for z in embeddings(15, 6))
    # The code in the paper (Wang & Isola, figure 5).
    assert alignment(z1, z2) == pytest.approx(float((z1 - z2).norm(dim=1).pow(2).mean()), rel=1e-5)
    assert uniformity(z1) == pytest.approx(float(torch.pdist(z1).pow(2).mul(-2).exp().mean().log()), rel=1e-5)


def test_opposite_points_have_the_least_uniformity_of_two_and_equal_ones_none() -> None:
    z = torch.eye(4)[0]
    assert uniformity(torch.stack([z, -z])) == pytest.approx(-8)
    assert uniformity(torch.stack([z, z])) == pytest.approx(0)
    assert alignment(z[None], -z[None]) == pytest.approx(4)


def test_the_monitors_look_at_all_batches_and_at_one_view_where_there_is_one() -> None:
    encoder, views = nn.Flatten(), [torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    figures = monitor(encoder, [(v, v) for v in views])
    joined = torch.cat(views).flatten(1)
    assert math.isnan(figures["alignment"])
    assert figures["effective_rank"] == pytest.approx(effective_rank(joined))
    two = monitor(encoder, [(v, v + 1) for v in views])
    assert two["alignment"] == pytest.approx(alignment(joined, joined + 1))


def test_two_processes_see_the_monitors_of_all_samples() -> None:
    on_processes(2, _compare)


def _compare(rank: int, count: int) -> None:
    views = torch.randn(8, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    share = views[rank::count]
    figures = monitor(nn.Flatten(), [(share, share + 1)])
    joined = views.flatten(1)
    assert figures["effective_rank"] == pytest.approx(effective_rank(joined), rel=1e-5)
    assert figures["uniformity"] == pytest.approx(uniformity(joined), rel=1e-5)


@pytest.mark.parametrize(
    ("features", "collapsed"),
    [
        (torch.ones(50, 32) + 1e-4 * torch.randn(50, 32), True),
        (torch.outer(torch.randn(50), torch.randn(32)), True),
        (torch.zeros(50, 32), True),
        (torch.randn(50, 32), False),
        (torch.randn(50, 3) @ torch.randn(3, 32), False),
    ],
    ids=["constant", "one line", "zero", "all directions", "three directions"],
)
def test_a_collapse_is_told_from_a_low_rank(features: torch.Tensor, collapsed: bool) -> None:
    figures = {"feature_std": feature_std(features), "effective_rank": effective_rank(features)}
    assert has_collapsed(figures) == collapsed


def test_a_run_whose_encoder_collapses_says_so_at_once_and_in_its_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The encoder is made to collapse: from the third step on its last layers give zero for everything."""
    step_of = loop.Training.train_step

    def collapsing(self: loop.Training, views: torch.Tensor) -> dict[str, torch.Tensor]:
        figures = step_of(self, views)
        if self.step >= 2:
            with torch.no_grad():
                for parameter in self.method.encoder.parameters():
                    parameter.zero_()
        return figures

    monkeypatch.setattr(loop.Training, "train_step", collapsing)
    store = write_store(tmp_path / "store")
    run = pretrain([store], tmp_path / "run", small("byol", epochs=2))
    assert "step 6: the encoder has collapsed" in capsys.readouterr().err
    assert json.loads((run / "summary.json").read_text())["collapsed"] is True
    metrics = pd.read_csv(run / "metrics.csv").query("part == 'monitor'")
    assert metrics["feature_std"].iloc[-1] == pytest.approx(0, abs=1e-6)


def test_a_healthy_run_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pretrain([write_store(tmp_path / "store")], tmp_path / "run", small("vicreg", epochs=2))
    assert "collapsed" not in capsys.readouterr().err
    summary = json.loads((run / "summary.json").read_text())
    assert summary["collapsed"] is False
    assert {"feature_std", "effective_rank", "alignment", "uniformity"} == set(summary["monitors"])
