#!/usr/bin/env bash
# The stores of the evidence on real data: HC18 (trimester, stills) and COVID-BLUES (zone and B-lines, cines).
#
#     examples/evidence/stores.sh DATA OUT      DATA holds hc18/ and covid_blues/; OUT/hc18, heads, zone, b_lines, cines are written
#
# SIZE is the side of the stored frames in px, SKIP takes every n-th frame of the cines that SSL learns from. Zone and
# B-lines share one split by patient, and SSL sees cines of its training patients only.
set -euo pipefail
data=$(realpath "$1") out=$2 here=$(dirname "$(realpath "$0")")
size=${SIZE:-128} skip=${SKIP:-3} workers=${PREPARE_WORKERS:-0}
read -ra sonolearn <<<"${SONOLEARN:-sonolearn}"
mkdir -p "$out" && cd "$out"
prepare() { "${sonolearn[@]}" prepare "$@" --size "$size" --key key --workers "$workers"; }

prepare --labels "$data/hc18/labels.csv" --columns.plane=trimester --columns.patient=exam --out hc18
# Most of the unlabelled files are copies of labelled ones, some of which are for the test.
mkdir -p unlabelled
for image in "$data"/hc18/unlabelled/*; do
    cmp -s "$image" "$data/hc18/labelled/$(basename "$image")" || ln -sf "$image" unlabelled/
done
prepare unlabelled --patient_pattern '\d+' --out heads

"${PYTHON:-python3}" "$here/covid_split.py" "$data/covid_blues" .
for labels in zone b_lines; do
    prepare --labels "labels_$labels.csv" --frame_skip 20 --out "$labels"
done
prepare training_cines --patient_pattern 'patient_(\d+)' --frame_skip "$skip" --out cines
