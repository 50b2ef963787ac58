"""The page of the private folder with readable crops of text that was found inside sectors.

A machine cannot know whether a word is a name; a person can. So this page shows what `report.html` must not.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from sonolearn.pages import grouped, template
from sonolearn.runs import writing


def write_review(file: Path, crops: Sequence[tuple[str, str, bytes]]) -> None:
    """Write the page, whole or not at all, readable for its owner only; it needs no other file.

    Args:
        file: the HTML file, in the private folder.
        crops: pseudonym of the scan, kind (such as "text") and JPEG of each; scans are shown in the given order.

    Raises:
        UserError: it cannot be written.
    """
    scans: dict[str, list[dict[str, str]]] = {}
    for scan, kind, jpeg in crops:
        picture = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        scans.setdefault(scan, []).append({"kind": kind, "picture": picture})
    page = template("sonolearn.data", "review.html.j2", grouped=grouped).render(
        title="Text found inside ultrasound pictures", scans=scans, count=len(crops)
    )
    with writing(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(page, encoding="utf-8")
