# shellcheck shell=bash
# What the recipes share: their knobs, the command that trains, and the steps that several have. run.sh sources this file,
# and then each file of launch/recipes/; docs/recipes.md tells what they are for.

# What a launcher hands on to other machines.
# shellcheck disable=SC2034  # launch/tpu_vm.sh
KNOBS=(SIZE OUTPUT_DIR CHECKPOINT_STORE MODEL CONFIG TOKENIZER DATASET_NAME DATA_DIR DATA_NL DATA_MULTI DATA_MONO PAIRS WRITER
  STAGES MESH RUN_NAME BLOCK_SIZE BATCH EVAL_BATCH ACCUMULATION LEARNING_RATE WARMUP_STEPS MAX_STEPS DECAY_STEPS EPOCHS
  LOGGING_STEPS EVAL_STEPS SAVE_STEPS SAVE_LIMIT EVAL_SAMPLES WORKERS REMAT REPORT_TO PUSH_TO_HUB
  BENCHMARK PROBLEMS SAMPLES TEMPERATURE ANSWER_TOKENS)

place() {  # a folder that the user named from where he stands; URLs and what is empty stay as they are
  case $1 in *://* | "") printf '%s' "$1" ;; *) absolute "$1" ;; esac
}

model() {  # a folder or file that is there, or else a Hub id
  if [ -e "$(absolute "$1")" ]; then absolute "$1"; else printf '%s' "$1"; fi
}

remat() {  # 8 x 2,048 tokens of GPT-Neo 125M want 22 GiB without, 11 with; a TPU v3 or v5e device has 16
  case $(accelerator) in tpu) echo dots ;; *) echo none ;; esac
}

sizes() {  # sizes NAME: CONFIG, or launch/models/NAME.json
  if [ -n "${CONFIG:-}" ]; then model "$CONFIG"; else printf '%s' "launch/models/$1.json"; fi
}

# What stands before a command that one host of a slice takes alone: it would wait for the others' chips for ever. And a
# model that is cut over many devices need not fit one.
ON_HOST=(env JAX_PLATFORMS=cpu)

# ---- of one command ----------------------------------------------------------------------------------------------------

recipe() {  # recipe NAME SCRIPT OUTPUT_DIR DATA_DIR FLAGS...: set up, then train
  local name=$1 script=$2 output=$3 data=$4 store kind wanted words=()
  shift 4
  store=$(place "${CHECKPOINT_STORE:-}")
  if [ -n "$store" ]; then words=(--checkpoint_store "$store"); fi
  if [ -n "${MESH:-}" ]; then words+=(--placement mesh --mesh "$MESH"); fi
  if [ -n "${RUN_DIR:-}" ]; then  # as a step of a recipe
    train_into model "train" "$script" "${words[@]}" "$@"
    return
  fi
  kind=$(accelerator)
  wanted=$(extras "$kind" "$store" "$data" | xargs)
  # shellcheck disable=SC2086  # words
  [ -n "${DRY_RUN:-}" ] || setup $wanted
  platform "$kind"
  start "$name" "$wanted" "$PYTHON" -u "training/$script" --output_dir "$(place "$output")" "${words[@]}" "$@"
}

# ---- of several steps --------------------------------------------------------------------------------------------------

size() {  # size NAME SIZE...: refuse any other; the first is the default
  SIZE=${SIZE:-$2}
  case " ${*:2} " in *" $SIZE "*) ;; *) die "SIZE is $SIZE; wanted of $1: ${*:2}" ;; esac
}

defaults() {  # defaults KNOB=VALUE...: for the knobs that are not set
  local pair name
  for pair in "$@"; do
    name=${pair%%=*}
    [ -n "${!name:-}" ] || printf -v "$name" %s "${pair#*=}"
  done
}

# Of a model of about a million parameters, which is done in a minute or two on two cores.
TINY=(BLOCK_SIZE=512 BATCH=4 EVAL_BATCH=8 ACCUMULATION=1 WARMUP_STEPS=20 LOGGING_STEPS=20 EVAL_STEPS=100 SAVE_STEPS=50
  SAVE_LIMIT=2 EVAL_SAMPLES=32 WORKERS=2 REPORT_TO=none ANSWER_TOKENS=64)

