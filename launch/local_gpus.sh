#!/usr/bin/env bash
# A recipe on the GPUs of this machine: one process drives them all.
#
#   launch/local_gpus.sh code-clippy [flags]
#   GPUS=0,1 launch/local_gpus.sh apps [flags]
#
# Knobs: GPUS (which; default: all), and those of run.sh. DRY_RUN=1 prints the command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export ACCELERATOR=${ACCELERATOR:-cuda}
if [ -n "${GPUS:-}" ]; then export CUDA_VISIBLE_DEVICES=$GPUS; fi
exec ./run.sh "${@:-code-clippy}"
