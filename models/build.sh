#!/usr/bin/env bash
# Make the model synvi-lite0 and the wheel of vireid-models, in the folder WORK (default: model-build).
# Every step that is finished is kept: run the script again after an interruption.
# DEVICE (default: cpu) selects the device of the training.
set -euo pipefail
models=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-model-build}
name=synvi-lite0
mkdir -p "$work"
cd "$work"

# 1. Synthetic people: worlds to train on, and two unseen forms to measure transfer on.
vireid synvi worlds --layout worlds --preset pretrain --seed 0
vireid synvi regdb --layout regdb --preset standard --seed 1
vireid synvi sysu --layout sysu-mm01 --preset demo --seed 1

# 2. Training: four epochs of small images, then two of larger ones from the network of the first.
train() { # RUN OPTIONS...: train into RUN, or resume it
    local run=$1
    shift
    if [ -f "$run/model.safetensors" ]; then
        return
    elif [ -d "$run/checkpoints" ]; then
        vireid train --resume "$run"
    else
        rm -rf "$run"
        vireid train dlis-transfer-cpu --layout manifest --root worlds --seed 0 --precision bf16-mixed \
            --device "${DEVICE:-cpu}" --out "$run" "$@"
    fi
}
train small --size 96 48 --epochs 4
train run --start small --backbone-factor 0.3 --size 144 72 --pad 8 --lr 5e-4 --photometric 0.4 --erasing 0.2 --epochs 2

# 3. The model without figures, its figures (in unseen worlds, and direct transfer to the other
#    forms), the model with them.
packed=(python "$models/pack.py" run "$name" --interpolate 0.8
    --summary "Trained on synthetic people only (SynVI; visible, near-infrared and thermal)")
"${packed[@]}"
rm -rf "$name-results"
export PYTHONPATH=$models/src${PYTHONPATH:+:$PYTHONPATH}
vireid evaluate "$name" --layout manifest --root worlds/manifest.csv --no-figures
for layout in regdb sysu-mm01; do
    vireid evaluate "$name" --layout "$layout" --root "${layout%-mm01}" --no-figures
done
"${packed[@]}" --results "$name"-results/*.json

# 4. The wheel.
python -m pip wheel --quiet --no-deps --wheel-dir wheel "$models"
ls -l wheel
