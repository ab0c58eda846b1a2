# shellcheck shell=bash
# Jobs: steps in their order, each taken once. run.sh sources this file.

step() {  # step NAME TITLE COMMAND...: run a step of a job once; a job that was killed goes on with the step it was in
  local name=$1 title=$2
  shift 2
  if [ -e "$RUN_DIR/.done/$name" ]; then echo "done before: $title"; return; fi
  say "$title"
  "$@"
  mkdir -p "$RUN_DIR/.done" && touch "$RUN_DIR/.done/$name"
}

start_job() {  # start_job INPUTS...: an unfinished job of the same inputs goes on, any other run moves aside
  local number=1 inputs="$*"
  if [ -e "$RUN_DIR" ] && { [ -e "$RUN_DIR/.done/report" ] || [ "$(cat "$RUN_DIR/.inputs" 2>/dev/null)" != "$inputs" ]; }; then
    while [ -e "$RUN_DIR.previous-$number" ]; do number=$((number + 1)); done
    mv "$RUN_DIR" "$RUN_DIR.previous-$number"
    echo "moved the earlier run to $RUN_DIR.previous-$number"
  fi
  mkdir -p "$RUN_DIR"
  printf '%s\n' "$inputs" >"$RUN_DIR/.inputs.partial"
  mv "$RUN_DIR/.inputs.partial" "$RUN_DIR/.inputs"
}

stoppable() {  # stoppable COMMAND...: it gets the signal that this shell gets; what ends of it ends with 75, as a training
  local child="" status asked="" stopped=1
  trap 'asked=1 stopped=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM INT HUP
  "$@" &
  child=$!
  [ -z "$asked" ] || kill -TERM "$child"
  while [ -n "$stopped" ]; do  # a signal ends `wait` before the command has had its last words
    stopped="" status=0
    wait "$child" || status=$?
  done
  trap - TERM INT HUP
  if [ -n "$asked" ] && [ "$status" -gt 128 ]; then status=75; fi
  return "$status"
}

# A recipe's steps. All hosts of a slice, and all tasks of Slurm, give the same recipe and see the same folder: what is
# trained they do together, everything else the first does alone.

# Slurm's number of this attempt, by which a process knows whether the first one has failed at it; elsewhere times tell.
ATTEMPT=${SLURM_JOB_ID:+.$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}}

has_failed() {  # whether the first process has failed since this one began
  [ -e "$RUN_DIR/.failed$ATTEMPT" ] && { [ -n "$ATTEMPT" ] || [ "$RUN_DIR/.failed" -nt "$RUN_DIR/.started-$RANK" ]; }
}

alone() {  # alone NAME TITLE COMMAND...: the others wait for it
  if [ -n "${DRY_RUN:-}" ]; then print_step "${@:2}"; return; fi
  if [ "$RANK" = 0 ]; then step "$1" "$2" stoppable "${@:3}"; return; fi
  trap 'exit 75' TERM INT HUP
  until [ -e "$RUN_DIR/.done/$1" ]; do
    ! has_failed || die "$2: the first process failed; its output says how"
    sleep 1
  done
  trap - TERM INT HUP
}

together() {  # together NAME TITLE COMMAND...
  if [ -n "${DRY_RUN:-}" ]; then print_step "${@:2}"; return; fi
  if [ "$RANK" = 0 ] || [ -e "$RUN_DIR/.done/$1" ]; then step "$1" "$2" stoppable "${@:3}"; else stoppable "${@:3}"; fi
}

print_step() {
  printf '\n# %s\n' "$1"
  print_command "${@:2}"
}
