"""What the site does differently from the pages as one reads them in the repository; called by mkdocs (mkdocs.yml)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to code and other files of the repository become their text: the site does not hold these files.

    A link to a file that is not there stays, so that the strict build fails.
    """
    folder = (DOCS / page.file.src_uri).parent

    def text_of(link: re.Match[str]) -> str:
        target = (folder / link[2].partition("#")[0]).resolve()
        outside = not target.is_relative_to(DOCS) or target.suffix == ".py"
        return link[1] if outside and target.exists() else link[0]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^):\s]+)\)", text_of, markdown)
