#!/usr/bin/env bash
# Evidence on one GPU in minutes: seven methods on HC18, COVID-BLUES and the phantom, linear, fine-tuned and nearest
# neighbours. Each is a study whose trainings share the GPU.
#
#     examples/gpu_evidence.sh OUT DATA      DATA holds weights/ and, in stores/, what examples/evidence/stores.sh made
#
# Sized for one H100 and 16 cores. Called again it goes on where it was; on another machine from what was unpacked there of
# OUT/records.tar.xz, which holds everything but encoders and pictures.
#
#   STAGES      the studies in their order, each with its share of the time, as NAME:SHARE
#   TIME_LIMIT  seconds after which it ends by itself; what did not end within its share goes on in the time that is left
#   WORKERS     trainings at a time
#   REPORT      1 writes the pages, too; they can be written anywhere from the records
#   PLANS, PHANTOM, SONOLEARN   folder of the plans, options of the phantom, and the command, where others are wanted
set -euo pipefail
plans=$(realpath "${PLANS:-$(dirname "$0")/evidence}")
mkdir -p "$1"
out=$(realpath "$1") data=$(realpath "$2")
stages=${STAGES:-hc18:4 zone:4 b_lines:2 phantom_resnet18:3 phantom_resnet50:3 pools:2}
limit=${TIME_LIMIT:-540} workers=${WORKERS:-8}
read -ra phantom <<<"${PHANTOM:---patients 200 --scans 1 --stills 20 --callipers 0.0}"
read -ra sonolearn <<<"${SONOLEARN:-sonolearn}"
cd "$out"
mkdir -p logs

# timed NAME SECONDS COMMAND...: the command for so many seconds at most; notes how long it took and its exit code.
timed() {
    local name=$1 most=$2 begun=$SECONDS code=0
    shift 2
    timeout --kill-after=60 "$most" "$@" >>"logs/$name.txt" 2>&1 || code=$?
    echo "$name,$((SECONDS - begun)),$code" >>stages.csv
    return $code
}

make_phantom() {
    local label=(--patient_pattern 'PH\d+')
    timed phantom "$limit" "${sonolearn[@]}" phantom phantom "${phantom[@]}" &&
        timed scans "$limit" "${sonolearn[@]}" prepare phantom/scans "${label[@]}" --frame_skip 2 --out scans &&
        timed labelled "$limit" "${sonolearn[@]}" prepare --labels phantom/labels.csv "${label[@]}" --out labelled &&
        touch phantom.done
}

# study NAME SECONDS: goes on with a study for so many seconds at most, or until the time is up.
study() {
    local name=$1 most=$2 left=$((limit - SECONDS)) given
    if [ -e "$name.done" ] || [ "$left" -lt 5 ]; then return; fi
    local imagenet=$data/weights/tf_efficientnet_lite0.in1k.fp16.safetensors sononet=$data/weights/sononet16.safetensors
    local stores=$data/stores weights=(--weights "ImageNet=$imagenet")
    case $name in
        hc18) given=(hc18 --labelled "$stores/hc18" --unlabelled "$stores/heads") && weights+=("SonoNet-16=$sononet") ;;
        zone | b_lines)
            given=(covid_blues --labelled "$stores/$name" --unlabelled "$stores/cines") && weights+=("SonoNet-16=$sononet")
            ;;
        pools) given=(covid_blues_pools --labelled "$stores/zone" --unlabelled "$stores/cines") ;;
        phantom_*) wait && weights=() && given=("$name" --labelled labelled --unlabelled scans) ;;
    esac
    # The cines are the same: what zone has pre-trained serves the others.
    case $name in b_lines | pools)
        [ -e "$name" ] || { mkdir "$name" && mkdir -p zone/pretrain && ln -s ../zone/pretrain "$name/pretrain"; } ;;
    esac
    timed "$name" $((most < left ? most : left)) "${sonolearn[@]}" study run "$plans/${given[0]}.yaml" --out "$name" \
        "${given[@]:1}" "${weights[@]}" --workers "$workers" && touch "$name.done" || true
}

[ -e stages.csv ] || echo stage,seconds,code >stages.csv
{ nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader || echo "no GPU"; } >machine.txt 2>/dev/null
echo "$(nproc --all) cores" >>machine.txt
# On the cores, while the GPU begins with real data.
if [[ $stages == *phantom* && ! -e phantom.done ]]; then make_phantom & fi

shares=0
for stage in $stages; do shares=$((shares + ${stage#*:})); done
for stage in $stages; do study "${stage%:*}" $((limit * ${stage#*:} / shares)); done
for stage in $stages; do study "${stage%:*}" "$limit"; done

if [ "${REPORT:-0}" = 1 ]; then
    for stage in $stages; do
        name=${stage%:*}
        # No image of COVID-BLUES may be handed on, not on a page either.
        case $name in zone | b_lines | pools) rm -rf "$name"/cams "$name"/pretrain/*/*.png ;; esac
        "${sonolearn[@]}" study report "$name"
    done
fi
names=$(for stage in $stages; do echo "${stage%:*}"; done)
# shellcheck disable=SC2086  # several names
XZ_OPT="-2 -T0" tar cJf records.tar.xz --exclude='*'.{safetensors,pt,png,parquet} --exclude=cams --ignore-failed-read \
    logs stages.csv machine.txt $names ./*.done || true
cat machine.txt stages.csv
wc -l ./*/results.csv
