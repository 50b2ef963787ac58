"""The report of a store: what was kept, what was left out, and which scans deserve a look before one goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from sonolearn.pages import grouped, percent, template
from sonolearn.runs import flat, write_text

COST = 0.05  # of an outline: echoes and fitted shape visibly disagree
MARKS = 0.03  # share of a sector: callipers and a label take less, wrongly painted tissue more
TEXTS = 3  # groups: more than the label or two that is written on a picture by hand
LEFT_OUT = 0.5  # share of the frames read


@dataclass(frozen=True)
class Doubt:
    """One reason to look at a scan."""

    name: str
    """What it is about, such as "Outline"; few words, the same for all scans."""
    words: str
    """A sentence with the scan's own figures."""
    weight: float
    """How far over the limit: 1 is at it."""


def doubts(scan: Mapping[str, Any], cropped: bool) -> list[Doubt]:
    """The reasons to look at a scan, the weightiest first; none for most scans.

    Args:
        scan: its row in the table that `write_report` takes; figures that are NaN raise no doubt.
        cropped: scans were to be cropped, so that a whole screen is none that was asked for.
    """
    found = []
    cost, marks, texts, share = scan["sector_cost"], scan["marks"], scan["texts"], left_out_share(scan)
    if cost > COST:
        words = f"the shape fits the echoes badly: cost {cost:.2f}, doubtful above {COST}."
        found.append(Doubt("Outline", words, cost / COST))
    if marks > MARKS:
        found.append(Doubt("Painted over", f"{percent(marks)} of the sector.", marks / MARKS))
    if texts >= TEXTS:
        found.append(Doubt("Text inside", f"{grouped(int(texts))} groups that look like text.", texts / TEXTS))
    if share > LEFT_OUT:
        words = f"{percent(share)} of those read ({reasons_of(scan)})."
        found.append(Doubt("Frames left out", words, share / LEFT_OUT))
    if cropped and scan["sector_from"] == "whole":
        found.append(Doubt("Whole screen", "no sector was found, so text of the screen may be in the frames.", 2.0))
    return sorted(found, key=lambda doubt: -doubt.weight)


def left_out(refused_frames: object) -> dict[str, int]:
    """Frames of a scan that were left out, by reason, most first, from the column `refused_frames`."""
    counts: dict[str, int] = json.loads(refused_frames) if isinstance(refused_frames, str) and refused_frames else {}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def left_out_share(scan: Mapping[str, Any]) -> float:
    """Share of the frames read that were left out, 0 to 1."""
    return sum(left_out(scan["refused_frames"]).values()) / max(1, int(scan["taken"]))


def reasons_of(scan: Mapping[str, Any]) -> str:
    """Reasons and numbers of the frames left out, such as "doppler 12, frozen 3"; empty where there are none."""
    return ", ".join(f"{reason} {grouped(count)}" for reason, count in left_out(scan["refused_frames"]).items())


PAGE, PICTURES = "report.html", "report"
CARDS = 200  # of a section; a browser shows ten thousand only slowly, and nobody looks at them
REJECTED_CARDS = 40  # of a reason, so that a common one does not crowd out the others
_SOURCES = {"dicom": "the machine's region", "image": "found in the picture", "whole": "whole screen, not cropped"}
Row = Mapping[str, Any]


