"""Features of the test images in two dimensions (t-SNE), coloured by plane, by patient and by machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sonolearn.reports.figures import COLOURS, MARKERS, SMALL, SOFT, Drawing, Grid, drawing_style, finish, panels
from sonolearn.runs import generator_for, seed_for

MAPS_A_FIGURE = 10
VIEWS = ("plane", "patient", "machine")
STEPS = 500
"""Of t-SNE: 1000 bring its loss down by half a percent more (500 images)."""
MOST = 300
"""Images on a map; more are drawn from by chance: they would cover each other, and take their time."""
CYCLE = 24
"""Looks for patients: eight colours, three markers; more patients than that share them."""


def flat_map(features: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """t-SNE (van der Maaten & Hinton, JMLR 2008) of (n, F) features; (n, 2), or None where there is nothing to map.

    Distances are cosine distances: the length of features differs between methods that normalise them and others
    that do not, and tells mostly how bright an image is; the monitors and nearest neighbours look at directions, too.
    Seeded, on one thread, so that equal features give equal maps.
    """
    from sklearn.manifold import TSNE

    known = features.astype(np.float64)
    lengths = np.linalg.norm(known, axis=1, keepdims=True)
    known = known / np.maximum(lengths, 1e-12)
    if len(known) < 5 or not np.isfinite(known).all() or np.ptp(known, axis=0).max() < 1e-6:
        return None
    with threadpool_limits(1):
        tsne = TSNE(
            perplexity=min(30, (len(known) - 1) / 3), metric="cosine", init="pca", max_iter=STEPS,
            random_state=seed_for("t-sne") % 2**32, n_jobs=1,
        )  # fmt: skip
        return np.asarray(tsne.fit_transform(known), np.float64)


def embedding_figures(
    embeddings: Mapping[str, NDArray[np.float32]], images: pd.DataFrame, planes: Sequence[str]
) -> list[Drawing]:
    """Two initialisations a row, each three times: by plane, patient and machine (where there are two machines).

    Args:
        embeddings: (n, F) features by label, of the images in their order.
        images: n rows: plane, patient, machine.
        planes: the classes in order.
    """
    chosen = np.arange(len(images))
    if len(images) > MOST:
        chosen = np.sort(generator_for("t-sne", "images").choice(len(images), MOST, replace=False))
    maps = {label: flat_map(features[chosen]) for label, features in embeddings.items()}
    shown = {label: places for label, places in maps.items() if places is not None}
    drawn = images.iloc[chosen]
    views = VIEWS if images["machine"].nunique() > 1 else VIEWS[:2]
    labels = list(shown)
    parts = [labels[start : start + MAPS_A_FIGURE] for start in range(0, len(labels), MAPS_A_FIGURE)]
    return [
        _figure({label: shown[label] for label in part}, drawn, planes, views, f"embeddings_{number + 1}")
        for number, part in enumerate(parts)
    ]


def _figure(
    maps: Mapping[str, NDArray[np.float64]],
    images: pd.DataFrame,
    planes: Sequence[str],
    views: Sequence[str],
    name: str,
) -> Drawing:
    pairs = 2
    rows = math.ceil(len(maps) / pairs)
    patients = images["patient"].nunique()
    with drawing_style():
        columns = pairs * len(views)
        figure, drawn = panels(rows, columns, Grid(28, left=1, right=1, top=17, bottom=1, across=1.5, down=9))
        for number, axes in enumerate(drawn):
            which, view = divmod(number, len(views))
            if which >= len(maps):
                axes.remove()
                continue
            label = list(maps)[which]
            order = planes if views[view] == "plane" else sorted(set(images[views[view]]))
            _points(axes, maps[label], images[views[view]].astype(str).to_numpy(object), order)
            axes.set_title(f"{label if view == 0 else ''}\nby {views[view]}", fontsize=SMALL)
        _legends(figure, planes, sorted(set(images["machine"])) if "machine" in views else [])
        cycled = f" {patients} patients share {CYCLE} looks (colour and marker)." if patients > CYCLE else ""
        return finish(
            figure, name,
            f"Features of the test images in two dimensions, {', '.join(maps)}; coloured by {', '.join(views)}",
            f"t-SNE of the features of {len(images)} test images (cosine distance, first seed of each start); only "
            "neighbourhoods mean something, not distances, axes or sizes of clouds. Planes should lie apart, patients "
            f"and machines should mix.{cycled}",
        )  # fmt: skip


def _points(axes: Axes, places: NDArray[np.float64], groups: NDArray[np.object_], order: Sequence[str]) -> None:
    look = pd.Index(order).get_indexer(pd.Index(groups)) % CYCLE
    for number in range(look.max(initial=-1) + 1):
        here, (colour, marker) = places[look == number], _look(number)
        axes.scatter(here[:, 0], here[:, 1], s=4, c=colour, marker=marker, linewidths=0, alpha=0.85, rasterized=True)
    axes.set(xticks=[], yticks=[])
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#d9dee5")


def _look(number: int) -> tuple[str, str]:
    cycled = number % CYCLE
    return COLOURS[cycled % len(COLOURS)], MARKERS[(cycled + 3 * (cycled // len(COLOURS))) % len(MARKERS)]


def _legends(figure: Figure, planes: Sequence[str], machines: Sequence[str]) -> None:
    for names, height, title in ((planes, 0.0, "plane"), (machines, 4.5, "machine")):
        handles = [
            Line2D([], [], linestyle="", marker=_look(i)[1], color=_look(i)[0], markersize=4, label=name)
            for i, name in enumerate(names)
        ]
        if not handles:
            continue
        top = 1 - height / 25.4 / figure.get_figheight()
        heading = Line2D([], [], linestyle="", label=f"{title}:")
        figure.legend(
            handles=[heading, *handles], loc="upper left", bbox_to_anchor=(0, top), ncols=len(handles) + 1,
            borderaxespad=0.1, handletextpad=0.1, columnspacing=1.0, fontsize=SMALL, labelcolor=SOFT,
        )  # fmt: skip