# Of the others, where the recipe itself does not say.
PUBLISHED=(BATCH=8 EVAL_BATCH=16 ACCUMULATION=1 WARMUP_STEPS=2000 LOGGING_STEPS=100 EVAL_STEPS=1000
  SAVE_STEPS=1000 SAVE_LIMIT=5 EVAL_SAMPLES=2000 WORKERS=16 REPORT_TO=wandb BENCHMARK=humaneval)

want_knob() {  # want_knob KNOB WHAT: refuse to go on without it
  [ -n "${!1:-}" ] || die "SIZE=$SIZE without $1; wanted $2"
}

no_knob() {  # no_knob WHY KNOB...: refuse what would be passed over in silence
  local knob
  for knob in "${@:2}"; do
    [ -z "${!knob:-}" ] || die "$knob is ${!knob}, and $1; leave it out"
  done
}

check_flags() {  # check_flags NAME FLAGS...: refuse what only the recipe can say
  local name=$1 word previous=""
  shift
  for word in "$@"; do
    case $word in
      --output_dir* | --output-dir*) die "$name says ${word%%=*} itself; OUTPUT_DIR=... is where it writes" ;;
      --data_dir* | --data-dir*) die "$name says ${word%%=*} itself; DATA_DIR=... is what it reads" ;;
      --model_name_or_path* | --model-name-or-path*) die "$name says ${word%%=*} itself; MODEL=... is what it starts from" ;;
      --dry_run=* | --dry-run=*) die "$word: give --dry_run alone, or leave it out" ;;
    esac
    case "$previous $word" in
      "--dry_run "[!-]* | "--dry-run "[!-]*) die "$previous $word: give --dry_run alone, or leave it out" ;;
    esac
    previous=$word
  done
}

begin() {  # begin NAME FLAGS...: the folder, the environment, the platform and the log of a recipe; a wrong flag ends it
  local name=$1 knob word kind extras inputs flags base command=resolve
  check_flags "$@"
  shift
  RECIPE=$name RUN_DIR=$(place "${OUTPUT_DIR:-$PWD/runs/$name-$SIZE}")
  for knob in OUTPUT_DIR DATA_DIR DATA_NL DATA_MULTI DATA_MONO PAIRS; do
    case ${!knob:-} in *://*) die "$knob is ${!knob}; wanted a folder of this machine, which all steps of $name can use" ;; esac
  done
  kind=$(accelerator)
  extras=$(extras "$kind" "${CHECKPOINT_STORE:-}" | xargs)
  platform "$kind"
  RANK=$(rank)
  if [ -n "${DRY_RUN:-}" ]; then print_platform "$extras" && echo "# log: $(log_of "$name")" && return; fi
  if [ -d "$RUN_DIR" ]; then touch "$RUN_DIR/.started-$RANK"; fi  # before anything that takes long
  # shellcheck disable=SC2086  # words
  setup $extras
  base=(--model_name_or_path base)
  case $name:${MODEL:-} in codeparrot: | codegen: | gpt-j:) base=(--config_name base --tokenizer_name base) ;; esac
  flags=(--output_dir "$RUN_DIR" "${base[@]}" --do_train --do_eval)
  if [ -n "${MESH:-}" ]; then flags+=(--placement mesh --mesh "$MESH"); fi
  case $name in apps | codex-*) command=resolve_apps ;; esac
  "$PYTHON" -m training "$command" "${flags[@]}" "$@" >/dev/null
  keep_log "$(log_of "$name")"
  mkdir -p "$RUN_DIR"
  [ -e "$RUN_DIR/.started-$RANK" ] || touch -d @0 "$RUN_DIR/.started-$RANK"  # there was no folder: all in it is of this attempt
  [ "$RANK" = 0 ] || return 0
  trap '[ $? = 0 ] || touch "$RUN_DIR/.failed$ATTEMPT"' EXIT
  inputs="$name SIZE=$SIZE"
  for knob in MODEL CONFIG TOKENIZER DATA_DIR DATA_NL DATA_MULTI DATA_MONO PAIRS STAGES MAX_STEPS EPOCHS BLOCK_SIZE \
    LEARNING_RATE WARMUP_STEPS DECAY_STEPS; do
    if [ -n "${!knob:-}" ]; then inputs+=" $knob=${!knob}"; fi
  done
  for word in "$@"; do
    case $word in --dry_run | --dry-run) ;; *) inputs+=" $word" ;; esac
  done
  if [ -e "$RUN_DIR/.inputs" ] && [ "$(cat "$RUN_DIR/.inputs")" != "$inputs" ]; then
    die "$RUN_DIR holds what was made by '$(cat "$RUN_DIR/.inputs")', and this is '$inputs'; wanted the same, or another OUTPUT_DIR"
  fi
  printf '%s\n' "$inputs" >"$RUN_DIR/.inputs.partial"
  mv "$RUN_DIR/.inputs.partial" "$RUN_DIR/.inputs"
}

