"""What a person sees in the terminal: errors as one sentence, progress bars, messages.

Everything goes to standard error, so that a command's result on standard output can be piped.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


_FORMULA = re.compile(r"\s*[=+\-@]")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)


def no_formula(text: str) -> str:
    """Text that spreadsheets do not compute: an apostrophe stands before what begins like a formula; numbers stay.

    >>> no_formula("=1+1"), no_formula("-1.5"), no_formula("4CH")
    ("'=1+1", '-1.5', '4CH')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def one_line(text: object) -> str:
    """Text with a space for each run of line breaks, tabs and characters that cannot be printed.

    >>> one_line("4CH\\x1b[31m\\n")
    '4CH [31m'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def for_terminal(text: str) -> str:
    """Lines of text without the control characters by which a terminal would move, colour or answer.

    >>> for_terminal("a\\x1b[2J\\n")
    'a�[2J\\n'
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _controls(letter) else letter for letter in text)


def _controls(letter: str) -> bool:
    return letter not in "\n\t" and (ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0)


_LOG_SECONDS = 60.0
_QUIET = False


class UserError(ValueError):
    """A mistake that the user can correct: one sentence that names the file or option, and the remedy.

    The command line prints it without a traceback and exits with code 2. It is a `ValueError` so that
    a notebook can catch it as one.
    """


class Interrupted(UserError):  # noqa: N818 - it is not an error
    """The user stopped the work (Ctrl-C or SIGTERM); what was done is saved. Exit code 130."""


def console() -> Console:
    """The one rich console, on standard error; made late because importing rich takes 50 ms."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


@contextmanager
def quiet(asked: bool = True) -> Iterator[None]:
    """Print neither messages nor progress; warnings stay."""
    global _QUIET
    before, _QUIET = _QUIET, asked
    try:
        yield
    finally:
        _QUIET = before


def as_json(result: object) -> str:
    """The result of a command: a table as a list of rows, a store as its folder, a path as a text; NaN is null."""
    if hasattr(result, "to_json"):
        return str(result.to_json(orient="records", force_ascii=False))
    return json.dumps(_plain(getattr(result, "path", result)), ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def say(message: str) -> None:
    """Print one line for the person at the terminal."""
    if not _QUIET:
        console().print(for_terminal(message), markup=False)


def warn(message: str) -> None:
    """Print one line that the person should not overlook."""
    console().print(for_terminal(f"warning: {message}"), markup=False, style="yellow")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[ProgressBar]:
    """A progress bar with count, rate and time left.

    Where standard error is no terminal (CI, SLURM logs) a bar would fill the log: a line a minute is printed instead.
    """
    from rich import progress as rich

    screen = console()
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
    times = (rich.TimeElapsedColumn(), rich.TimeRemainingColumn())
    bar = rich.Progress(*columns, *times, console=screen, disable=_QUIET or not screen.is_terminal)
    with bar:
        yield ProgressBar(bar, description, total)


class ProgressBar:
    """One line of progress; `advance` moves it, `describe` changes its text."""

    def __init__(self, bar: Progress, description: str, total: int | None) -> None:
        """Show `description` and a count up to `total` (None: unknown) on a rich progress display."""
        self._bar, self._description, self._total = bar, description, total
        self._task = bar.add_task(description, total=total)
        self._done = self._done_before = 0
        self._started = self._printed = time.monotonic()

    def resume(self, steps: int) -> None:
        """Count `steps` as done before; they do not enter the estimate of the time left."""
        self._done = self._done_before = steps
        self._bar.update(self._task, completed=steps)

    def advance(self, steps: int = 1) -> None:
        """Move the bar by `steps`."""
        self._done += steps
        self._bar.advance(self._task, steps)
        now = time.monotonic()
        if self._bar.disable and now - self._printed > _LOG_SECONDS:
            self._printed = now
            say(f"{self._description}: {self._done} of {self._total or 'unknown'}{self._time_left(now)}")

    def describe(self, text: str) -> None:
        """Show `text` in front of the bar."""
        self._description = text
        self._bar.update(self._task, description=text)

    def _time_left(self, now: float) -> str:
        fresh = self._done - self._done_before
        if self._total is None or fresh == 0:
            return ""
        seconds = (now - self._started) / fresh * (self._total - self._done)
        return f", about {timedelta(seconds=round(seconds))} left"


def duration(seconds: float) -> str:
    """45 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
