# shellcheck shell=bash
# codeparrot: corpus, tokenizer and GPT-2 from scratch, then programs judged (NLP with Transformers, chapter 10).

codeparrot() {
  size codeparrot tiny small large
  case $SIZE in
    tiny) defaults MAX_STEPS=120 LEARNING_RATE=2e-3 BENCHMARK=clippy SAMPLES=2 TEMPERATURE=0.2 "${TINY[@]}" ;;
    small) defaults BATCH=12 MAX_STEPS=150000 LEARNING_RATE=5e-4 WARMUP_STEPS=2000 ;;
    large) defaults BATCH=2 EVAL_BATCH=2 ACCUMULATION=16 MAX_STEPS=50000 LEARNING_RATE=2e-4 WARMUP_STEPS=750 ;;
  esac
  defaults BLOCK_SIZE=1024 SAMPLES=200 TEMPERATURE=0.2 "${PUBLISHED[@]}"
  no_knob "codeparrot makes its own; CONFIG says its sizes" MODEL TOKENIZER
  begin codeparrot "$@"
  if [ -n "${DATA_DIR:-}" ]; then
    DATA_DIR=$(place "$DATA_DIR")
  elif [ "$SIZE" = tiny ]; then
    make_embedded_corpus
  else
    DATA_DIR=$RUN_DIR/corpus
    alone corpus "corpus: CodeParrot's own, filtered and deduplicated again" "$PYTHON" -m data_processing corpus \
      --dataset_name codeparrot/codeparrot-clean --filters codeparrot --output_dir "$DATA_DIR"
  fi
  if [ "$SIZE" = tiny ]; then make_tokenizer 2048; else make_tokenizer 32768; fi
  train_model model "GPT-2 from scratch" run_clm_streaming_flax.py \
    --config_name "$(sizes "codeparrot_$SIZE")" --tokenizer_name "$TOKENIZER" \
    --data_dir "$DATA_DIR" --max_steps "$MAX_STEPS" "$@"
  count_bits bits_per_byte "$DATA_DIR" "$RUN_DIR/model"
  run_benchmark "$RUN_DIR/model"
  report_run "CodeParrot, $SIZE" --scores "$RUN_DIR/bits_per_byte.json"
  finish model "scores/: pass@k, every program and its verdict" "report.html: curves and bits per byte"
}
