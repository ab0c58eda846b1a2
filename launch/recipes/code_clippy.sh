# shellcheck shell=bash
# code-clippy: GPT-Neo 125M on code of many languages, with the reference's flags. SIZE=tiny gives the same command, tiny
# values, and before it makes all that it reads: corpus, a base model, its whitespace patch.

code_clippy() {
  size code-clippy 125M tiny
  if [ "$SIZE" = 125M ]; then train_code_clippy "$@"; return; fi
  no_knob "SIZE=tiny makes its own" DATA_DIR MODEL
  defaults MAX_STEPS=100 LEARNING_RATE=1e-3 DECAY_STEPS=80 RUN_NAME=code-clippy-tiny BENCHMARK=clippy SAMPLES=1 TEMPERATURE=0.2 "${TINY[@]}"
  begin code-clippy "$@"
  make_embedded_base --collapse_whitespace
  MODEL=$RUN_DIR/patched
  alone patched "patch: whitespace tokens" "${ON_HOST[@]}" "$PYTHON" -m tokenizer_patch --model_name_or_path "$RUN_DIR/base" \
    --output_dir "$MODEL" --data_dir "$DATA_DIR" --overwrite_output_dir
  train_code_clippy --token_cache_dir "$RUN_DIR/tokens" "$@"
  count_bits bits_per_byte "$DATA_DIR" "$RUN_DIR/base" "$MODEL" "$RUN_DIR/model"
  run_benchmark "$RUN_DIR/model"
  report_run "Code Clippy, tiny" --scores "$RUN_DIR/bits_per_byte.json" --patch "$MODEL/tokenizer_patch.json"
  finish model "scores/: pass@k, every program and its verdict" "report.html: curves and bits per byte"
}

train_code_clippy() {
  local data
  data=$(place "${DATA_DIR:-/home/shared/code_clippy_data}")
  recipe code-clippy run_clm_streaming_flax.py "${OUTPUT_DIR:-$HOME/gpt-neo-125M-code-clippy}" "$data" \
    --model_name_or_path "$(model "${MODEL:-flax-community/gpt-neo-125M-code-clippy}")" \
    --dataset_name "${DATASET_NAME:-$PWD/data_processing/code_clippy.py}" \
    --data_dir "$data" \
    --text_column_name text \
    --do_train --do_eval \
    --block_size "${BLOCK_SIZE:-2048}" \
    --per_device_train_batch_size "${BATCH:-8}" \
    --per_device_eval_batch_size "${EVAL_BATCH:-16}" \
    --preprocessing_num_workers "${WORKERS:-8}" \
    --learning_rate "${LEARNING_RATE:-1e-4}" \
    --max_steps "${MAX_STEPS:-100000}" \
    --warmup_steps "${WARMUP_STEPS:-2500}" \
    --decay_steps "${DECAY_STEPS:-25000}" \
    --adam_beta1 0.9 \
    --adam_beta2 0.95 \
    --weight_decay 0.1 \
    --overwrite_output_dir \
    --remat "${REMAT:-$(remat)}" \
    --resume_from_checkpoint auto \
    --logging_steps "${LOGGING_STEPS:-100}" \
    --eval_steps "${EVAL_STEPS:-500}" \
    --push_to_hub "${PUSH_TO_HUB:-False}" \
    --dtype bfloat16 \
    --skip_memory_metrics True \
    --save_steps "${SAVE_STEPS:-500}" \
    --save_total_limit "${SAVE_LIMIT:-10}" \
    --gradient_accumulation_steps "${ACCUMULATION:-16}" \
    --report_to "${REPORT_TO:-wandb}" \
    --run_name "${RUN_NAME:-125m_1e-4lr_1024bs}" \
    --max_eval_samples "${EVAL_SAMPLES:-2000}" \
    --save_optimizer true \
    "$@"
}
