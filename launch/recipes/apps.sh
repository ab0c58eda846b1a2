# shellcheck shell=bash
# apps: GPT-Neo 125M on APPS, with the reference's flags. SIZE=tiny gives the same command, tiny values, a base model made
# before it, and problems of our own.

apps() {
  local ours=$PWD/evaluation/problems/clippy_apps/test.jsonl
  size apps 125M tiny
  if [ "$SIZE" = 125M ]; then train_apps "$@"; return; fi
  no_knob "SIZE=tiny makes its own" DATA_DIR MODEL
  defaults RUN_NAME=apps-tiny EPOCHS=20 LEARNING_RATE=1e-3 SAVE_STEPS=20 BENCHMARK=apps SAMPLES=1 TEMPERATURE=0.2 "${TINY[@]}"
  begin apps "$@"
  make_embedded_base
  DATA_DIR=$RUN_DIR/apps
  [ -n "${DRY_RUN:-}" ] || mkdir -p "$DATA_DIR"
  alone problems "our own problems in APPS's form: 15 to learn, 5 to score on" \
    sed -n -e "1,15w $DATA_DIR/train.jsonl" -e "16,\$w $DATA_DIR/test.jsonl" "$ours"
  train_apps --token_cache_dir "$RUN_DIR/tokens" "$@"
  PROBLEMS=$DATA_DIR run_benchmark "$RUN_DIR/model"
  report_run "APPS, tiny"
  finish model "scores/: pass@k, every program and its verdict" "report.html: the curves"
}

train_apps() {  # problems as prompts, loss on the answers
  local data more=()
  data=$(place "${DATA_DIR:-}")
  if [ -n "$data" ]; then more+=(--data_dir "$data"); fi
  if [ -n "${EVAL_SAMPLES:-}" ]; then more+=(--max_eval_samples "$EVAL_SAMPLES"); fi
  if [ -n "${SAVE_STEPS:-}" ]; then more+=(--save_strategy steps --save_steps "$SAVE_STEPS"); else more+=(--save_strategy epoch); fi
  if [ -n "${SAVE_LIMIT:-}" ]; then more+=(--save_total_limit "$SAVE_LIMIT"); fi
  if [ -n "${RUN_NAME:-}" ]; then more+=(--run_name "$RUN_NAME"); fi
  recipe apps run_clm_apps.py "${OUTPUT_DIR:-$HOME/gpt-neo-125M-apps}" "$data" \
    --model_name_or_path "$(model "${MODEL:-EleutherAI/gpt-neo-125M}")" \
    --dataset_name "${DATASET_NAME:-$PWD/data_processing/apps.py}" \
    --dataset_config_name formatted \
    --do_train --do_eval \
    --block_size "${BLOCK_SIZE:-1024}" \
    --per_device_train_batch_size "${BATCH:-16}" \
    --per_device_eval_batch_size "${EVAL_BATCH:-16}" \
    --preprocessing_num_workers "${WORKERS:-16}" \
    --learning_rate "${LEARNING_RATE:-8e-5}" \
    --warmup_steps "${WARMUP_STEPS:-800}" \
    --adam_beta1 0.9 \
    --adam_beta2 0.98 \
    --weight_decay 0.1 \
    --overwrite_output_dir \
    --remat "${REMAT:-$(remat)}" \
    --resume_from_checkpoint auto \
    --num_train_epochs "${EPOCHS:-5}" \
    --logging_steps "${LOGGING_STEPS:-50}" \
    --eval_steps "${EVAL_STEPS:-2000}" \
    --push_to_hub "${PUSH_TO_HUB:-False}" \
    --report_to "${REPORT_TO:-wandb}" \
    --dtype bfloat16 \
    --gradient_accumulation_steps "${ACCUMULATION:-2}" \
    "${more[@]}" \
    "$@"
}
