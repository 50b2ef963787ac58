"""Which kept scans a person should look at first, and why.

Nothing here changes a store: a scan with a doubt is kept like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sonolearn.pages import grouped, percent

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


def left_out(scan: Mapping[str, Any]) -> dict[str, int]:
    """Frames of a scan that were left out, by reason, most first."""
    text = scan["refused_frames"]
    counts: dict[str, int] = json.loads(text) if isinstance(text, str) and text else {}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def left_out_share(scan: Mapping[str, Any]) -> float:
    """Share of the frames read that were left out, 0 to 1."""
    return sum(left_out(scan).values()) / max(1, int(scan["taken"]))


def reasons_of(scan: Mapping[str, Any]) -> str:
    """Reasons and numbers of the frames left out, such as "doppler 12, frozen 3"; empty where there are none."""
    return ", ".join(f"{reason} {grouped(count)}" for reason, count in left_out(scan).items())
