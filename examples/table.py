"""Prints a Markdown table of classification runs: macro F1, mean ± SD over seeds, a column a run folder.

python examples/table.py OUT/linear_random OUT/linear_barlow_twins ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd


def main(folders: list[Path]) -> None:
    tables = {folder: pd.read_csv(folder / "summary.csv").set_index("fraction") for folder in folders}
    names = [json.loads((f / "data.json").read_text())["initialisation"]["name"] for f in folders]
    modes = [json.loads((f / "run.json").read_text())["config"]["mode"] for f in folders]
    first = tables[folders[0]]
    print("| labels | images | patients |", " | ".join(f"{n}, {m}" for n, m in zip(names, modes, strict=True)), "|")
    print("|---|---|---|" + "---|" * len(folders))
    for fraction, row in first.iterrows():
        low, high = int(row["train_patients_min"]), int(row["train_patients_max"])
        patients = str(low) if low == high else f"{low}-{high}"
        cells = [
            f"{t.loc[fraction, 'macro_f1_mean']:.3f} ± {t.loc[fraction, 'macro_f1_sd']:.3f}" for t in tables.values()
        ]
        print(f"| {fraction:.0%} | {int(row['train_images'])} | {patients} |", " | ".join(cells), "|")
    images, patients, seeds = (int(first[name].iloc[0]) for name in ("test_images", "test_patients", "seeds"))
    print(f"\n{images} test images of {patients} patients, {seeds} seeds.")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
