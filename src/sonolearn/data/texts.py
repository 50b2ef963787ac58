"""Crops of text that was found inside sectors. They are readable, so they lie in the private folder, never in a store.

A scan's crops are one JSON file, which no search for images takes for a scan.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from sonolearn.data.review import write_review
from sonolearn.runs import read_json, writing

TEXT_FOLDER, REVIEW = "texts", "review.html"


def keep_crops(private: Path, name: str, crops: Sequence[bytes]) -> None:
    """Write the crops of a part, JPEGs, readable for their owner only; none takes those of an earlier cleaning away.

    Raises:
        UserError: the private folder cannot be written.
    """
    file = private / TEXT_FOLDER / f"{name}.json"
    if not crops:
        file.unlink(missing_ok=True)
        return
    with writing(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps([base64.b64encode(crop).decode() for crop in crops]), encoding="ascii")


def write_texts_page(private: Path) -> int:
    """Write `review.html` of all crops of the private folder.

    Returns:
        The number of scans with crops.

    Raises:
        UserError: it cannot be written.
    """
    files = sorted((private / TEXT_FOLDER).glob("S-*.json"))
    crops = [(file.stem, "text", base64.b64decode(crop)) for file in files for crop in read_json(file)]
    write_review(private / REVIEW, crops)
    return len(files)
