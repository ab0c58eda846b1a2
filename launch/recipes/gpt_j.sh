# shellcheck shell=bash
# gpt-j: GPT-J cut over the devices of a mesh, its memory planned first.

gpt_j() {
  local base word previous="" lora=() kind
  size gpt-j tiny 6B
  if [ "$SIZE" = tiny ]; then
    defaults MAX_STEPS=100 LEARNING_RATE=2e-3 BENCHMARK=clippy SAMPLES=1 MESH=fsdp=2 "${TINY[@]}"
    if [ "$(accelerator)" = cpu ]; then  # as many of them as the mesh has, made of this one
      # shellcheck disable=SC2034  # launch/recipes.sh
      DEVICES=(env "XLA_FLAGS=--xla_force_host_platform_device_count=$(($(tr -c '0-9\n' ' ' <<<"$MESH" | xargs | sed 's/ /*/g')))")
    fi
  else
    if [ -z "${CONFIG:-}" ]; then defaults MODEL=EleutherAI/gpt-j-6B; else defaults TOKENIZER=EleutherAI/gpt-j-6B; fi
    defaults BATCH=1 EVAL_BATCH=1 ACCUMULATION=16 MAX_STEPS=10000 LEARNING_RATE=1e-5 WARMUP_STEPS=500 \
      MESH=fsdp=8 SAMPLES=20 REMAT=dots
    want_knob DATA_DIR "a corpus folder; python -m data_processing corpus makes one"
  fi
  defaults BLOCK_SIZE=2048 TEMPERATURE=0.2 "${PUBLISHED[@]}"
  begin gpt-j "$@"
  if [ -n "${DATA_DIR:-}" ]; then DATA_DIR=$(place "$DATA_DIR"); else make_embedded_corpus; fi
  if [ -n "${MODEL:-}" ]; then
    MODEL=$(model "$MODEL")
    base=(--model_name_or_path "$MODEL")
  else
    [ -n "${TOKENIZER:-}" ] || make_tokenizer 2048
    MODEL=$(sizes gpt_j_tiny)
    base=(--config_name "$MODEL" --tokenizer_name "$(model "$TOKENIZER")")
  fi
  for word in "$@"; do
    case "$previous $word" in "--lora_rank "* | "--lora-rank "*) lora=(--lora_rank "$word") ;; esac
    case $word in --lora_rank=* | --lora-rank=*) lora=(--lora_rank "${word#*=}") ;; esac
    previous=$word
  done
  kind=$(accelerator)
  alone plan "what the model is, and the memory that a step wants on each device" "${ON_HOST[@]}" "$PYTHON" -m modeling describe "$MODEL" \
    --mesh "$MESH" --batch "$BATCH" --block_size "$BLOCK_SIZE" --gradient_accumulation_steps "$ACCUMULATION" \
    --remat "${REMAT:-$(remat)}" --platform "${kind/cuda/gpu}" "${lora[@]}"
  train_model model "GPT-J over $MESH" run_clm_streaming_flax.py "${base[@]}" \
    --data_dir "$DATA_DIR" --max_steps "$MAX_STEPS" "$@"
  count_bits bits_per_byte "$DATA_DIR" "$RUN_DIR/model"
  run_benchmark "$RUN_DIR/model"
  report_run "GPT-J, $SIZE" --scores "$RUN_DIR/bits_per_byte.json"
  finish model "scores/: pass@k, every program and its verdict" "report.html: curves and bits per byte"
}
