# shellcheck shell=bash
# codegen: prose, then several languages, then Python, each stage from the one before; bits per byte on all three after
# each, and programs in turns at the end (CodeGen, arXiv:2203.13474).

codegen() {
  local stage later base=() trained=() table=() rates=() steps=(350000 150000)
  size codegen tiny 350M 2B 6B 16B
  case $SIZE in  # the peak of nl, and that of the stages after it
    tiny) rates=(2e-3 1e-3) steps=(100 100) && defaults ANSWER_TOKENS=48 SAMPLES=1 \
      PROBLEMS="$PWD/evaluation/problems/clippy_mtpb.jsonl" "${TINY[@]}" ;;
    350M) rates=(3e-4 1.8e-4) && defaults BATCH=8 ACCUMULATION=4 ;;
    2B) rates=(1.6e-4 9.6e-5) && defaults BATCH=2 EVAL_BATCH=2 ACCUMULATION=32 REMAT=block MESH=fsdp=8 ;;
    6B) rates=(1.2e-4 7.2e-5) && defaults BATCH=1 EVAL_BATCH=1 ACCUMULATION=64 REMAT=block MESH=fsdp=8 ;;
    16B) rates=(5e-5 3e-5) && defaults BATCH=1 EVAL_BATCH=1 ACCUMULATION=64 REMAT=block MESH=fsdp=16 ;;
  esac
  defaults WARMUP_STEPS=3000 BLOCK_SIZE=2048 BENCHMARK=mtpb SAMPLES=40 TEMPERATURE=0.2 STAGES="nl multi mono" "${PUBLISHED[@]}"
  for stage in $STAGES; do
    case $stage in nl | multi | mono) ;; *) die "STAGES holds $stage; wanted of nl, multi and mono, in this order" ;; esac
  done
  if [ "$SIZE" != tiny ]; then
    for stage in NL MULTI MONO; do
      want_knob DATA_$stage "a corpus folder; python -m data_processing corpus makes one, docs/recipes/codegen.md says of what"
    done
  fi
  if [ "$SIZE" = tiny ]; then no_knob "SIZE=tiny makes its own" DATA_NL DATA_MULTI DATA_MONO TOKENIZER; fi
  begin codegen "$@"
  if [ "$SIZE" = tiny ]; then make_three_corpora; fi
  if [ -n "${MODEL:-}" ]; then
    base=(--model_name_or_path "$(model "$MODEL")")
  else
    defaults TOKENIZER=Salesforce/codegen-350M-mono
    base=(--config_name "$(sizes "codegen_$SIZE")" --tokenizer_name "$(model "$TOKENIZER")")
  fi
  for stage in $STAGES; do
    DATA_DIR=DATA_${stage^^}
    later=1
    if [ "$stage" = nl ]; then later=0; fi
    LEARNING_RATE=${LEARNING_RATE:-${rates[later]}} train_model "$stage" "stage $stage" run_clm_streaming_flax.py \
      "${base[@]}" --data_dir "$(place "${!DATA_DIR}")" --max_steps "${MAX_STEPS:-${steps[later]}}" "$@"
    base=(--model_name_or_path "$RUN_DIR/$stage")
    trained+=("$RUN_DIR/$stage")
  done
  for stage in nl multi mono; do
    DATA_DIR=DATA_${stage^^}
    count_bits "bits_per_byte_$stage" "$(place "${!DATA_DIR}")" "${trained[@]}"
    table+=("$RUN_DIR/bits_per_byte_$stage.json")
  done
  alone table "bits per byte of each stage on each held-out set" "$PYTHON" launch/stage_table.py \
    "$RUN_DIR/bits_per_byte.md" "${table[@]}"
  stage=${trained[-1]##*/}
  run_benchmark "$RUN_DIR/$stage"
  report_run "CodeGen, $SIZE" --scores "$RUN_DIR/bits_per_byte_mono.json"
  finish "$stage" "bits_per_byte.md: a row a stage, a column a held-out set" \
    "scores/: MTPB, every conversation and its verdict" "report.html: the last stage's curves"
}

make_three_corpora() {  # what a bare environment holds: DATA_NL, DATA_MULTI, DATA_MONO, and a tokenizer of all three
  DATA_NL=$RUN_DIR/corpus-nl DATA_MULTI=$RUN_DIR/corpus-multi DATA_MONO=$RUN_DIR/corpus-mono
  alone text "prose, and packages with code of several languages" "$PYTHON" launch/embedded_text.py "$RUN_DIR/text"
  alone corpus-nl "corpus of prose" "$PYTHON" -m data_processing corpus --output_dir "$DATA_NL" \
    --sources "$RUN_DIR/text/prose.jsonl" --filters none --num_train_shards 4 --test_split_percentage 8
  alone corpus-multi "corpus of C, C++, Cython and JavaScript" "$PYTHON" -m data_processing corpus --output_dir "$DATA_MULTI" \
    --sources "$RUN_DIR/text/packages.txt" \
    --languages C C++ Cython JavaScript --num_train_shards 4 --test_split_percentage 20
  alone corpus-mono "corpus of Python: the standard library" "$PYTHON" -m data_processing corpus --output_dir "$DATA_MONO" \
    --num_train_shards 4 --test_split_percentage 8
  DATA_DIR=$DATA_MONO
  make_tokenizer 2048
}