DEVICES=()  # what stands before a training command that wants devices made of this one

train_into() {  # train_into FOLDER TITLE SCRIPT FLAGS...: by all processes; adapters lie beside, and are merged into the folder
  local folder=$1 title=$2 script=$3
  shift 3
  TRAINED=$folder  # where the run's metrics are
  case " $*" in *" --lora_rank"* | *" --lora-rank"*) TRAINED=$folder-adapters ;; esac
  set -- "${DEVICES[@]}" "$PYTHON" -u "training/$script" --output_dir "$RUN_DIR/$TRAINED" "$@"
  case "${DRY_RUN:-} $* " in " "*" --dry_run "* | " "*" --dry-run "*)  # nothing is trained, so nothing can follow
    say "$title: dry run"
    "$@"
    exit ;;
  esac
  together "$TRAINED" "$title" "$@"
  if [ "$TRAINED" = "$folder" ]; then return; fi
  alone "$folder" "merge the adapters into the model that they are of" "${ON_HOST[@]}" "$PYTHON" -m modeling merge \
    "$RUN_DIR/$TRAINED" "$RUN_DIR/$folder" --overwrite_output_dir
}

train_model() {  # train_model FOLDER TITLE SCRIPT FLAGS...: by the knobs, into a folder of the recipe's
  local more=() name=${RUN_NAME:-$RECIPE-$SIZE}
  if [ "$1" != model ]; then name=$name-$1; fi  # also the repository that it is pushed to
  more+=(--run_name "$name")
  if [ -n "${CHECKPOINT_STORE:-}" ]; then more+=(--checkpoint_store "$(place "$CHECKPOINT_STORE")/$1"); fi
  if [ -n "${DECAY_STEPS:-}" ]; then more+=(--decay_steps "$DECAY_STEPS"); fi
  if [ -n "${MESH:-}" ]; then more+=(--placement mesh --mesh "$MESH"); fi
  train_into "$1" "$2" "$3" "${more[@]}" \
    --do_train --do_eval --resume_from_checkpoint auto \
    --token_cache_dir "$RUN_DIR/tokens" \
    --preprocessing_num_workers "$WORKERS" \
    --block_size "$BLOCK_SIZE" \
    --per_device_train_batch_size "$BATCH" \
    --per_device_eval_batch_size "$EVAL_BATCH" \
    --gradient_accumulation_steps "$ACCUMULATION" \
    --learning_rate "$LEARNING_RATE" \
    --warmup_steps "$WARMUP_STEPS" \
    --weight_decay 0.1 \
    --dtype bfloat16 \
    --remat "${REMAT:-$(remat)}" \
    --logging_steps "$LOGGING_STEPS" \
    --eval_steps "$EVAL_STEPS" \
    --max_eval_samples "$EVAL_SAMPLES" \
    --save_steps "$SAVE_STEPS" \
    --save_total_limit "$SAVE_LIMIT" \
    --report_to "$REPORT_TO" \
    --push_to_hub "${PUSH_TO_HUB:-False}" \
    "${@:4}"
}

make_embedded_corpus() {  # Python's standard library, as DATA_DIR
  DATA_DIR=$RUN_DIR/corpus
  alone corpus "corpus: Python's standard library" "$PYTHON" -m data_processing corpus \
    --output_dir "$DATA_DIR" --num_train_shards 4 --validation_split_percentage 8 --test_split_percentage 8
}

make_tokenizer() {  # make_tokenizer SIZE [FLAGS...]: of DATA_DIR, as TOKENIZER
  TOKENIZER=$RUN_DIR/tokenizer
  alone tokenizer "tokenizer: byte-level BPE of $1 tokens" "$PYTHON" -m tokenizer_patch train \
    --data_dir "$DATA_DIR" --output_dir "$TOKENIZER" --vocab_size "$1" --overwrite_output_dir "${@:2}"
}