def write_report(
    folder: Path,
    scans: pd.DataFrame,
    rejected: pd.DataFrame,
    options: Mapping[str, Any],
    title: str = "Prepared scans",
) -> Path:
    """Write `folder/report.html`, whole or not at all.

    Args:
        folder: the store; pictures are looked for in `folder/report`.
        scans: a row a kept scan: scan, patient (pseudonyms), machine, kind, frames (kept), taken (frames read),
            refused_frames (JSON text, such as {"doppler": 12}), height, width, x0, y0, x1, y1 (px, ends excluded),
            sector_from (dicom, image or whole), shape (fan, quadrilateral, hull or empty), sector_cost (0 is perfect,
            NaN unknown), marks (share of the sector that was painted over, 0 to 1), texts (groups of text found inside
            the sector), picture (file name, or empty).
        rejected: a row a rejected scan: scan, kind, reason, message, share (of the frames with that reason, 0 to 1, or
            NaN), picture.
        options: of `prepare`, nested as they are there, to be shown; where `cleaning.sector` is False, whole screens
            raise no doubt.
        title: heading of the page.

    Returns:
        The page.

    Raises:
        UserError: the page cannot be written.
    """
    named = dict(flat(options))
    cropped = bool(named.get("cleaning.sector", True))
    kept = [(row, doubts(row, cropped)) for row in _rows(scans)]
    # Pseudonyms are random: in their order the first scans are a fair sample of all.
    first = sorted((pair for pair in kept if pair[1]), key=lambda pair: (-pair[1][0].weight, pair[0]["scan"]))
    others = sorted((pair for pair in kept if not pair[1]), key=lambda pair: pair[0]["scan"])
    page = template("prepare.html.j2", grouped=grouped, percent=percent).render(
        title=title,
        totals=_totals(scans, rejected),
        frames=_frames(scans),
        sectors=_sectors(scans),
        machines=_machines(kept),
        doubt_counts=Counter(doubt.name for _, found in first for doubt in found),
        first={"cards": [_card(folder, *pair) for pair in first[:CARDS]], "count": len(first)},
        reasons=_reasons(folder, rejected),
        others={"cards": [_card(folder, *pair) for pair in others[:CARDS]], "count": len(others)},
        options=named,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _totals(scans: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, int]:
    return {
        "Scans kept": len(scans),
        "Scans rejected": len(rejected),
        "Patients": scans["patient"].nunique(),
        "Machines": len({row["machine"] for row in _rows(scans) if row["machine"]}),
        "Frames kept": int(scans["frames"].sum()),
        "Frames left out": sum(sum(left_out(row["refused_frames"]).values()) for row in _rows(scans)),
        "Scans with marks": int((scans["marks"] > 0).sum()),
        "Texts inside": int(scans["texts"].sum()),
    }


def _frames(scans: pd.DataFrame) -> list[tuple[str, int, float]]:
    """What became of the frames read: words, number, share of all; kept first, then the reasons, most first."""
    counts: Counter[str] = Counter()
    for row in _rows(scans):
        counts.update(left_out(row["refused_frames"]))
    return _with_shares([("kept", int(scans["frames"].sum())), *counts.most_common()])


def _sectors(scans: pd.DataFrame) -> list[tuple[str, int, float]]:
    """Where sectors came from and of which shape they are: words, scans, share of all."""
    kinds = Counter(_sector(row) for row in _rows(scans))
    return _with_shares(kinds.most_common())


def _with_shares(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int, float]]:
    total = max(1, sum(count for _, count in counts))
    return [(name, count, count / total) for name, count in counts]


def _machines(kept: Sequence[tuple[Row, list[Doubt]]]) -> list[dict[str, Any]]:
    """A row a machine, the commonest first: what goes wrong often goes wrong for one machine."""
    names = Counter(row["machine"] for row, _ in kept)
    table = []
    for name, count in names.most_common():
        of_it = [(row, found) for row, found in kept if row["machine"] == name]
        frames = sum(int(row["frames"]) for row, _ in of_it)
        lost = sum(sum(left_out(row["refused_frames"]).values()) for row, _ in of_it)
        table.append({
            "name": name, "scans": count, "patients": len({row["patient"] for row, _ in of_it}), "frames": frames,
            "left_out": lost / max(1, frames + lost), "doubted": sum(bool(found) for _, found in of_it),
        })  # fmt: skip
    return table


def _reasons(folder: Path, rejected: pd.DataFrame) -> list[dict[str, Any]]:
    """Rejected scans by reason, the commonest first; in each, those that were nearly kept first."""
    found = []
    for reason, count in rejected["reason"].value_counts().items():
        rows = rejected[rejected["reason"] == reason].sort_values(["share", "scan"])
        cards = [_rejected_card(folder, row) for row in _rows(rows.head(REJECTED_CARDS))]
        found.append({"name": reason, "count": int(count), "share": count / len(rejected), "cards": cards})
    return found


def _card(folder: Path, row: Row, found: list[Doubt]) -> dict[str, Any]:
    share = (row["x1"] - row["x0"]) * (row["y1"] - row["y0"]) / max(1, row["height"] * row["width"])
    return {
        **row,
        **_picture(folder, row["picture"]),
        "doubts": found,
        "sector": _sector(row),
        "box": f"{percent(share)} of {row['width']} × {row['height']} px",
        "cost": None if pd.isna(row["sector_cost"]) else f"{row['sector_cost']:.3f}",
        "left_out": reasons_of(row),
    }


def _rejected_card(folder: Path, row: Row) -> dict[str, Any]:
    share: str | None = None if pd.isna(row["share"]) else f"{percent(row['share'])} of the frames"
    return {**row, **_picture(folder, row["picture"]), "share": share}


def _sector(row: Row) -> str:
    source = _SOURCES.get(row["sector_from"], row["sector_from"])
    return f"{row['shape']}, {source}" if row["shape"] else str(source)


def _picture(folder: Path, name: str) -> dict[str, Any]:
    """File and size in px of a picture, by which a browser lays the page out before it is loaded; None without one."""
    if not name or Path(name).name != name or not (folder / PICTURES / name).is_file():
        return {"picture": None, "size": None}
    with Image.open(folder / PICTURES / name) as picture:
        return {"picture": f"{PICTURES}/{name}", "size": picture.size}


def _rows(table: pd.DataFrame) -> list[Row]:
    """Rows of a table; empty text may have become NaN on its way through a CSV."""
    texts = [n for n in ("machine", "kind", "shape", "picture", "reason", "message", "refused_frames") if n in table]
    rows: list[Row] = table.fillna(dict.fromkeys(texts, "")).to_dict("records")  # type: ignore[assignment]
    return rows
