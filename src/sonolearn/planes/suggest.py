"""`sonolearn suggest`: the frames to label first, as a table to fill in and a page to look at.

Of stores without labels every frame is a candidate, of labelled stores those of the training part: whoever labels test
patients by what the encoder makes of them would no longer test.
"""

from __future__ import annotations

import base64
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from sonolearn.config import SuggestConfig
from sonolearn.console import UserError, say
from sonolearn.pages import template
from sonolearn.planes.embed import describe_frames, features_of, initialisation_of
from sonolearn.planes.typical import suggested
from sonolearn.runs import claim, write_text, writing
from sonolearn.ssl.encoders import check_init
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.store.store import Store

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
    page = template("suggested.html.j2").render(
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


def suggest(stores: Sequence[Path], out: Path, config: SuggestConfig) -> pd.DataFrame:
    """Choose frames that are typical and diverse in feature space and spread over patients, and write the sheet.

    Args:
        stores: labelled or not; their order and that of their frames do not matter.
        out: a folder that is not there yet: suggested.csv for `prepare --labels`, frames/ with its images,
            suggested.html to look at, and run.json.
        config: encoder, count, method, seed, ...

    Returns:
        suggested.csv, the frame to label first on top.

    Raises:
        UserError: more frames asked for than there are, frames of one patient only, a sheet that is there already, no
            such initialisation or store, features that are not finite.
    """
    if (out / TABLE).exists():
        raise UserError(f"{out}: holds a sheet already, whose labels would be lost; give another --out")
    initialisation = initialisation_of(config)
    check_init(config, initialisation.image_size)
    opened = [Store(path) for path in stores]
    pool = training_frames(opened)
    _check(pool, config)
    fingerprints = {f"store {number}": store.fingerprint for number, store in enumerate(opened)}
    # A file is named by its hash, not by its path.
    settings = dataclasses.replace(config, init=initialisation.settings.init)
    claim(out, "suggest", settings, {**fingerprints, **initialisation.hashes})
    pool = candidates(pool, config.candidates)
    features = np.concatenate(list(features_of(pool, initialisation, config)))
    chosen = pool.of(suggested(features, pool.patient_of_frame, config.count, config.method, config.seed))
    table = write_sheet(out, chosen, describe_frames(chosen), initialisation.name, config.method)
    say(f"{out}: {len(table)} frames of {table['patient'].nunique()} patients, of {len(pool)} that were compared")
    say(f"look at {out / PAGE}, fill in the column plane of {out / TABLE}, then: {next_command(out, chosen)}")
    return table


def candidates(pool: FramePool, most: int) -> FramePool:
    """At most this number of frames, evenly spaced over all, in an order that only their pixels decide.

    Neither the pseudonyms, which another key changes, nor the order of scans and stores may decide what is suggested.
    """
    count = min(most, len(pool))
    places = np.arange(count) * len(pool) // count
    return pool.of(places[np.argsort(pool.checksum_of_frame[places], kind="stable")])


def _check(pool: FramePool, config: SuggestConfig) -> None:
    names = ", ".join(str(store.path) for store in pool.stores)
    if config.count > len(pool):
        raise UserError(f"--count {config.count}: {names} has {len(pool)} frames to choose from; give at most that")
    if config.count > config.candidates:
        raise UserError(f"--candidates {config.candidates}: give at least --count, {config.count}")
    if len(pool.patients) < 2:
        raise UserError(
            f"{names}: all frames are of one patient; suggestions are spread over patients, and a classifier needs "
            "three to be trained and tested, so prepare scans of more (--patient_pattern, if their paths name them)"
        )
