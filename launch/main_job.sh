# shellcheck shell=bash
# The main job and `finetune`: corpus, tokenizer, base, patch, fine-tuning, scores, report. run.sh sources this file.

SMALL=(--block_size=256 --dtype=bfloat16 --adam_beta1=0.9 --adam_beta2=0.95 --weight_decay=0.1
  --logging_steps=20 --per_device_eval_batch_size=16 --max_eval_samples=128 --save_total_limit=2)

make_corpus() {  # make_corpus FLAGS...: it has its name only when it is whole
  [ -e "$RUN_DIR/corpus/manifest.json" ] || "$PYTHON" -m data_processing corpus --output_dir "$RUN_DIR/corpus" "$@"
}

train() { "$PYTHON" training/run_clm_streaming_flax.py --do_train --do_eval --resume_from_checkpoint=auto "$@"; }

halve() {  # half-1 and half-2 of the train split, with the same validation and test splits
  local half split shard
  for half in 1 2; do
    for split in train validation test; do
      mkdir -p "$RUN_DIR/half-$half/$split"
      for shard in "$RUN_DIR/corpus/$split"/*.jsonl.zst; do
        if [ $split != train ] || [ $(($(basename "$shard" .jsonl.zst | sed 's/^0*\(.\)/\1/') % 2 + 1)) = $half ]; then
          ln -sf "../../corpus/$split/$(basename "$shard")" "$RUN_DIR/half-$half/$split/"
        fi
      done
    done
  done
}

make_base() {  # a small GPT-Neo from scratch on half-1: stands in for the pretrained checkpoint that a user would name
  step corpus "corpus: Python's standard library" \
    make_corpus --num_train_shards 4 --test_split_percentage 8
  step halves "one half of the train split for the base model, the other for fine-tuning" halve
  step tokenizer "tokenizer: byte-level BPE without indentation, as GPT-2's" \
    "$PYTHON" -m tokenizer_patch train --data_dir "$RUN_DIR/half-1" --output_dir "$RUN_DIR/tokenizer" \
    --vocab_size 4096 --collapse_whitespace --overwrite_output_dir
  step base "base model: GPT-Neo from scratch" \
    train "${SMALL[@]}" --config_name=training/main_job_model.json --tokenizer_name="$RUN_DIR/tokenizer" \
    --data_dir="$RUN_DIR/half-1" --output_dir="$RUN_DIR/base" --token_cache_dir="$RUN_DIR/tokens" \
    --per_device_train_batch_size=8 --learning_rate=2e-3 --warmup_steps=30 --max_steps="$BASE_STEPS" \
    --eval_steps="$BASE_STEPS" --save_steps=100 --eval_completions=0
}

patch() {
  "$PYTHON" -m tokenizer_patch --model_name_or_path "$1" --output_dir "$RUN_DIR/patched" --data_dir "$2" \
    --overwrite_output_dir
}

# Extra flags of `finetune` come last, so that they win over these.
resolve() { "$PYTHON" -m training resolve --do_train --do_eval --resume_from_checkpoint=auto "$@"; }

finetune_patched() {  # finetune_patched train|resolve DATA [FLAGS...]
  local what=$1 data=$2
  shift 2
  "$what" "${SMALL[@]}" \
    --model_name_or_path="$RUN_DIR/patched" --dataset_name=data_processing/code_clippy.py --data_dir="$data" \
    --text_column_name=text --output_dir="$RUN_DIR/tuned" --token_cache_dir="$RUN_DIR/tokens" \
    --per_device_train_batch_size=4 --gradient_accumulation_steps=2 --learning_rate=1e-3 --warmup_steps=20 \
    --max_steps="$TUNE_STEPS" --eval_steps=100 --save_steps=100 --report_to=tensorboard --save_optimizer=true "$@"
}

continue_base() {  # the base on the same bytes without the patch, hence more tokens of them
  local steps
  steps=$("$PYTHON" -c 'import json, sys
before, after = json.load(open(sys.argv[1]))["tokens_per_byte"]
print(round(int(sys.argv[2]) * before / after))' "$RUN_DIR/patched/tokenizer_patch.json" "$TUNE_STEPS")
  train "${SMALL[@]}" --model_name_or_path="$RUN_DIR/base" --data_dir="$RUN_DIR/half-2" \
    --output_dir="$RUN_DIR/continued" --token_cache_dir="$RUN_DIR/tokens" --per_device_train_batch_size=8 \
    --learning_rate=1e-3 --warmup_steps=20 --max_steps="$steps" --eval_steps="$steps" --save_steps=100 --eval_completions=0
}

sample() {
  cat >"$RUN_DIR/prompts.jsonl" <<'PROMPTS'
{"task_id": "read_lines", "prompt": "def read_lines(path):\n    \"\"\"Return the lines of a file.\"\"\"\n"}
{"task_id": "class", "prompt": "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n"}
{"task_id": "add", "prompt": "def add(a, b):"}
PROMPTS
  "$PYTHON" -m generation --model "$RUN_DIR/tuned" --prompts_file "$RUN_DIR/prompts.jsonl" --max_new_tokens 64 \
    --temperature 0.2 --output "$RUN_DIR/samples.jsonl"
}

score() {  # score DATA MODEL...
  local data=$1
  shift
  "$PYTHON" -m evaluation bits_per_byte --models "$@" --data_dir "$data" --max_bytes "$SCORE_BYTES" \
    --dtype bfloat16 --output "$RUN_DIR/bits_per_byte.json"
}

report() {
  "$PYTHON" -m training report --run_dir "$RUN_DIR/tuned" --scores "$RUN_DIR/bits_per_byte.json" \
    --samples "$RUN_DIR/samples.jsonl" --patch "$RUN_DIR/patched/tokenizer_patch.json" --title "$1" \
    --output "$RUN_DIR/report.html"
}

closing() {
  say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s. Everything lies in $RUN_DIR:"
  cat <<END
  report.html     curves, bits per byte, samples: open it in a browser
  tuned/          the model: transformers' AutoModelForCausalLM.from_pretrained("$RUN_DIR/tuned") loads it in torch
  corpus/         the data, with manifest.json of what was dropped and why
Complete code with it:
  $PYTHON -m generation --model $RUN_DIR/tuned --prompt "def add(a, b):"
END
}

main_job() {
  RUN_DIR=$(absolute "${RUN_DIR:-$PWD/runs/main}") BASE_STEPS=${BASE_STEPS:-300} TUNE_STEPS=${TUNE_STEPS:-200}
  SCORE_BYTES=${SCORE_BYTES:-400000}
  start_job "main $BASE_STEPS $TUNE_STEPS $SCORE_BYTES"
  make_base
  step patch "patch: whitespace tokens" patch "$RUN_DIR/base" "$RUN_DIR/half-2"
  step tuned "fine-tune the patched model on the other half" finetune_patched train "$RUN_DIR/half-2"
  step continued "for comparison: the base on the same bytes without the patch" continue_base
  step scores "bits per byte on held-out code" \
    score "$RUN_DIR/corpus" "$RUN_DIR/base" "$RUN_DIR/patched" "$RUN_DIR/continued" "$RUN_DIR/tuned"
  step samples "sample completions" sample
  step report "report" report "Code Clippy: the main job"
  closing
}

finetune() {
  [ $# -ge 1 ] && [ "${1#--}" = "$1" ] || die "./run.sh finetune wants a folder of code first: ./run.sh finetune DIR [flags]"
  local source model="" word previous="" flags=() job=${RUN_DIR:-}
  source=$(absolute "$1")
  [ -d "$source" ] || die "no folder at $source; ./run.sh finetune wants a folder of code or a git repository"
  source=$(cd "$source" && pwd -P)
  shift
  for word in "$@"; do  # the model to patch is taken out, all other flags go to the training command as they are
    case $previous in --model_name_or_path | --model-name-or-path) model=$word previous="" && continue ;; esac
    case $word in
      --output_dir* | --output-dir* | --data_dir* | --data-dir*) die "finetune sets ${word%%=*} itself; RUN_DIR says where it writes" ;;
      --model_name_or_path=* | --model-name-or-path=*) model=${word#*=} ;;
      --model_name_or_path | --model-name-or-path) previous=$word && continue ;;
      *) flags+=("$word") ;;
    esac
    previous=""
  done
  if [ -n "$model" ] && [ -d "$(absolute "$model")" ]; then model=$(absolute "$model"); fi
  BASE_STEPS=${BASE_STEPS:-300} TUNE_STEPS=${TUNE_STEPS:-200} SCORE_BYTES=${SCORE_BYTES:-400000}
  RUN_DIR=$(absolute "${job:-$PWD/runs/finetune-$(basename "$source")}")
  job=$RUN_DIR
  for word in "${flags[@]}"; do  # --help does only that; a dry run says the flags, since model and corpus are not there
    case $word in --help | -h | --dry_run | --dry-run) finetune_patched resolve "$job/corpus" "${flags[@]}" && return ;; esac
  done
  finetune_patched resolve "$job/corpus" "${flags[@]}" >/dev/null  # a mistake in the flags is found before any long work
  if [ -z "$model" ]; then
    RUN_DIR=$(absolute "${BASE_DIR:-$PWD/runs/main}")
    mkdir -p "$RUN_DIR"
    make_base
    model=$RUN_DIR/base
  fi
  RUN_DIR=$job
  start_job "finetune $source $model $TUNE_STEPS $SCORE_BYTES ${flags[*]}"
  step corpus "corpus: $source" make_corpus --source_dir "$source"
  step patch "patch: whitespace tokens" patch "$model" "$RUN_DIR/corpus"
  step tuned "fine-tune the patched model on $source" finetune_patched train "$RUN_DIR/corpus" "${flags[@]}"
  step scores "bits per byte on held-out code" score "$RUN_DIR/corpus" "$model" "$RUN_DIR/patched" "$RUN_DIR/tuned"
  step samples "sample completions" sample
  step report "report" report "Code Clippy: $(basename "$source")"
  closing
}
