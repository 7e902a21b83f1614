#!/usr/bin/env bash
# What the WebGPU device is measured and checked by on a GPU host, some five minutes. In a folder that
# `npm run pack:gpu -- --node --vulkan --onnx DIR` made, after `. setup.sh`:
#   bash bench/webgpu/everything.sh OUT [times] [checks]        (both if neither is named)
# Lines of what was measured go to OUT/webgpu.jsonl, logs beside them.
set -u
out=$(mkdir -p "${1:?a folder for what is measured}" && cd "$1" && pwd)
parts=${*:2}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bench() { # SECONDS FLAGS...
  echo "== $((SECONDS)) s: bench ${*:2}"
  timeout -s KILL "$1" scfa bench "${@:2}" --device webgpu --json-out "$out/webgpu.jsonl" 2>&1 | grep -av 'left$' | tail -7
}
# A kernel that stands still ends with its program at the latest.
check() { # NAME SECONDS COMMAND...
  local start=$SECONDS
  timeout -s KILL "$2" "${@:3}" > "$out/$1.log" 2>&1
  echo "$1: exit $?, $((SECONDS - start)) s; $(grep -aE 'cases pass|apart by' "$out/$1.log" | tail -1 | cut -c1-150)"
}

if [[ -z $parts || $parts == *times* ]]; then
  bench 90 attention --batch 4 --heads 12 --lengths 16k --patterns 'dense,hash(16),drop(0.7)' --shared-qk --peer none
  bench 60 attention --tier subgroups --heads 12 --lengths 16k --patterns dense --rounds 3 --peer none
  bench 60 attention --tier f32 --heads 12 --lengths 16k --patterns dense --rounds 3 --peer none
  bench 60 attention --peer webgpu --forward-only --heads 12 --lengths 8k --patterns 'dense,hash(16)' --rounds 9
  bench 60 train --preset paper-124m --lengths 16k --tokens 32k --patterns 'hash(16),hash(16, balanced=true)'
  timeout -s KILL 60 python3 bench/peers/train_torch.py --lengths 16384 --tokens 32768 --modes eager --kernels fa2 |
    tee -a "$out/torch.jsonl"
fi
if [[ -z $parts || $parts == *checks* ]]; then
  check matrices_f16 200 scfa selftest --device webgpu --tier matrices --dtype f16 &
  check subgroups_f16 200 scfa selftest --device webgpu --tier subgroups --dtype f16 &
  check f32 200 scfa selftest --device webgpu --tier f32 &
  wait
  check same_losses 100 node bench/same_losses.mjs webgpu 10
fi
