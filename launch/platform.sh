# shellcheck shell=bash
# The platform: what accelerates this machine, what has to be installed for it and which variables it wants.
# run.sh sources this file.

# PCI devices of TPUs: v2 and v3, v4, v5p, v5e, v6e, v7
TPU_DEVICES="0x0027 0x005e 0x0062 0x0063 0x006f 0x0076"

# shellcheck disable=SC2120  # a test gives it a folder
accelerator() {  # accelerator [PCI_FOLDER]: tpu, cuda or cpu; ACCELERATOR wins over what is found
  local vendor device pci=${1:-/sys/bus/pci/devices}
  if [ -n "${ACCELERATOR:-}" ]; then
    case $ACCELERATOR in tpu | cuda | cpu) echo "$ACCELERATOR" && return ;; esac
    die "ACCELERATOR is $ACCELERATOR; wanted tpu, cuda or cpu, or nothing to look for one"
  fi
  for vendor in "$pci"/*/vendor; do
    if [ "$(cat "$vendor" 2>/dev/null)" = 0x1ae0 ]; then  # Google's, whose network cards have it too
      device=$(cat "${vendor%vendor}device")
      case " $TPU_DEVICES " in *" $device "*) echo tpu && return ;; esac
    fi
  done
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then echo cuda; else echo cpu; fi
}

tpu_hosts() {  # how many hosts a slice has; nothing where its metadata is not to be had
  curl -sf --max-time 5 -H 'Metadata-Flavor: Google' \
    "http://${GCE_METADATA_IP:-metadata.google.internal}/computeMetadata/v1/instance/attributes/worker-network-endpoints" |
    tr ',' '\n' | grep -c .
}

# The variables that `platform` sets, in the order in which a dry run prints them.
PLATFORM_VARIABLES=(JAX_COMPILATION_CACHE_DIR TOKENIZERS_PARALLELISM)

platform() {  # platform ACCELERATOR: set what it wants; what is set already wins
  local hosts
  case $1 in
    tpu)
      # Gradients are summed while the backward pass goes on, and all-gathers of cut parameters fetched ahead. The
      # compiler of v4, v5e and v6e takes all of these; it ends at one that it does not know.
      export LIBTPU_INIT_ARGS=${LIBTPU_INIT_ARGS-"--xla_tpu_enable_data_parallel_all_reduce_opt=true --xla_tpu_data_parallel_opt_different_sized_ops=true --xla_tpu_enable_async_collective_fusion=true --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true --xla_tpu_enable_async_collective_fusion_multiple_steps=true --xla_tpu_overlap_compute_collective_tc=true --xla_enable_async_all_gather=true"}
      PLATFORM_VARIABLES+=(LIBTPU_INIT_ARGS)
      # A slice's hosts know of each other by its metadata alone. Said here, so that one that cannot join is an error.
      if [ -z "${JAX_NUM_PROCESSES:-}" ] && hosts=$(tpu_hosts) && [ "$hosts" -gt 1 ]; then JAX_NUM_PROCESSES=$hosts; fi
      if [ -n "${JAX_NUM_PROCESSES:-}" ]; then
        export JAX_NUM_PROCESSES
        PLATFORM_VARIABLES+=(JAX_NUM_PROCESSES)
      fi
      ;;
    cuda)
      export XLA_FLAGS=${XLA_FLAGS---xla_gpu_enable_latency_hiding_scheduler=true}
      export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}  # by itself it takes three quarters
      PLATFORM_VARIABLES+=(XLA_FLAGS XLA_PYTHON_CLIENT_MEM_FRACTION)
      ;;
  esac
}

extras() {  # extras ACCELERATOR [PLACE...]: the extras of setup.cfg that it, and storage behind gs://, want
  case $1 in tpu | cuda) echo "$1" ;; esac
  shift
  case " $*" in *" gs://"*) echo gcs ;; esac
}

rank() {  # this process's number among those that train together
  local number=${JAX_PROCESS_ID:-${SLURM_PROCID:-}}
  if [ -z "$number" ] && [ "${JAX_NUM_PROCESSES:-1}" -gt 1 ]; then
    number=$(curl -sf --max-time 5 -H 'Metadata-Flavor: Google' \
      "http://${GCE_METADATA_IP:-metadata.google.internal}/computeMetadata/v1/instance/attributes/agent-worker-number") ||
      die "$JAX_NUM_PROCESSES processes, and no number of this one; set JAX_PROCESS_ID"
  fi
  echo "${number:-0}"
}

log_of() {  # log_of NAME: the file that what NAME prints on this host goes to
  local log rank=${SLURM_LOCALID:-0}
  log=${LOG_DIR:-logs/$1}/log-$(hostname)
  [ "$rank" = 0 ] || log=$log-$rank
  echo "$log.txt"
}

print_platform() {  # print_platform EXTRAS
  local word
  echo "# extras:${1:+ $1}"
  for word in "${PLATFORM_VARIABLES[@]}"; do echo "export $word=${!word@Q}"; done
}

print_command() {
  local word
  printf '%s' "$1"
  for word in "${@:2}"; do
    case $word in --*) printf ' \\\n   ' ;; esac
    printf ' %s' "$(quoted "$word")"
  done
  printf '\n'
}

start() {  # start NAME EXTRAS COMMAND...: a command in place of this shell, its output also in a log of this host
  local log
  log=$(log_of "$1")
  if [ -n "${DRY_RUN:-}" ]; then
    print_platform "$2"
    print_command "${@:3}"
    echo "# log: $log"
    return
  fi
  keep_log "$log"
  exec "${@:3}"
}

keep_log() {  # keep_log FILE: what this shell prints from now on goes there too
  mkdir -p "$(dirname "$1")"
  # Signals are for the command: its last words still have to come through.
  exec > >(trap '' INT TERM HUP && exec tee -a "$1") 2>&1
}

quoted() {  # words as a shell takes them, in one line
  local word between=""
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9_./:=,@%+-]* | "") printf '%s%s' "$between" "${word@Q}" ;;
      *) printf '%s%s' "$between" "$word" ;;
    esac
    between=" "
  done
  printf '\n'
}
