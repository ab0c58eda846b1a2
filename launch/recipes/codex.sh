# shellcheck shell=bash
# codex-s and codex-d: functions that pass their tests, learnt from docstring to body, and from code to docstring (Codex,
# arXiv:2107.03374, sections 4 and 5).

codex_s() {
  codex codex_s codex-s "functions, loss on the body" "$@"
  run_benchmark "$RUN_DIR/model"
  report_run "Codex-S, $SIZE"
  finish model "scores/: pass@k on held-out functions" "report.html: the curves"
}

codex_d() {
  codex codex_d codex-d "functions, loss on the docstring" "$@"
  want_one_host
  same_scoring
  alone scores "docstrings, graded by the code that a model writes from them" "$PYTHON" -m evaluation retell \
    --benchmark "$BENCHMARK" --problems "$PROBLEMS" --model "$RUN_DIR/model" --writer "$(model "${WRITER:-$MODEL}")" \
    --max_new_tokens "$ANSWER_TOKENS" --output_dir "$RUN_DIR/scores"
  report_run "Codex-D, $SIZE"
  finish model "scores/: each docstring, the code written from it, and whether that passes" "report.html: the curves"
}

codex() {  # codex KIND NAME WHAT FLAGS...: pairs of the kind, and a fine-tuning on them at a fifth of the base's rate
  local kind=$1 name=$2 what=$3 corpus
  shift 3
  size "$name" tiny 125M
  if [ "$SIZE" = tiny ]; then
    defaults EPOCHS=1 LEARNING_RATE=4e-4 SAMPLES=1 "${TINY[@]}"
  else
    defaults MODEL=flax-community/gpt-neo-125M-code-clippy LEARNING_RATE=1e-5 EPOCHS=3 SAMPLES=200 ANSWER_TOKENS=512
    [ -n "${PAIRS:-}" ] || want_knob DATA_DIR "a corpus folder of Python to take functions from, or PAIRS, a folder of such functions"
  fi
  defaults BLOCK_SIZE=1024 WARMUP_STEPS=175 TEMPERATURE=0.2 "${PUBLISHED[@]}"
  begin "$name" "$@"
  corpus=$(place "${DATA_DIR:-}")
  [ -n "${MODEL:-}" ] || make_embedded_base  # tiny
  if [ -n "$corpus" ] && [ -z "${PAIRS:-}" ]; then make_pairs "$corpus"; fi
  [ -n "${PAIRS:-}" ] || make_tiny_pairs
  PAIRS=$(place "$PAIRS") MODEL=$(model "$MODEL") PROBLEMS=$(place "${PROBLEMS:-$PAIRS/problems.jsonl}")
  if [ -z "${DRY_RUN:-}" ] && [ "$RANK" = 0 ] && [ ! -s "$PROBLEMS" ]; then
    die "no problems in $PROBLEMS, on which the model is scored after its training; wanted what python -m evaluation functions writes, or name some in PROBLEMS"
  fi
  train_model model "$what" run_clm_apps.py --model_name_or_path "$MODEL" \
    --dataset_name data_processing/pairs.py --dataset_config_name "$kind" --data_dir "$PAIRS" --segment_ids \
    --adam_beta1 0.9 --adam_beta2 0.95 --lr_scheduler_type cosine --num_train_epochs "$EPOCHS" "$@"
}

make_pairs() {  # make_pairs CORPUS: the standalone functions that pass their tests, as PAIRS
  PAIRS=$RUN_DIR/pairs
  alone pairs "functions of $1 that pass their tests in the sandbox" "$PYTHON" -m evaluation functions \
    --data_dir "$1" --output_dir "$PAIRS"
}

make_tiny_pairs() {  # practice tasks to learn from and to score on
  PAIRS=$RUN_DIR/tasks
  if [ -z "${DRY_RUN:-}" ] && [ "$RANK" = 0 ] && [ ! -e "$RUN_DIR/.done/tasks" ]; then rm -rf "$PAIRS"; fi  # half of them, if it was killed
  alone tasks "practice tasks: docstring and body" "$PYTHON" -m data_processing practice --output_dir "$PAIRS" \
    --num_train 3000 --num_validation 100 --num_test 40
}
