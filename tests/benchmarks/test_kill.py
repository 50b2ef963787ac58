"""Kills: a few of one command end as if nothing had been; and what differs is seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.killing.contents import contents, differing

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
def test_a_few_kills_change_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill", "--kills", "6", "--seed", "1", "--steps", "prepare labels"],
        cwd=ROOT, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("| all |")]
    kills, _, *wrong = [int(cell) for cell in line.split("|")[3:-1]]
    assert kills == 6
    assert wrong == [0, 0]


def written(folder: Path, seconds: float = 1.0, score: float = 0.5, text: str = "x") -> dict[str, str]:
    (folder / "run" / "units").mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"score": [score], "seconds": [seconds]})
    table.to_csv(folder / "run" / "results.csv", index=False)
    table.to_parquet(folder / "run" / "results.parquet", index=False)
    record = {"result": {"score": score, "seconds": seconds}, "seconds": seconds}
    (folder / "run" / "units" / "a.json").write_text(json.dumps(record))
    (folder / "run" / "page.html").write_text(f"<p>score {score}, took {seconds} s</p>")
    (folder / "run" / "weights").write_text(text)
    (folder / "run" / ".checksums").write_text(f"{seconds}")
    return contents(folder, ["run"])


def test_times_do_not_count_and_all_else_does(tmp_path: Path) -> None:
    expected = written(tmp_path / "a")
    assert set(expected) == {
        "run/page.html", "run/results.csv", "run/results.parquet", "run/units/a.json", "run/weights",
    }  # fmt: skip
    assert differing(expected, written(tmp_path / "b", seconds=77.5)) == []
    other = differing(expected, written(tmp_path / "c", score=0.25))
    assert other == [f"run/{name} differs" for name in ("page.html", "results.csv", "results.parquet", "units/a.json")]
    assert differing(expected, written(tmp_path / "d", text="y")) == ["run/weights differs"]


def test_a_file_too_few_or_too_many_is_seen(tmp_path: Path) -> None:
    expected = written(tmp_path)
    less = {name: digest for name, digest in expected.items() if name != "run/weights"}
    assert differing(expected, less) == ["run/weights is missing"]
    assert differing(less, expected) == ["run/weights is too many"]
