"""Figures as SVG: short, and the same picture."""

from __future__ import annotations

import re

import pytest
from matplotlib.figure import Figure

from sonolearn.reports.figures import as_svg


@pytest.fixture
def svg() -> str:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1 / 3, 1], [0, 1 / 7, 2], label="a line")
    axes.legend()
    return as_svg(figure)


def test_paths_are_given_to_a_hundredth_of_a_point(svg: str) -> None:
    paths = re.findall(r' d="([^"]*)"', svg)
    assert len(paths) > 10
    decimals = [number for path in paths for number in re.findall(r"\.(\d+)", path)]
    assert max(map(len, decimals)) == 2


def test_scales_of_letters_are_left_as_they_are(svg: str) -> None:
    # 64 units a point: cut to two decimals, letters would be a third smaller.
    assert "scale(0.015625)" in svg
