#!/usr/bin/env bash
# Trimester from fetal head planes (HC18, van den Heuvel et al., PLoS ONE 2018, CC BY 4.0) with few labelled exams:
# random weights, Barlow Twins and ImageNet as initialisations of the same encoder, linear and fine-tuned.
# The encoder learns from the labelled training part, the unlabelled heads and the lung clips; patients never cross.
#
#     examples/hc18.sh DATA OUT      DATA holds hc18/, lung_clips/ and weights/; OUT is written; call again to go on
#
# The sizes below fit an hour on two cores; the environment overrides them (a GPU: SIZE=224 STEPS=20000 EPOCHS=100).
set -euo pipefail
data=$(realpath "$1") out=$2
size=${SIZE:-64} steps=${STEPS:-400} batch=${BATCH:-64} seeds=${SEEDS:-3}
epochs=${EPOCHS:-60} finetune_steps=${FINETUNE_STEPS:-80} fractions=${FRACTIONS:-0.01 0.05 0.1 0.25 1.0}
encoder=tf_efficientnet_lite0 weights=$data/weights/tf_efficientnet_lite0.in1k.fp16.safetensors
mkdir -p "$out" && cd "$out"

sonolearn prepare --labels "$data/hc18/labels.csv" --columns.plane=trimester --columns.patient=exam --size 128 --out labelled
# Most of the unlabelled files are copies of labelled ones, some of which are for the test.
mkdir -p unlabelled
for image in "$data"/hc18/unlabelled/*; do
    cmp -s "$image" "$data/hc18/labelled/$(basename "$image")" || ln -sf "$image" unlabelled/
done
sonolearn prepare unlabelled --patient_pattern '\d+' --size 128 --out heads
sonolearn prepare "$data/lung_clips" --patient_pattern 'Reg_pat\d|.+' --size 128 --out lungs

# The paper's learning rates are for a thousand epochs on a million images; a run this short needs larger ones.
sonolearn pretrain labelled heads lungs --recipe null --method barlow_twins --encoder $encoder --image_size "$size" \
    --out barlow_twins --batch_size "$batch" --epochs 1000 --max_steps "$steps" --valid_every 5 \
    --barlow_twins.projector 1024 1024 --optimizer.lr 6 --optimizer.warmup_epochs 4

for init in random barlow_twins imagenet; do
    case $init in
        random) from=(--init random --encoder $encoder) ;;
        barlow_twins) from=(--init barlow_twins) ;;
        imagenet) from=(--init "$weights" --encoder $encoder --name ImageNet) ;;
    esac
    # shellcheck disable=SC2086  # the fractions are several words
    sonolearn classify labelled "${from[@]}" --recipe study --mode linear --fractions $fractions --seeds "$seeds" \
        --image_size "$size" --epochs $((5 * epochs)) --out "linear_$init"
    # shellcheck disable=SC2086
    sonolearn classify labelled "${from[@]}" --recipe study --mode finetune --fractions $fractions --seeds "$seeds" \
        --image_size "$size" --batch_size 32 --epochs "$epochs" --max_steps "$finetune_steps" --out "finetune_$init"
done
sonolearn report barlow_twins linear_* finetune_* --out report.html
