"""What a command of the command line is; loads nothing that `--help` would have to wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """A function, its config dataclass, and its positional argument with how often that may be given."""

    function: Callable[..., Any]
    config: type | None
    positional: str | None = None
    count: str | None = None
    layer: Callable[[Sequence[str], Mapping[str, Any]], dict[str, Any]] | None = None
    """Defaults that depend on other options: from the words and the YAML files, nested options."""

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]
