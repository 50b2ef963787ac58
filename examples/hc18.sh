#!/usr/bin/env bash
# Trimester from fetal head planes (HC18, van den Heuvel et al., PLoS ONE 2018, CC BY 4.0) with few labelled exams, by the
# defaults: SimCLR continued from ImageNet weights, against those and random weights; labels drawn by chance and suggested.
#
#     examples/hc18.sh DATA OUT      DATA holds hc18/ and weights/; OUT is written; call again to go on
#
# Pre-training takes half an hour of one core for each of its seeds, all others a few minutes. `MODE=finetune` fine-tunes.
set -euo pipefail
data=$(realpath "$1") out=$2
size=${SIZE:-112} steps=${STEPS:-400} batch=${BATCH:-64} pretrainings=${PRETRAININGS:-3}
draws=${DRAWS:-10} mode=${MODE:-linear}
read -ra fractions <<<"${FRACTIONS:-0.01 0.05 0.1 0.25 1.0}"
encoder=(--encoder tf_efficientnet_lite0) weights=$data/weights/tf_efficientnet_lite0.in1k.fp16.safetensors
mkdir -p "$out/stores" && cd "$out"

prepare() { (cd stores && sonolearn prepare "$@" --size 128); }
prepare --labels "$data/hc18/labels.csv" --columns.plane=trimester --columns.patient=exam --out hc18
# Most of the unlabelled files are copies of labelled ones, some of which are for the test.
mkdir -p stores/unlabelled
for image in "$data"/hc18/unlabelled/*; do
    cmp -s "$image" "$data/hc18/labelled/$(basename "$image")" || ln -sf "$image" stores/unlabelled/
done
prepare unlabelled --patient_pattern '\d+' --out heads

for ((seed = 0; seed < pretrainings; seed++)); do
    sonolearn pretrain stores/hc18 stores/heads "${encoder[@]}" --init "$weights" --image_size "$size" \
        --batch_size "$batch" --max_steps "$steps" --seed "$seed" --out "simclr_$seed"
done

for draw in random suggested; do
    mkdir -p "$draw"
    classify() {
        sonolearn classify stores/hc18 --mode "$mode" --fractions "${fractions[@]}" --seeds "$draws" --draw "$draw" \
            --image_size "$size" --out "$draw/$1" "${@:2}"
    }
    classify random --init random "${encoder[@]}"
    classify imagenet --init "$weights" "${encoder[@]}" --name ImageNet
    for ((seed = 0; seed < pretrainings; seed++)); do
        classify "simclr_$seed" --init "simclr_$seed" --name "SimCLR $seed"
    done
    sonolearn report simclr_* "$draw"/* --out "$draw.html"
done
