"""A real browser, where there is one: what it makes of a page."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(FOUND is None, reason=f"needs a browser: one of {', '.join(NAMES)} on the PATH")


@dataclass(frozen=True)
class Shown:
    """A page after its scripts have run.

    Attributes:
        title: of the document.
        text: all that is text in its body.
        elements: name and attributes of every element.
        refused: what the page's policy refused, as the browser's console says it.
    """

    title: str
    text: str
    elements: list[tuple[str, dict[str, str | None]]]
    refused: list[str]


def shown(page: Path, profile: Path) -> Shown:
    """Open a page in the browser, with a profile of its own."""
    assert FOUND
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--dump-dom"]
    more = [f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--enable-logging=stderr"]
    done = subprocess.run(
        [FOUND, *words, *more, page.absolute().as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    read = _Reader()
    read.feed(done.stdout)
    refused = [line for line in done.stderr.splitlines() if "Content Security Policy" in line]
    return Shown(read.title, " ".join("".join(read.words).split()), read.elements, refused)


class _Reader(HTMLParser):
    """Takes a serialised document apart, as the browser had it."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        elif self._inside not in ("style", "script"):
            self.words.append(data)
