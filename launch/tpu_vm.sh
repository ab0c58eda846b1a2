#!/usr/bin/env bash
# A recipe on a TPU VM, or on every host of a pod slice.
#
#   TPU=NAME ZONE=us-central2-b launch/tpu_vm.sh code-clippy [flags]
#   TPU=NAME ZONE=us-central2-b launch/tpu_vm.sh log       what the first host prints; Ctrl-C leaves the run alone
#   TPU=NAME ZONE=us-central2-b launch/tpu_vm.sh stop      save a checkpoint and end
#
# The files of this clone (those that git does not ignore) are copied to each host, where run.sh starts and goes on when the
# connection ends. Given again, the same command goes on from the last checkpoint. On a slice of several hosts OUTPUT_DIR is a
# folder that all of them see (Filestore, say); CHECKPOINT_STORE=gs://... keeps copies that outlive a single spot machine.
# Knobs: TPU, ZONE, PROJECT; TPU_TYPE (v4-32, v5litepod-8: make the VM first), VERSION (its image), SPOT=1 (one that may be
# taken away); SECRETS, a file of lines like HF_TOKEN=... that is copied and never printed; those of run.sh, which are
# handed on. DRY_RUN=1 prints the commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/platform.sh
. launch/platform.sh
# shellcheck source=launch/recipes.sh
. launch/recipes.sh

die() { printf 'error: %s\n' "$*" >&2; exit 2; }

[ -n "${TPU:-}" ] && [ -n "${ZONE:-}" ] || die "no TPU or ZONE; give TPU=NAME ZONE=... $0 ${*:-code-clippy}"
where=(--zone "$ZONE")
if [ -n "${PROJECT:-}" ]; then where+=(--project "$PROJECT"); fi

vm() {  # vm WORDS...: a command of gcloud, done or printed
  if [ -n "${DRY_RUN:-}" ]; then
    quoted gcloud compute tpus tpu-vm "$@" "${where[@]}"
  else
    gcloud compute tpus tpu-vm "$@" "${where[@]}"
  fi
}

everywhere() { vm ssh "$TPU" --worker=all --command "$1"; }

[ -n "${DRY_RUN:-}" ] || command -v gcloud >/dev/null || die "no gcloud here; https://cloud.google.com/sdk/docs/install"
case ${1:-code-clippy} in
  log) vm ssh "$TPU" --worker=0 --command "tail -n 100 -f code_clippy/run.log" && exit ;;
  stop) everywhere "kill -TERM \$(cat code_clippy/run.pid)" && exit ;;
esac

if [ -n "${TPU_TYPE:-}" ]; then
  spot=()
  if [ -n "${SPOT:-}" ]; then spot=(--spot); fi
  case $TPU_TYPE in
    v5litepod-*) image=v2-alpha-tpuv5-lite ;;
    v5p-*) image=v2-alpha-tpuv5 ;;
    v6e-*) image=v2-alpha-tpuv6e ;;
    *) image=tpu-ubuntu2204-base ;;
  esac
  vm create "$TPU" --accelerator-type "$TPU_TYPE" --version "${VERSION:-$image}" "${spot[@]}"
fi

archive=code_clippy.tar.gz
if [ -z "${DRY_RUN:-}" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  archive=$folder/code_clippy.tar.gz
  git ls-files -z --cached --others --exclude-standard | tar --null -czf "$archive" -T -
fi
vm scp "$archive" "$TPU:code_clippy.tar.gz" --worker=all
if [ -n "${SECRETS:-}" ]; then vm scp "$SECRETS" "$TPU:code_clippy.secrets" --worker=all; fi

command="mkdir -p code_clippy && tar xzf code_clippy.tar.gz -C code_clippy && cd code_clippy"
if [ -n "${SECRETS:-}" ]; then
  command+=" && mv ../code_clippy.secrets .secrets && chmod 600 .secrets && set -a && . ./.secrets && set +a"
fi
command+=" && { nohup env"
for knob in "${KNOBS[@]}"; do
  if [ -n "${!knob:-}" ]; then command+=" $knob=$(quoted "${!knob}")"; fi
done
words=("${@:-code-clippy}")
command+=" ./run.sh $(quoted "${words[@]}") >>run.log 2>&1 </dev/null & echo \$! >run.pid; }"
everywhere "$command"
echo "started; TPU=$TPU ZONE=$ZONE launch/tpu_vm.sh log shows it, and stop in place of log saves and ends it"