make_embedded_base() {  # a tiny GPT-Neo from scratch, as MODEL: stands in for the pretrained one that a published size starts from
  make_embedded_corpus
  make_tokenizer 2048 "$@"
  together base "base model: a tiny GPT-Neo from scratch" "$PYTHON" -u training/run_clm_streaming_flax.py \
    --output_dir "$RUN_DIR/base" --config_name launch/models/gpt_neo_tiny.json --tokenizer_name "$TOKENIZER" \
    --data_dir "$DATA_DIR" --token_cache_dir "$RUN_DIR/tokens" --do_train --do_eval --resume_from_checkpoint auto \
    --block_size 512 --per_device_train_batch_size 4 --per_device_eval_batch_size 8 --learning_rate 2e-3 \
    --warmup_steps 20 --max_steps 100 --eval_steps 100 --save_steps 50 --save_total_limit 2 --logging_steps 20 \
    --max_eval_samples 32 --eval_completions 0 --weight_decay 0.1 --dtype bfloat16
  MODEL=$RUN_DIR/base
}

want_one_host() {  # a slice's chips answer only to all of its hosts at once, and a scoring command is of one
  if [ -n "${DRY_RUN:-}" ] || [ "$(accelerator)" != tpu ] || [ "${JAX_NUM_PROCESSES:-1}" = 1 ]; then return; fi
  say "trained. Scoring wants a TPU VM of one host: the same command there, with this OUTPUT_DIR, goes on from here"
  exit 0
}

count_bits() {  # count_bits NAME DATA MODEL...: bits per byte of models on a held-out split, as NAME.json
  local bytes=()
  want_one_host
  if [ "$SIZE" = tiny ]; then bytes=(--max_bytes 100000); fi
  alone "$1" "bits per byte on held-out text: $(basename "$2")" "$PYTHON" -m evaluation bits_per_byte --models "${@:3}" --data_dir "$2" "${bytes[@]}" \
    --dtype bfloat16 --output "$RUN_DIR/$1.json"
}

same_scoring() {  # what is scored is not scored again by other knobs, and must not seem so
  local knob by=""
  for knob in BENCHMARK PROBLEMS SAMPLES TEMPERATURE ANSWER_TOKENS WRITER; do
    if [ -n "${!knob:-}" ]; then by+="$knob=${!knob} "; fi
  done
  if [ -n "${DRY_RUN:-}" ] || [ "$RANK" != 0 ]; then return; fi
  if [ -e "$RUN_DIR/.done/scores" ] && [ "$(cat "$RUN_DIR/.scored_by" 2>/dev/null)" != "$by" ]; then
    die "$RUN_DIR/scores was made with $(cat "$RUN_DIR/.scored_by" 2>/dev/null), and this is $by: move it and .done/scores away to score anew"
  fi
  printf '%s' "$by" >"$RUN_DIR/.scored_by"
}

run_benchmark() {  # run_benchmark MODEL: programs by the knobs, judged in the sandbox
  local more=()
  want_one_host
  if [ -n "${PROBLEMS:-}" ]; then more+=(--problems "$(place "$PROBLEMS")"); fi
  if [ -n "${ANSWER_TOKENS:-}" ]; then more+=(--max_new_tokens "$ANSWER_TOKENS"); fi
  same_scoring
  alone scores "programs, judged in the sandbox: $BENCHMARK" "$PYTHON" -m evaluation run \
    --benchmark "$BENCHMARK" --model "$1" --num_samples "$SAMPLES" --temperature "$TEMPERATURE" \
    --output_dir "$RUN_DIR/scores" "${more[@]}"
}

report_run() {  # report_run TITLE [FLAGS...]: the page of the last training
  alone report "report" "$PYTHON" -m training report --run_dir "$RUN_DIR/$TRAINED" --title "$1" \
    --output "$RUN_DIR/report.html" "${@:2}"
}

finish() {  # finish MODEL WHAT...: where everything lies
  local line
  if [ -n "${DRY_RUN:-}" ] || [ "$RANK" != 0 ]; then return; fi
  say "done. Everything lies in $RUN_DIR:"
  for line in "$1: the model, which AutoModelForCausalLM.from_pretrained(\"$RUN_DIR/$1\") loads in torch" "${@:2}"; do
    printf '  %-22s %s\n' "${line%%: *}" "${line#*: }"
  done
}
