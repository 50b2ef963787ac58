"""The result page of `predict`: where in each scan which plane is, how sure the classifier is, and what was left out.

The page stands alone: it names scans by pseudonyms only, and its pictures are small copies of cleaned frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.checksums import intact
from sonolearn.deploy.results import BEST_ENDING, FOLDER
from sonolearn.pages import grouped, percent, template
from sonolearn.runs import write_text

PAGE = "report.html"
SHOWN = 500
"""Scans with a timeline and pictures, at most; the table has all of them."""
POINTS = 160
"""Points of a timeline, at most: about one for four px."""
WIDTH, LANE = 600, 22
"""Of a timeline, and of the lane of a plane in it, in px."""


def write_page(out: Path, scans: pd.DataFrame, planes: Sequence[str], threshold: str = "") -> Path:
    """Write the page of a run.

    Args:
        out: the run folder, whose files of scans are read one at a time.
        scans: scans.csv, a row a scan.
        planes: the C classes.
        threshold: a sentence on how frames are told that show none of the planes; empty where nothing tells them.
    """
    counted = scans.assign(left_out_count=scans["taken"] - scans["frames"])
    rows = cast("list[dict[str, Any]]", counted.to_dict("records"))
    classified = [row for row in rows if row["frames"]]
    page = template("predict.html.j2", grouped=grouped, percent=percent).render(
        title=f"{grouped(len(rows))} scan{'s' if len(rows) != 1 else ''}",
        rows=rows,
        planes=planes,
        threshold=threshold,
        cards=(_card(out, row, planes) for row in classified[:SHOWN]),
        more=max(0, len(classified) - SHOWN),
        found={plane: sum(row["plane"] == plane for row in classified) for plane in planes},
        frames=sum(row["frames"] for row in rows),
        rejected=len(rows) - len(classified),
    )
    write_text(out / PAGE, page, checksum=False)
    return out / PAGE


def _card(out: Path, row: dict[str, Any], planes: Sequence[str]) -> dict[str, Any]:
    """What the page shows of a scan: its lanes, and the best frame of each plane where it was kept."""
    frames = pd.read_csv(intact(out / FOLDER / f"{row['scan']}.csv"))
    best = out / FOLDER / f"{row['scan']}{BEST_ENDING}"
    pictures = pd.read_csv(intact(best)).to_dict("records") if best.exists() else []
    each = frames[[f"p_{plane}" for plane in planes]].to_numpy(np.float64)
    shows = each.argmax(1)[:, None] == np.arange(len(planes))
    lanes = [
        {"plane": plane, "curve": curve(each[:, number]), "marks": marks(shows[:, number]), "y": number * LANE}
        for number, plane in enumerate(planes)
    ]
    for picture in pictures:
        picture["plane"] = planes[picture["number"]]
        picture["x"] = _place(frames["frame"].to_numpy(), picture["frame"])
        picture["y"] = picture["number"] * LANE
    seconds = float(frames["time"].iloc[-1]) if frames["time"].notna().all() else None
    return {**row, "lanes": lanes, "pictures": pictures, "seconds": seconds, "width": WIDTH, "lane": LANE}


def curve(values: NDArray[np.float64]) -> str:
    """An SVG path, filled from 0, of (n,) probabilities over the width of a timeline; each frame has an equal share.

    Of more than `POINTS` frames the highest of neighbours is drawn, so that no peak is lost.
    """
    parts = np.array_split(values, min(len(values), POINTS))
    heights = [round((LANE - 3) * (1 - float(part.max()))) + 2 for part in parts]
    ends = [round(WIDTH * (number + 1) / len(parts)) for number in range(len(parts))]
    return (
        f"M0 {LANE - 1}" + "".join(f"V{high}H{end}" for high, end in zip(heights, ends, strict=True)) + f"V{LANE - 1}Z"
    )


def marks(shown: NDArray[np.bool_]) -> str:
    """An SVG path that underlines the frames where a plane is the most probable one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shown.astype(np.int8), [0]])))
    scale = WIDTH / len(shown)
    return "".join(f"M{a * scale:.1f} {LANE - 1}H{b * scale:.1f}" for a, b in edges.reshape(-1, 2))


def _place(numbers: NDArray[np.int64], frame: int) -> float:
    """Where the middle of a frame is on a timeline."""
    return round(WIDTH * (int(np.searchsorted(numbers, frame)) + 0.5) / len(numbers), 1)
