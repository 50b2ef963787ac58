#!/usr/bin/env bash
# Every real file goes through `prepare`: DICOM stills and cines of many makes and transfer syntaxes, lung clips (MP4,
# MOV, MPEG), whole screens. Prints one line a file: stored with its crop, or rejected with the reason.
#
#     examples/real_files.sh DATA OUT      DATA holds dicom/, lung_clips/ and screens/
set -euo pipefail
data=$(realpath "$1") out=$2
mkdir -p "$out" && cd "$out"
for folder in dicom lung_clips screens; do
    sonolearn prepare "$data/$folder" --out "$folder"
done
python3 - <<'PYTHON'
import csv
from pathlib import Path

scans = {r["scan"]: r for store in Path().glob("*/scans.csv") for r in csv.DictReader(store.open())}
for row in csv.DictReader(Path("sonolearn-private/sources.csv").open()):
    scan = scans.get(row["scan"], {})
    crop = "crop {x0},{y0} to {x1},{y1} of {width} x {height} ({sector_from}), {frames} frames".format(**scan) if scan else ""
    print(f"{Path(row['path']).name:55} {row['outcome']:9} {row['reason'] or crop}")
PYTHON
