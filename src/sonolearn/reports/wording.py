"""Numbers and names as the page writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import SupportsFloat

MODES = {
    "finetune": "Full fine-tuning",
    "linear": "Linear evaluation",
    "knn": "Nearest neighbours",
}
EXPLAINED = {
    "finetune": "Every weight of the encoder and a linear head learn from the labelled images.",
    "linear": "The encoder is frozen; only a linear head learns from the labelled images.",
    "knn": "The encoder is frozen and nothing is trained: the most similar labelled images vote. "
    "With all labels, seeds differ only where the encoder does.",
}
FEW_PATIENTS, FEW_SEEDS, FEW_IMAGES = 10, 3, 10


def percent(fraction: float) -> str:
    """0.01 as 1 %."""
    return f"{100 * fraction:g} %"


def signed(value: float) -> str:
    """A difference with its sign; the minus is a real one."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def counted(least: int, most: int | None, noun: str) -> str:
    """1 patient, 5 patients, 5 to 6 patients."""
    if most is not None and most != least:
        return f"{least} to {most} {noun}s"
    return f"{least:,} {noun}{'' if least == 1 else 's'}".replace(",", " ")


def listed(items: list[str]) -> str:
    """A, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence_case(text: str) -> str:
    """First letter large, full stop at the end."""
    return text[0].upper() + text[1:].rstrip(".") + "."


MORE_MODES = {"logistic": "Logistic regression on features"}
MINUS, DASH, NARROW = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"


def mode_title(mode: str) -> str:
    """Full fine-tuning, Linear evaluation: a mode as headings have it."""
    return {**MORE_MODES, **MODES}.get(mode, mode)


def compact(number: SupportsFloat) -> str:
    """A count as short as a tick needs it: 940, 12.4k."""
    value = float(number)
    return f"{value:.0f}" if value < 10000 else f"{value / 1000:.3g}k"


def span(least: SupportsFloat, most: SupportsFloat) -> str:
    """8 or 8-11, with a dash of its own width."""
    low, high = round(float(least)), round(float(most))
    return f"{low}" if low == high else f"{low}{DASH}{high}"


def three(value: float) -> str:
    """Three decimals with a real minus; nothing where there is no number."""
    return "" if math.isnan(value) else f"{value:.3f}".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """0.712 to 0.834; nothing where there is none."""
    return "" if math.isnan(low) or math.isnan(high) else f"{three(low)} to {three(high)}"


def percent_label(fraction: float) -> str:
    """0.01 as 1 %, with a space that does not break."""
    return f"{100 * fraction:g}{NARROW}%"


def slugs(names: Sequence[Sequence[str]]) -> list[str]:
    """A different file name for each of `names`, of small letters, digits and underscores."""
    found = list[str]()
    for parts in names:
        slug = re.sub(r"[^a-z0-9]+", "_", "_".join(parts).lower()).strip("_") or "name"
        found.append(slug if slug not in found else f"{slug}_{len(found) + 1}")
    return found


def setting_title(encoder: str, mode: str, encoders: int) -> str:
    """Full fine-tuning; with the encoder where there are several."""
    return mode_title(mode) if encoders == 1 else f"{mode_title(mode)}, {encoder}"


def wrapped(text: str, letters: float) -> str:
    """Two lines, broken at the space nearest to the middle, where the text is longer than `letters`."""
    if len(text) <= letters or " " not in text:
        return text
    middle = min((i for i, letter in enumerate(text) if letter == " "), key=lambda i: abs(i - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"
