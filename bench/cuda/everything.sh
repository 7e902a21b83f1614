#!/usr/bin/env bash
# All that is measured and checked on a GPU host, times first and alone, then the checks side by side: some ten minutes.
# Usage, in a packed folder after `. setup.sh`:  bash bench/cuda/everything.sh OUT [PAPER]      (OUT: folder for lines and logs;
# PAPER: copy of the paper's repository, see bench/peers/paper_triton.py)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "$1") && mkdir -p "$out"
paper=${2:+--paper $(realpath "$2")}
beside() { node bench/peers/side_by_side.mjs "$@" 2>&1; }

echo "== times"
beside attention --lengths 16k $paper --out "$out/attention.jsonl"
beside attention --lengths 8k,32k --steps torch,ours --out "$out/attention.jsonl"
beside attention --lengths 16k --head-dimension 128 --heads 24 --steps torch,ours --patterns 'dense,hash(16),hash(64),drop(0.8)' --out "$out/attention.jsonl"
scfa bench attention --device cuda --peer none --batch 4 --heads 48 --lengths 16k --patterns 'window(256):24 hash(16):24' --json-out "$out/mixed.jsonl"
scfa bench attention --device cuda --peer none --batch 4 --heads 24 --lengths 16k --patterns 'window(256),hash(16)' --json-out "$out/mixed.jsonl"
beside train --lengths 8k,16k,32k,64k --rounds 9 --out "$out/train.jsonl"
for T in 16384 32768 65536; do
  node bench/profile_step.mjs 'hash(16)' "$T" $((T > 32768 ? T : 32768)) > "$out/profile_$T.log" 2>&1
  tail -1 "$out/profile_$T.log"
done

echo "== checks"
# A kernel that stands still ends with its program at the latest.
check() {
  local name=$1 start=$SECONDS
  shift
  timeout -s KILL 300 "$@" > "$out/$name.log" 2>&1
  echo "$name: exit $?, $((SECONDS - start)) s; $(grep -aE 'cases pass|SUMMARY|apart by' "$out/$name.log" | tail -1 | cut -c1-120)"
}
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for part in 0 1 2 3 4 5 6 7 8 9 10 11; do
  check "random_$part" scfa selftest --device cuda --random 834 --first $((834 * part)) --seed 1 &
done
check bf16 scfa selftest --device cuda &
check f16 scfa selftest --device cuda --dtype f16 &
check deterministic scfa selftest --device cuda --deterministic --filter attention &
check memcheck "$sanitizer" --tool memcheck --error-exitcode 9 node dist/cli/main.js selftest --device cuda --filter "D = " &
for D in 64 128; do
  check "racecheck_$D" "$sanitizer" --tool racecheck --error-exitcode 9 node dist/cli/main.js selftest --device cuda --filter "D = $D" &
done
wait
check same_losses node bench/same_losses.mjs cuda
