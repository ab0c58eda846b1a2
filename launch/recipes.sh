# shellcheck shell=bash
# The recipes: two training commands with the values of the models that they made, each value a knob. run.sh sources this
# file; docs/recipes.md tells what they are for.

# What a launcher hands on to other machines.
# shellcheck disable=SC2034  # launch/tpu_vm.sh
KNOBS=(OUTPUT_DIR CHECKPOINT_STORE MODEL DATASET_NAME DATA_DIR RUN_NAME BLOCK_SIZE BATCH EVAL_BATCH ACCUMULATION LEARNING_RATE WARMUP_STEPS
  MAX_STEPS DECAY_STEPS EPOCHS LOGGING_STEPS EVAL_STEPS SAVE_STEPS SAVE_LIMIT EVAL_SAMPLES WORKERS REMAT REPORT_TO PUSH_TO_HUB)

place() {  # a folder that the user named from where he stands; URLs and what is empty stay as they are
  case $1 in *://* | "") printf '%s' "$1" ;; *) absolute "$1" ;; esac
}

model() {  # a folder that is there, or else a Hub id
  if [ -d "$(absolute "$1")" ]; then absolute "$1"; else printf '%s' "$1"; fi
}

remat() {  # 8 x 2,048 tokens of GPT-Neo 125M want 22 GiB without, 11 with; a TPU v3 or v5e device has 16
  case $(accelerator) in tpu) echo dots ;; *) echo none ;; esac
}

recipe() {  # recipe NAME SCRIPT OUTPUT_DIR DATA_DIR FLAGS...: set up, then train
  local name=$1 script=$2 words=(--output_dir "$(place "$3")") data=$4 store kind wanted
  shift 4
  store=$(place "${CHECKPOINT_STORE:-}")
  if [ -n "$store" ]; then words+=(--checkpoint_store "$store"); fi
  kind=$(accelerator)
  wanted=$(extras "$kind" "$store" "$data" | xargs)
  # shellcheck disable=SC2086  # words
  [ -n "${DRY_RUN:-}" ] || setup $wanted
  platform "$kind"
  start "$name" "$wanted" "$PYTHON" -u "training/$script" "${words[@]}" "$@"
}

code_clippy() {  # GPT-Neo 125M on code of many languages
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

apps() {  # GPT-Neo 125M on APPS: problems as prompts, loss on the answers
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
