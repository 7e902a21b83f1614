#!/usr/bin/env bash
# Compiles the attention kernels to cubins with nvcc, as NVRTC does at run time, and prints registers and spills.
# Usage: bench/cuda/build.sh [OUT] [PATTERN]     (default .carry/cubins, all)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../../src/device/cuda
out=${1:-.carry/cubins} pattern=${2:-.}
mma_arch=${MMA_ARCH:-80}  # a cubin runs on its own major version alone: 90 to try this family on Hopper
mkdir -p "$out"

compile() { # arch name file flags...
  local arch=$1 name=$2 file=$3
  shift 3
  [[ $name =~ $pattern ]] || return 0
  # One compiler warning stays off: specialisation leaves some constants unused.
  nvcc -cubin -std=c++17 -diag-suppress 177 -gencode "arch=compute_$arch,code=sm_$arch" -Xptxas -v "$@" \
    "$source/$file.cu" -o "$out/$name.cubin" 2>&1 |
    awk -v n="$name" '/C75|error|warning/ {print n": "$0} /bytes stack/ {s=$5" spilled"} /Used/ {print n": "$5" registers, "s}'
}

for kind in "" _id _f16 _f16_id; do
  flags=()
  [[ $kind == *f16* ]] && flags+=(-DELEMENT_F16=1)
  [[ $kind == *id ]] && flags+=(-DIDENTITY=1)
  for d in 16 32 64 128 256; do
    n=64 slice=$d
    [ "$d" -gt 64 ] && n=32
    [ "$d" -gt 128 ] && slice=128
    for f in attention_forward attention_backward; do
      compile "$mma_arch" "${f}_d$d$kind" $f -DHEAD_DIM=$d -DSLICE=$slice -DBLOCK_M=64 -DBLOCK_N=$n "${flags[@]}"
    done
  done
  while read -r d consumers n stages load compute; do
    compile 90a "attention_forward_sm90_c${consumers}n${n}s${stages}_d$d$kind" attention_forward_sm90 -DHEAD_DIM="$d" \
      -DCONSUMERS="$consumers" -DBLOCK_N="$n" -DSTAGES="$stages" -DREGISTERS_LOAD="$load" \
      -DREGISTERS_COMPUTE="$compute" "${flags[@]}"
  done << 'SHAPES'
64 3 128 4 32 160
64 3 96 5 80 144
64 3 64 6 80 144
64 2 128 4 72 216
128 2 128 2 72 216
128 3 64 3 32 160
SHAPES
  load=88 compute=208  # gathering needs registers, bulk copies do not
  [[ $kind == *id ]] && load=40 compute=232
  for dq in 1 0; do
    tail=d64$kind
    [ $dq = 0 ] && tail=nodq_$tail
    compile 90a attention_backward_scratch_$tail attention_backward_scratch -DHEAD_DIM=64 -DWITH_DQ=$dq "${flags[@]}"
    compile 90a attention_backward_sm90_$tail attention_backward_sm90 -DHEAD_DIM=64 -DSTAGES=4 \
      -DREGISTERS_LOAD=$load -DREGISTERS_COMPUTE=$compute -DWITH_DQ=$dq "${flags[@]}"
  done
done
compile "$mma_arch" attention_delta attention_delta
compile "$mma_arch" attention_delta_f16 attention_delta -DELEMENT_F16=1
compile "$mma_arch" staircase staircase
for d in 64 128; do
  for b in 2 4 8 16 32 64 256; do
    compile "$mma_arch" lsh_buckets_d${d}b$b lsh_buckets -DHEAD_DIM=$d -DBUCKETS=$b
    compile "$mma_arch" lsh_buckets_d${d}b${b}_f16 lsh_buckets -DHEAD_DIM=$d -DBUCKETS=$b -DELEMENT_F16=1
  done
done
