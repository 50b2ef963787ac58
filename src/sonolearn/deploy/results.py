"""The files of a prediction run: two for each scan, written when it is done, and the tables made of them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from sonolearn.checksums import intact
from sonolearn.deploy.frames import Batch, Reading
from sonolearn.planes.card import Probabilities
from sonolearn.runs import read_json, write_json, writing
from sonolearn.store.store import Frames

SCANS, PREDICTIONS = "scans.csv", "predictions.csv"
FOLDER = "scans"
BEST_ENDING = ".best.csv"
PICTURE, QUALITY = 112, 80
"""Side in px of the small pictures of best frames, and their JPEG quality."""
SCAN_COLUMNS = (
    "scan", "patient", "kind", "plane", "share", "majority", "frames", "taken", "left_out", "seconds", "reason",
    "message",
)  # fmt: skip


@dataclass
class Classified:
    """What the network said of a scan so far."""

    index: list[int] = field(default_factory=list)
    time: list[float] = field(default_factory=list)
    probabilities: list[Probabilities] = field(default_factory=list)
    best: dict[int, tuple[float, int, float, Frames]] = field(default_factory=dict)
    """By the number of a plane: its highest probability, that frame's number, time and (S, S) pixels."""

    def add(self, batch: Batch, probabilities: Probabilities) -> None:
        """Take (n, C) probabilities of the next batch."""
        self.index += batch.index.tolist()
        self.time += batch.time.tolist()
        self.probabilities.append(probabilities)
        for plane, at in enumerate(probabilities.argmax(0) if len(probabilities) else ()):
            highest = float(probabilities[at, plane])
            if plane not in self.best or highest > self.best[plane][0]:
                self.best[plane] = highest, int(batch.index[at]), float(batch.time[at]), batch.frames[at].copy()

    def frame_rows(self, scan: str, planes: Sequence[str]) -> pd.DataFrame:
        """Rows of predictions.csv: scan, frame, time, plane, and the probability of each plane."""
        each = np.concatenate(self.probabilities)
        table = pd.DataFrame({"scan": scan, "frame": self.index, "time": np.round(self.time, 4)})
        table["plane"] = np.asarray(planes, object)[each.argmax(1)]
        return pd.concat([table, pd.DataFrame(each, columns=[f"p_{plane}" for plane in planes])], axis=1)

    def best_rows(self) -> pd.DataFrame:
        """A row a plane, by its number: probability, frame, time, and a small picture of that frame in base64."""
        rows = [(plane, *found[:3], small_picture(found[3])) for plane, found in sorted(self.best.items())]
        return pd.DataFrame(rows, columns=["number", "probability", "frame", "time", "jpeg"])


def small_picture(frame: Frames) -> str:
    """A frame as JPEG in base64."""
    small = cv2.resize(frame, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()).decode()


def summary(table: pd.DataFrame, planes: Sequence[str]) -> dict[str, Any]:
    """What the frames say of their scan, from their rows.

    Returns:
        `plane`: with the highest mean probability; `share` of the frames that show it; `majority`: the plane that most
        frames show, of equals the one with the higher mean; `frames`; and the mean probability of each plane.
    """
    means = {plane: float(table[f"p_{plane}"].astype(np.float64).mean()) for plane in planes}
    counts = table["plane"].value_counts()
    plane = max(means, key=lambda name: means[name])
    majority = max(means, key=lambda name: (counts.get(name, 0), means[name]))
    share = float(counts.get(plane, 0) / len(table))
    found = {"plane": plane, "share": round(share, 6), "majority": majority, "frames": len(table)}
    return {**found, **{f"p_{name}": mean for name, mean in means.items()}}


def write_scan(
    out: Path, scan: Reading, patient: str, classified: Classified, planes: Sequence[str], seconds: float
) -> dict[str, Any]:
    """Write what is known of a scan, its row last, by which it counts as done; give the row."""
    row: dict[str, Any] = {"scan": scan.name, "patient": patient, "kind": scan.kind, "taken": scan.taken}
    row["left_out"] = scan.left_out
    if scan.rejected is not None:
        row |= {
            "frames": 0,
            "left_out": scan.left_out,
            "reason": scan.rejected.reason,
            "message": scan.rejected.message,
        }
    else:
        table = classified.frame_rows(scan.name, planes)
        with writing(_file(out, scan.name, ".csv")) as temporary:
            table.to_csv(temporary, index=False)
        with writing(_file(out, scan.name, BEST_ENDING)) as temporary:
            classified.best_rows().to_csv(temporary, index=False)
        row |= summary(table, planes)
    row["seconds"] = round(seconds, 3)
    write_json(_file(out, scan.name, ".json"), row)
    return row


def done_row(out: Path, scan: str) -> dict[str, Any] | None:
    """The row of a scan that was classified before; None for one that was not, or was rejected and is tried again."""
    file = _file(out, scan, ".json")
    row: dict[str, Any] | None = read_json(file) if file.exists() else None
    return None if row is None or "reason" in row else row


def write_tables(out: Path, planes: Sequence[str]) -> pd.DataFrame:
    """Write predictions.csv and scans.csv of all scans of a run, sorted by their pseudonyms.

    Returns:
        scans.csv.
    """
    files = sorted((out / FOLDER).glob("S-*.json"))
    rows = [{**read_json(file), "scan": file.stem} for file in files]  # names are those of files, never paths in them
    with writing(out / PREDICTIONS) as temporary, temporary.open("wb") as target:
        target.write(b",".join([b"scan,frame,time,plane", *(_quoted(f"p_{plane}") for plane in planes)]) + b"\n")
        for row in rows:
            if row["frames"]:
                with intact(_file(out, row["scan"], ".csv")).open("rb") as part:
                    part.readline()
                    target.writelines(part)
    scans = pd.DataFrame(rows, columns=[*SCAN_COLUMNS, *(f"p_{plane}" for plane in planes)])
    with writing(out / SCANS) as temporary:
        scans.to_csv(temporary, index=False)
    return scans


def _quoted(name: str) -> bytes:
    """A column's name as CSV has it."""
    return pd.DataFrame(columns=[name]).to_csv(index=False).encode().rstrip(b"\r\n")


def _file(out: Path, scan: str, ending: str) -> Path:
    return out / FOLDER / f"{scan}{ending}"
