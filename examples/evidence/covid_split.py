"""One split of the 48 patients of COVID-BLUES for both of its tasks: 26 train, 6 validation, 16 test.

    python examples/evidence/covid_split.py DATA OUT      DATA holds videos.csv, labels_*.csv and videos/

Writes OUT/labels_zone.csv and OUT/labels_b_lines.csv with a split column, and links the cines of the training patients
into OUT/training_cines. Patients are dealt out within strata: PCR result, and the share of their cines with B-lines.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 12


def split_of_patient(videos: pd.DataFrame) -> dict[int, str]:
    """Every third patient along the strata is for the test, every fifth of the others, 6 at most, for validation."""
    patients = videos.groupby("patient").agg(
        pcr=("covid_pcr", "first"), lines=("b_lines", lambda found: (found == "yes").mean())
    )
    often = patients["lines"] > patients["lines"].median()
    strata = patients["pcr"].astype(str) + often.map({True: "+", False: "-"})
    generator = np.random.default_rng(SEED)
    order = [int(p) for _, stratum in patients.groupby(strata) for p in generator.permutation(stratum.index)]
    test = order[1::3]
    rest = [patient for patient in order if patient not in test]
    valid = rest[2::5][:6]
    parts = {"test": test, "valid": valid, "train": [patient for patient in rest if patient not in valid]}
    return {patient: part for part, members in parts.items() for patient in members}


def main(data: Path, out: Path) -> None:
    videos = pd.read_csv(data / "videos.csv")
    split = split_of_patient(videos)
    for task in ("zone", "b_lines"):
        table = pd.read_csv(data / f"labels_{task}.csv")
        table["split"] = table["patient"].map(split)
        table["image"] = [str((data / image).resolve()) for image in table["image"]]
        table.to_csv(out / f"labels_{task}.csv", index=False)
    (out / "training_cines").mkdir(exist_ok=True)
    for video, patient in zip(videos["video"], videos["patient"], strict=True):
        link = out / "training_cines" / video
        if split[patient] == "train" and not link.exists():
            link.symlink_to((data / "videos" / video).resolve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
