"""Cleaning side by side with the packages sonocrop and ultraml, on the same trial scans with ground truth.

    python benchmarks/cleaning_peers.py OUT --peers PYTHON [--trials 40]

PYTHON is an interpreter of another environment with both packages (`pip install sonocrop==0.56 ultraml==0.2.0`); a
package that it lacks is left out. Renders the trial scans that `benchmarks/cleaning.py` writes as MP4 into OUT/trials
once (24 frames of 640 x 480 px), cleans them with each package's defaults, and prints two Markdown tables.

Sectors and marks are scored in scans all of whose frames are good, in the frames that are kept; refusals in all scans.
Both packages find one mask a scan. A pixel of the real sector counts as removed where it does not come through as
recorded: filled, or blackened, also because the sector was found too small. Seconds are processor time of one thread
from the file to clean frames in memory.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.files import read_truth, write_trial
from benchmarks.trials.trial import trial
from sonolearn.cleaning.clean import clean
from sonolearn.cleaning.examine import examine
from sonolearn.cleaning.grey import pieces
from sonolearn.config import CleaningConfig
from sonolearn.runs import machine
from sonolearn.scans.scan import Rejected, Scan
from sonolearn.scans.video import open_video

Mask = NDArray[np.bool_]
FRAMES = 24
LACKS = {
    "sonocrop": "marks that move or come midway, filling, bad frames, changes of layout, stills, DICOM; flat memory",
    "ultraml": "marks, filling, bad frames in a video that moves, changes of layout; flat memory",
}
"""What the packages' sources (0.56 and 0.2.0) have no function for."""


@dataclass
class Scores:
    """What one package did; lists hold an entry a scan."""

    iou: list[float] = field(default_factory=list)
    box_iou: list[float] = field(default_factory=list)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    """Mark pixels removed and all, clean pixels removed and all, inside the real sector."""
    bad: list[int] = field(default_factory=lambda: [0, 0])
    """Frames that are no good: refused, and all."""
    good: list[int] = field(default_factory=lambda: [0, 0])
    """Good frames: refused, and all."""
    seconds: list[float] = field(default_factory=list)

    def frame(self, truth: dict[str, NDArray[Any]], number: int, kept: Mask, box: Any, removed: Mask) -> None:
        """Score a good frame: the sector (H, W) and its box as found, and pixels (H, W) filled or blackened."""
        real = truth["sectors"][number]
        marks, clean_pixels = truth["marks"][number] & real, real & ~truth["marks"][number]
        self.iou.append(iou(kept, real))
        self.box_iou.append(iou(filled_box(real.shape, box), filled_box(real.shape, box_of(real))))
        self.pixels += [(removed & marks).sum(), marks.sum(), (removed & clean_pixels).sum(), clean_pixels.sum()]

    def refusals(self, verdicts: NDArray[Any], refused: list[bool]) -> None:
        """Count the frames of a scan that were refused, and should have been."""
        for verdict, was in zip(verdicts, refused, strict=True):
            count = self.bad if verdict else self.good
            count[0] += was
            count[1] += 1


