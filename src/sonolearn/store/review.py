"""Crops of text that was found inside sectors. They are readable, so they lie in the private folder, never in a store.

A scan's crops are one JSON file, which no search for images takes for a scan.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

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


def write_review(file: Path, crops: Sequence[tuple[str, str, bytes]]) -> None:
    """Write the page, whole or not at all, readable for its owner only; it needs no other file.

    Args:
        file: the HTML file, in the private folder.
        crops: pseudonym of the scan, kind (such as "text") and JPEG of each; scans are shown in the given order.

    Raises:
        UserError: it cannot be written.
    """
    from sonolearn.pages import grouped, template  # loads jinja2, which worker processes do without

    scans: dict[str, list[dict[str, str]]] = {}
    for scan, kind, jpeg in crops:
        picture = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        scans.setdefault(scan, []).append({"kind": kind, "picture": picture})
    page = template("review.html.j2", grouped=grouped).render(
        title="Text found inside ultrasound pictures", scans=scans, count=len(crops)
    )
    with writing(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(page, encoding="utf-8")
