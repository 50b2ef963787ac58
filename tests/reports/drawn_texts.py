"""Where the texts of a figure stand, as the renderer places them."""

from __future__ import annotations

from itertools import combinations
from types import ModuleType

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import BboxBase

from sonolearn.reports.figures import Drawing


class DrawnTexts:
    """The texts of the last figure that a module has finished."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "finish", self._finish)

    def _finish(self, figure: Figure, name: str, alt: str, caption: str) -> Drawing:
        renderer = FigureCanvasAgg(figure).get_renderer()
        texts = [one for one in figure.findobj(Text) if isinstance(one, Text) and one.get_text() and one.get_visible()]
        self.boxes: dict[tuple[int, str], BboxBase] = {
            (number, one.get_text()): one.get_window_extent(renderer) for number, one in enumerate(texts)
        }
        self.figure = figure.bbox
        return Drawing(name, "", b"", alt, caption)

    def outside(self) -> list[str]:
        """Texts that are cut off at an edge of the figure."""
        edges = self.figure
        return [
            text
            for (_, text), box in self.boxes.items()
            if box.x0 < edges.x0 or box.x1 > edges.x1 or box.y0 < edges.y0 or box.y1 > edges.y1
        ]

    def over_one_another(self) -> list[tuple[str, str]]:
        """Pairs of texts that share a place."""
        return [(a[1], b[1]) for a, b in combinations(self.boxes, 2) if self.boxes[a].overlaps(self.boxes[b])]