def main() -> None:
    """Render, clean, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--peers", required=True, help="an interpreter that has the packages")
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    files = [render(2 * number, options.out / "trials") for number in range(options.trials)]
    truths = [read_truth(file.with_suffix(".npz")) for file in files]
    rows = {"sonolearn": ours(files, truths)}
    for package in LACKS:
        folder = options.out / package
        if has(options.peers, package):
            rows[package] = theirs(package, options.peers, files, truths, folder)
        else:
            print(f"{package} is left out: {options.peers} cannot import it")
    good = sum(not truth["verdicts"].any() for truth in truths)
    print(f"{machine()['processor']}, one thread; {len(files)} scans of {FRAMES} frames, {good} of them all good\n")
    print(table(rows))
    print("\n| package | has no function for |\n|---|---|")
    for package in [name for name in LACKS if name in rows]:
        print(f"| {package} | {LACKS[package]} |")


def ours(files: list[Path], truths: list[dict[str, NDArray[Any]]]) -> Scores:
    """Clean as `prepare` does."""
    scores = Scores()
    for file, truth in zip(files, truths, strict=True):
        scan = open_video(file)
        started = time.process_time()
        try:
            for _ in clean(scan, 256).frames:
                pass
        except Rejected:
            pass
        scores.seconds.append(time.process_time() - started)
        examined(scan, truth, scores)
    return scores


def examined(scan: Scan, truth: dict[str, NDArray[Any]], scores: Scores) -> None:
    """Score what cleaning finds in a scan: its sector, marks and verdicts."""
    found, refused = None, []
    for shots, goes_on in pieces(scan.frames()):
        found = examine(shots, scan.regions, found if goes_on else None, CleaningConfig())
        sector, kept = found.sector, np.zeros(shots[0].luma.shape, bool)
        sector.crop(kept)[:] = sector.mask > 0
        for marks, verdict in zip(found.marks, found.verdicts, strict=True):
            refused.append(verdict is not None)
            if verdict or truth["verdicts"].any():
                continue
            removed = ~kept
            if marks is not None:
                sector.crop(removed)[marks > 0] = True
            box = (sector.x0, sector.y0, sector.x1, sector.y1)
            scores.frame(truth, len(refused) - 1, kept, box, removed)
    scores.refusals(truth["verdicts"], refused)


def theirs(
    package: str, interpreter: str, files: list[Path], truths: list[dict[str, NDArray[Any]]], folder: Path
) -> Scores:
    """Let a package clean in its own environment, and score what it writes."""
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("peer_masks.py")
    subprocess.run([interpreter, script, package, folder, *files], check=True)
    scores = Scores()
    for file, truth in zip(files, truths, strict=True):
        with np.load(folder / f"{file.stem}.npz") as found:
            failed, mask, box = bool(str(found["error"])), found["mask"], found["box"]
            scores.seconds.append(float(found["seconds"]))
        scores.refusals(truth["verdicts"], [failed] * len(truth["verdicts"]))
        if failed or truth["verdicts"].any():
            continue
        for number in range(len(truth["verdicts"])):
            scores.frame(truth, number, mask, box, ~mask)
    return scores


def table(rows: dict[str, Scores]) -> str:
    """All figures, a column a package."""

    def share(some: Any, of: Any) -> str:
        return f"{some / of:.3f}" if of else ""

    lines = {
        "sector IoU, median of frames": lambda s: f"{np.median(s.iou):.3f}",
        "sector IoU, 5th percentile": lambda s: f"{np.percentile(s.iou, 5):.3f}",
        "IoU of the boxes around, median": lambda s: f"{np.median(s.box_iou):.3f}",
        "IoU of the boxes around, 5th percentile": lambda s: f"{np.percentile(s.box_iou, 5):.3f}",
        "mark pixels removed": lambda s: share(s.pixels[0], s.pixels[1]),
        "clean sector pixels removed": lambda s: share(s.pixels[2], s.pixels[3]),
        "frames refused that are no good": lambda s: share(*s.bad),
        "good frames refused": lambda s: share(*s.good),
        "seconds a scan, median": lambda s: f"{np.median(s.seconds):.2f}",
    }
    names = list(rows)
    head = [f"| figure | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    return "\n".join(
        [*head, *(f"| {name} | {' | '.join(line(rows[n]) for n in names)} |" for name, line in lines.items())]
    )


def render(number: int, folder: Path) -> Path:
    """Write a trial scan as MP4, unless it is there."""
    file = folder / f"{number:03d}.mp4"
    if not (file.exists() and file.with_suffix(".npz").exists()):
        write_trial(trial(number, 0, FRAMES), folder, file.stem, "mp4")
    return file


def has(interpreter: str, package: str) -> bool:
    """Whether an interpreter can import a package."""
    return subprocess.run([interpreter, "-c", f"import {package}"], capture_output=True).returncode == 0


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a mask, ends excluded."""
    x, y, wide, tall = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + wide, y + tall


def filled_box(shape: tuple[int, ...], box: Any) -> Mask:
    """(H, W): the inside of a box."""
    mask = np.zeros(shape, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / max(1, (one | other).sum()))


if __name__ == "__main__":
    main()
