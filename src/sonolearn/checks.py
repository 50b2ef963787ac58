"""Refusing settings that make no sense, each with one sentence that names option, value and remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from sonolearn.console import UserError


def require(condition: bool, sentence: str) -> None:
    """Refuse a setting with one sentence unless `condition` holds."""
    if not condition:
        raise UserError(sentence)


def require_each(config: object, accepted: Callable[[Any], bool], remedy: str, *options: str) -> None:
    """Refuse the first of several options that is set and not `accepted`; names as on the command line, dotted."""
    for option in options:
        value = getattr(config, option.rsplit(".", 1)[-1])
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        require(value is None or accepted(value), f"--{option} {shown}: {remedy}")


def positive(value: float) -> bool:
    """More than 0, and finite."""
    return 0 < value < math.inf


def not_negative(value: float) -> bool:
    """0 or more, and finite."""
    return 0 <= value < math.inf


def at_least_one(value: float) -> bool:
    """1 or more, and finite."""
    return 1 <= value < math.inf


def share(value: float | tuple[float, ...]) -> bool:
    """0 to 1, each of them where there are several."""
    return all(0 <= part <= 1 for part in (value if isinstance(value, tuple) else (value,)))


def require_pattern(pattern: str | None) -> None:
    """Refuse what is no regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"--patient_pattern {pattern}: is no regular expression ({error}); mend it") from error
