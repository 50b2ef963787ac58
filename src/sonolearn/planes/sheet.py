"""The sheet of suggested frames: a table to fill in for `prepare --labels`, the frames as images, a page to look at.

Images are the store's own frames, clean already; the command that reads them back says so, and then their pixels are
those of the store. Patients stay the pseudonyms that they are.
"""

from __future__ import annotations

import base64
import shlex
from pathlib import Path

import cv2
import pandas as pd

from sonolearn.pages import template
from sonolearn.runs import write_text, writing
from sonolearn.ssl.frames import FramePool

TABLE, PAGE, IMAGES = "suggested.csv", "suggested.html", "frames"
COLUMNS = ("image", "plane", "patient", "machine", "scan", "store", "row", "number")
_FORMULA = "=+-@\t\r\n "  # a spreadsheet takes what begins so for a formula
METHODS = {"typiclust": "TypiClust", "k_medoids": "k-medoids"}


def write_sheet(out: Path, frames: FramePool, described: pd.DataFrame, encoder: str, method: str) -> pd.DataFrame:
    """Write images and page, then the table, by which a sheet counts as finished.

    Args:
        out: the folder.
        frames: those suggested, the first to label first.
        described: their rows of `describe_frames`.
        encoder: what computed the features, for people.
        method: typiclust or k_medoids.

    Returns:
        The table.
    """
    table = described.rename(columns={"frame": "number"}).assign(plane="")
    table["image"] = [f"{IMAGES}/{place:04d}.png" for place in range(1, len(table) + 1)]
    table["machine"] = [harmless(machine) for machine in frames.machine_of_frame]
    table["store"] = table["store"].map(harmless)
    table = table[list(COLUMNS)]
    cards = []
    for place, row in enumerate(table.to_dict("records")):
        png = cv2.imencode(".png", frames.read(place))[1].tobytes()
        with writing(out / row["image"], checksum=False) as temporary:
            temporary.write_bytes(png)
        cards.append({**row, "picture": f"data:image/png;base64,{base64.b64encode(png).decode()}"})
    page = template("sonolearn.planes", "suggested.html.j2").render(
        title=f"{len(table)} frames to label first",
        cards=cards,
        patients=table["patient"].nunique(),
        encoder=encoder,
        method=METHODS[method],
        table=TABLE,
        command=next_command(Path(out.name), frames),
    )
    write_text(out / PAGE, page, checksum=False)
    # Without a checksum: it is there to be filled in.
    with writing(out / TABLE, checksum=False) as temporary:
        table.to_csv(temporary, index=False)
    return table


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: without the characters that one begins with.

    >>> harmless("=HYPERLINK(1)")
    'HYPERLINK(1)'
    """
    return str(text).lstrip(_FORMULA)


def next_command(out: Path, frames: FramePool) -> str:
    """The command that makes a labelled store of a sheet; frames that are clean are not cleaned again."""
    size = max(store.size for store in frames.stores)
    asis = ["--cleaning.sector", "false", "--cleaning.marks", "keep", "--cleaning.reject", "[]"]
    words = ["sonolearn", "prepare", "--labels", str(out / TABLE), "--size", str(size), *asis, "--out", "STORE"]
    return shlex.join(words)
