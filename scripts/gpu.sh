#!/usr/bin/env bash
# A short loan of one GPU without a network: pack where there is one, run there, bring the records home.
#
#   scripts/gpu.sh pack [FILE]             code at HEAD, wheels and MNIST in one file (default gpu.tar)
#   scripts/gpu.sh run [MINUTES] [DEVICE]  in the unpacked folder: 15 minutes on cuda; with cpu it is tried without a GPU
#
# `pack` takes torch from TORCH_INDEX where that is set, an index with builds for CUDA. `run` takes the packed wheels,
# else PYTHON as it is, and PROTOCOL (default paper). What it leaves is in gpu-records.tar.gz.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
RESULTS=gpu-results

pack() {
  local file folder
  file=$(realpath "${1:-gpu.tar}")
  folder=$(mktemp -d)
  git clone --quiet --depth 1 "file://$PWD" "$folder/vdae-bench"
  "$PYTHON" -m pip download --quiet --dest "$folder/vdae-bench/wheels" --constraint constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} '.[test,bench]'
  rm -f "$folder"/vdae-bench/wheels/vdae_bench-*
  "$PYTHON" -m vdae_bench data fetch >/dev/null
  cp -r "$("$PYTHON" -m vdae_bench data path)" "$folder/vdae-bench/mnist"
  tar -cf "$file" -C "$folder" vdae-bench
  rm -rf "$folder"
  echo "$file: unpack it on the GPU's machine, then vdae-bench/scripts/gpu.sh run"
}

run() {
  local end=$((SECONDS + 60 * ${1:-15})) device=${2:-cuda} protocol=${PROTOCOL:-paper} cell
  if [ -d wheels ]; then
    "$PYTHON" -m venv .venv-gpu
    .venv-gpu/bin/python -m pip install --quiet --no-index --find-links wheels wheels/*.whl
    PYTHON=.venv-gpu/bin/python
  fi
  export PYTHONPATH=$PWD
  [ -d mnist ] && export VDAE_BENCH_DATA=$PWD/mnist
  left() { echo $((end - SECONDS)); }
  keep() { "$@" 2>&1 | tee -a gpu.log || echo "failed: $*" | tee -a gpu.log; } # what comes after it still runs

  within() { # SECONDS at most, and no more than is left but for a minute
    local most=$1 free=$(($(left) > 61 ? $(left) - 60 : 1))
    timeout "$((most < free ? most : free))" "${@:2}"
  }
  bring_home() {
    tar -czf gpu-records.tar.gz --ignore-failed-read gpu.log gpu-calibration.json "$RESULTS" 2>/dev/null || true
    echo "gpu-records.tar.gz: bring it home; records belong into results/, checkpoints among them go on anywhere"
  }
  trap bring_home EXIT # a loan that ends early leaves what there is, too
  trap 'exit 143' TERM INT

  : >gpu.log
  keep within 240 "$PYTHON" -m pytest -q -rs tests/training/test_replay.py tests/data/test_hashed_noise.py
  keep within 150 "$PYTHON" -m vdae_bench bench --only step --device "$device" --results "$RESULTS" --reports gpu-reports
  # Seconds of a slice of every cell, which is what `plan --on` estimates.
  within 180 "$PYTHON" -m vdae_bench plan table1 --protocol "$protocol" --device "$device" --calibrate --format json \
    >gpu-calibration.json 2>>gpu.log || echo "no calibration" | tee -a gpu.log
  # First what a processor takes longest for; a cell that is stopped goes on from its checkpoint with the next loan.
  for cell in '*_vdae-resnet_*' '*_lvdae-nice_*' '*_nice_*' '*_lvdae_16' '*_vae_16' '*'; do
    [ "$(left)" -gt 90 ] || break
    keep "$PYTHON" -m vdae_bench reproduce table1 --protocol "$protocol" --no-search --seeds 1 --only "$cell" \
      --device "$device" --results "$RESULTS" --reports gpu-reports --checkpoint-every 20s --time-limit "$(($(left) - 60))s"
  done
}

case ${1:-} in
pack | run) "$@" ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
