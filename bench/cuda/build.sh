#!/usr/bin/env bash
# Compiles the attention kernels to cubins with nvcc, as NVRTC does at run time, and prints registers and spills. What is
# built is listed in scripts/cuda-builds.mjs.
# Usage: [MMA_ARCH=90] bench/cuda/build.sh [OUT] [PATTERN]     (default .carry/cubins, all)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec node "$here/../../scripts/cuda-compile.mjs" "${1:-.carry/cubins}" "${2:-.}"
