#!/usr/bin/env bash
# The one launcher of Code Clippy.
#
#   ./run.sh                          set up .venv, then run the main job on embedded data
#   ./run.sh finetune DIR [flags]     the same job on your own code (a folder or a git repository)
#   ./run.sh RECIPE [flags]           code-clippy, apps, codeparrot, codegen, codex-s, codex-d, gpt-j: docs/recipes.md
#   ./run.sh setup [EXTRA...]         only make .venv, with what this machine's accelerator wants
#   ./run.sh test [--all]             set up, then pass the tests; --all adds the long ones
#   ./run.sh bench [NAME [flags]]     measure speed beside a peer: the scripts of benchmarks/, all or one
#   ./run.sh docs                     build the documentation's site into .cache/site
#   ./run.sh help
#
# A recipe goes on from its newest checkpoint when it is given again. Flags after it win over its own; each of its values is
# an environment variable too (docs/recipes.md): SIZE, OUTPUT_DIR, MODEL, DATA_DIR, BATCH, ACCUMULATION, MAX_STEPS and more.
# ACCELERATOR (tpu, cuda, cpu) wins over what is found, LOG_DIR says where log-HOST.txt goes (default: logs/RECIPE), and
# DRY_RUN=1 prints the exact command instead of giving it. launch/ starts recipes on TPU slices, Slurm and several GPUs.
#
# Knobs of the other jobs: RUN_DIR (where the job writes), BASE_STEPS, TUNE_STEPS, SCORE_BYTES (how long it takes),
# BASE_DIR (where finetune without a model finds or makes the main job's base model), CODE_CLIPPY_VENV (the environment).
set -euo pipefail
FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

VENV=${CODE_CLIPPY_VENV:-.venv}
PYTHON=$VENV/bin/python
export TOKENIZERS_PARALLELISM=true TRANSFORMERS_VERBOSITY=error
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-0.5}

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }

# shellcheck source=launch/platform.sh
. launch/platform.sh
# shellcheck source=launch/jobs.sh
. launch/jobs.sh
# shellcheck source=launch/main_job.sh
. launch/main_job.sh
# shellcheck source=launch/recipes.sh
. launch/recipes.sh
for recipe in launch/recipes/*.sh; do
  # shellcheck source=/dev/null  # each is checked by itself
  . "$recipe"
done

# ---- set-up --------------------------------------------------------------------------------------------------------

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$FROM/$1" ;; esac; }

remove_venv() {  # only what is an environment, or what we have just failed to make one of
  if [ -e "$VENV" ] && [ ! -f "$VENV/pyvenv.cfg" ]; then
    die "$VENV is no Python environment; name a new folder in CODE_CLIPPY_VENV"
  fi
  rm -rf "$VENV"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_uv() {  # prints the path of uv, fetching it where that is possible
  local uv=.cache/uv/bin/uv
  if command -v uv; then return; fi
  if [ -x $uv ]; then echo $uv; return; fi
  if python3 -m pip install --quiet --target .cache/uv uv >/dev/null 2>&1 && [ -x $uv ]; then echo $uv; return; fi
  if command -v curl >/dev/null &&
    curl -LsSf https://astral.sh/uv/install.sh 2>/dev/null | UV_INSTALL_DIR=$PWD/.cache/uv/bin sh >/dev/null 2>&1 &&
    [ -x $uv ]; then echo $uv; return; fi
  return 1
}

make_venv() {
  local python uv
  for python in "${PYTHON_FOR_VENV:-python3}" python3.13 python3.12 python3.11; do
    command -v "$python" >/dev/null && new_enough "$python" || continue
    if "$python" -m venv "$VENV" >/dev/null 2>&1; then return; fi
    remove_venv
  done
  if uv=$(find_uv); then  # brings its own Python where the system's is older than 3.11, and needs no python3-venv
    "$uv" venv --quiet --seed --python '>=3.11,<3.14' "$VENV" && return
    remove_venv
  fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Debian's python3-venv"
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null &&
      new_enough python3 && python3 -m venv "$VENV" && return
    remove_venv
  fi
  die "no Python 3.11 or newer with venv was found, and uv could not be fetched. This line mends it:
    sudo apt-get install -y python3-venv      (or: curl -LsSf https://astral.sh/uv/install.sh | sh)"
}

setup() {  # setup [EXTRA...]: make the environment, or reuse it where it fits this clone's setup.cfg
  local wanted stamp=$VENV/installed extra missing="" had=""
  wanted="$PWD $(cksum <setup.cfg)"
  if [ -f "$stamp" ] && [ "$(head -1 "$stamp")" = "$wanted" ]; then
    had=$(tail -n +2 "$stamp")
    for extra in "$@"; do grep -qx "$extra" <<<"$had" || missing=1; done
    [ -n "$missing" ] || return 0
  fi
  [ -x "$PYTHON" ] && "$PYTHON" -m pip --version >/dev/null 2>&1 || { remove_venv; make_venv; }
  say "installing into $VENV (once; a minute or two)"
  extra=$(IFS=,; echo "$*")
  "$PYTHON" -m pip install -qq --disable-pip-version-check -e ".${extra:+[$extra]}"
  # shellcheck disable=SC2086  # words
  { echo "$wanted"; printf '%s\n' $had "$@"; } >"$stamp.partial"
  mv "$stamp.partial" "$stamp"
}

make_ready() {  # make_ready [EXTRA...]: these, and what the accelerator wants
  local kind
  kind=$(accelerator)
  # shellcheck disable=SC2046  # words
  setup $(extras "$kind") "$@"
}

# ---- tests -------------------------------------------------------------------------------------------------------------

need_bubblewrap() {  # the tests of the sandbox are skipped without it
  command -v bwrap >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing bubblewrap, in which the code that a model writes is run"
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y bubblewrap >/dev/null && return
  fi
  echo "bubblewrap is missing, and with it the tests of the sandbox: sudo apt-get install -y bubblewrap" >&2
}

run_tests() {  # two at a time, a file's tests together: most of their time one core compiles
  local long=()
  need_bubblewrap
  if [ "${1:-}" = --all ]; then long=(--all) && shift; fi
  "$PYTHON" -m pytest --numprocesses "${TEST_PROCESSES:-2}" --dist loadfile "${long[@]}" "$@"
}

# ---- benchmarks --------------------------------------------------------------------------------------------------------

bench() {
  local scripts name
  scripts=$(grep -l '^if __name__' benchmarks/*.py)  # the others are what they share
  if [ $# -gt 0 ]; then
    name=benchmarks/$1.py
    grep -qx "$name" <<<"$scripts" || die "no benchmark $1; there are: $(sed 's/benchmarks\///; s/\.py$//' <<<"$scripts" | xargs)"
    "$PYTHON" "$name" "${@:2}"
    return
  fi
  for name in $scripts; do say "$name" && "$PYTHON" "$name"; done
}

case ${1:-main} in
  main) setup; main_job ;;
  finetune) shift; setup; finetune "$@" ;;
  code-clippy | apps | codeparrot | codegen | codex-s | codex-d | gpt-j) recipe=${1//-/_} RUN_DIR=""; shift; "$recipe" "$@" ;;
  setup) shift; make_ready "$@" ;;
  test) shift; setup test; run_tests "$@" ;;
  bench) shift; setup test bench; bench "$@" ;;
  docs) shift; setup docs; NO_MKDOCS_2_WARNING=1 "$PYTHON" -m mkdocs build --quiet --strict "$@"; echo "wrote .cache/site/index.html" ;;
  help | -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" ;;
  *) die "unknown command $1; ./run.sh help lists them" ;;
esac
