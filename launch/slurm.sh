#!/usr/bin/env bash
# A recipe on nodes of GPUs under Slurm: one process a GPU.
#
#   sbatch launch/slurm.sh code-clippy [flags]                       two nodes of eight
#   sbatch --nodes=4 --ntasks-per-node=4 --gpus-per-node=4 launch/slurm.sh apps [flags]
#
# OUTPUT_DIR has to lie where all nodes see it, and so has this clone. Two minutes before the time limit, or when the job
# is preempted, the run saves and ends with status 75; the job is then queued again and goes on.
# Knobs: those of run.sh, which sbatch hands on. DRY_RUN=1 bash launch/slurm.sh ... prints the commands.
#SBATCH --job-name=code-clippy
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
[ -x run.sh ] || { echo "error: no run.sh in $PWD; give sbatch launch/slurm.sh from the clone's folder" >&2; exit 2; }

# shellcheck source=launch/platform.sh
. launch/platform.sh
export ACCELERATOR=${ACCELERATOR:-cuda}
words=("${@:-code-clippy}")
# Tasks that end at one step do so within seconds of each other; the first must not take the others down.
launch=(srun --kill-on-bad-exit=0 ./run.sh "${words[@]}")
# shellcheck disable=SC2207  # words
setup=(./run.sh setup $(extras "" "${CHECKPOINT_STORE:-}" "${DATA_DIR:-}"))  # once, before all tasks would do it
if [ -n "${DRY_RUN:-}" ]; then
  quoted "${setup[@]}"
  quoted "${launch[@]}"
  ./run.sh "${words[@]}"
  exit
fi
"${setup[@]}"
status=0
"${launch[@]}" || status=$?
if [ $status = 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status
