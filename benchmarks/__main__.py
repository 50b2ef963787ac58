"""Run all benchmarks of speed, or those named, and print one table.

    python -m benchmarks [NAME ...] [--quick] [--keep]

Each script runs in a process of its own, so that none leaves threads, memory or caches to the next. `--keep` puts the
rows into benchmarks/results.json, where those of the same scripts are replaced, and draws the table of
docs/performance.md from it. Peers come with the extra `benchmarks`; without a GPU its rows stay empty.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figure import HEADER, Row, line

SCRIPTS = {
    "views": "augmented views",
    "store": "reading frames",
    "loader": "handing views over",
    "losses": "SSL losses",
    "pretrain": "the loop of `pretrain`",
    "recipe": "`pretrain` against lightly's recipe",
    "gpu": "`pretrain` on a GPU",
    "prepare": "reading and cleaning scans",
    "linear": "linear evaluation",
    "finetune": "fine-tuning",
    "predict": "classifying a scan",
    "start": "start of the command line",
    "growth": "cost as work grows",
}
"""The scripts, each a module of this package, in the order of the table."""

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
PAGE = FOLDER.parent / "docs" / "performance.md"
BEGIN, END = "<!-- table: written by python -m benchmarks --keep -->", "<!-- end of table -->"


def main() -> None:
    """Run, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(SCRIPTS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that all works, not how fast it is")
    parser.add_argument("--keep", action="store_true", help="keep the rows in benchmarks/results.json and the page")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SCRIPTS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    if options.keep and options.quick:
        parser.error("--quick measures nothing worth keeping")
    rows, failed = {}, []
    for name in options.names or SCRIPTS:
        print(f"\n## {SCRIPTS[name]} (benchmarks/{name}.py)\n", flush=True)
        found = run(name, options.quick)
        if found is None:
            failed.append(name)
        else:
            rows[name] = found
            if options.keep:
                keep(name, found)
    print(f"\n\n{table(rows)}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; their messages are above")


def run(name: str, quick: bool) -> list[Row] | None:
    """The rows of one script, None where it fails; what it prints is passed on."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        words = [sys.executable, "-m", f"benchmarks.{name}", "--rows", str(file), *(["--quick"] if quick else [])]
        if subprocess.run(words, cwd=FOLDER.parent, check=False).returncode:
            return None
        return [Row(**json.loads(text)) for text in file.read_text(encoding="utf-8").splitlines()]


def keep(name: str, rows: list[Row]) -> None:
    """Replace the script's rows in the results, and the table of the page."""
    kept = kept_rows()
    kept[name] = rows
    plain = {name: [row.__dict__ for row in kept[name]] for name in SCRIPTS if name in kept}
    RESULTS.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(kept_rows())), encoding="utf-8")


def kept_rows() -> dict[str, list[Row]]:
    """The rows in benchmarks/results.json, by script."""
    if not RESULTS.exists():
        return {}
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {name: [Row(**row) for row in rows] for name, rows in kept.items()}


def with_table(page: str, drawn: str) -> str:
    """The text of the page with another table between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{rest.split(END)[1]}"


def table(rows: dict[str, list[Row]]) -> str:
    """One Markdown table; day and machine of each row are numbered beneath it."""
    lines, places = [], list[str]()
    for row in (row for name in SCRIPTS for row in rows.get(name, [])):
        place = f"{row.date}, {row.machine}"
        if place not in places:
            places.append(place)
        lines.append(f"{line(row)} {places.index(place) + 1} |")
    head, rule = HEADER.split("\n")
    notes = [f"{number}. {place}" for number, place in enumerate(places, 1)]
    return "\n".join([f"{head} run |", f"{rule}---|", *lines, "", "Runs:", "", *notes])


if __name__ == "__main__":
    main()
