#!/usr/bin/env bash
# The experiments that need a GPU, run after run on so many GPUs side by side; by what most of them took, about two and a half hours on one
# H100. In a built checkout or a packed folder:
#   bash experiments/everything.sh DATA OUT [GPUS] [PATTERN]
# DATA holds tokens as text/make.mjs says, and, for those of them that are run, `text` (bytes/make.mjs) and idx files (images/run.mjs).
# Lines of what was measured go to OUT/EXPERIMENT.jsonl, logs to OUT/log.txt. PATTERN: only the runs that it is found in (grep -E).
set -u
data=$(cd "${1:?a folder of data}" && pwd)
out=$(mkdir -p "${2:?a folder for what is measured}" && cd "$2" && pwd)
gpus=${3:-1}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export data out

# What matters most first.
runs='
language --data $data --steps 3055 "dense RoPE own keys"
language --data $data --steps 3055 "window + hash RoPE own keys"
language --data $data --steps 3055 "window + dense RoPE own keys"
language --data $data --steps 3055 "window RoPE own keys"
long --data $data --seconds 250 "window + hash"
long --data $data --seconds 250 dense
long --data $data --seconds 250 "window + dense"
long --data $data --seconds 250 "window + hash balanced"
long --data $data --seconds 250 window
recall
language --data $data --steps 6110 dense
language --data $data --steps 6110 "hash 16"
language --data $data --steps 6110 "hash 16 balanced"
language --data $data --steps 6110 "window + dense"
language --data $data --steps 6110 "window + hash"
language --data $data --steps 6110 window
language --data $data --steps 1000 --context 16384 dense "window + dense" "window + hash" window
language --data $data --steps 1000 --context 16384 "dense RoPE own keys" "window + dense RoPE own keys" "window + hash RoPE own keys" "window + hash balanced RoPE own keys" "window RoPE own keys"
bytes --text $data/text
images --images $data
language --data $data --steps 1000
'
one() {
  echo "== $(date +%T) GPU $CUDA_VISIBLE_DEVICES: $1"
  read -r experiment flags <<< "$1"
  eval "node experiments/$experiment/run.mjs --device cuda --out $out/$experiment.jsonl $flags" 2>&1
  local status=$?
  echo "== $(date +%T) exit $status: $1"
}
export -f one
grep . <<< "$runs" | grep -E "${4:-.}" |
  xargs -d '\n' -P "$gpus" --process-slot-var=CUDA_VISIBLE_DEVICES -I{} bash -c 'one "$1"' _ {} | tee -a "$out/log.txt"
