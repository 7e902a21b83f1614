#!/usr/bin/env python3
"""Compiles the kernels with NVRTC from strings alone (no include folder), as the device does at run time.

Usage: check_nvrtc.py [SOURCES]     (default src/device/cuda of this repository, or dist/device/cuda of a packed folder); prints seconds; exits 1 on an error.
"""
import ctypes
import pathlib
import sys
import time

import torch  # loads NVRTC

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else next(
    p for p in (ROOT / "src/device/cuda", ROOT / "dist/device/cuda") if p.is_dir())
CASES = [
    ("attention_forward_sm90", "90a", "HEAD_DIM=64 CONSUMERS=3 BLOCK_N=96 STAGES=5 REGISTERS_LOAD=80 REGISTERS_COMPUTE=144"),
    ("attention_forward_sm90", "90a",
     "HEAD_DIM=64 CONSUMERS=3 BLOCK_N=128 STAGES=4 REGISTERS_LOAD=32 REGISTERS_COMPUTE=160 IDENTITY=1"),
    ("attention_backward_sm90", "90a", "HEAD_DIM=64 STAGES=4 WITH_DQ=1 REGISTERS_LOAD=88 REGISTERS_COMPUTE=208"),
    ("attention_backward_sm90", "90a", "HEAD_DIM=128 STAGES=3 WITH_DQ=1 REGISTERS_LOAD=56 REGISTERS_COMPUTE=224"),
    ("attention_backward_scratch", "90a", "HEAD_DIM=64 WITH_DQ=1"),
    ("attention_forward", "80", "HEAD_DIM=64 BLOCK_M=64 BLOCK_N=64"),
    ("attention_backward", "80", "HEAD_DIM=64 BLOCK_M=64 BLOCK_N=64 SLICE=64"),
    ("attention_delta", "80", ""),
    ("staircase", "80", ""),
    ("lsh_buckets", "80", "HEAD_DIM=64 BUCKETS=16 ELEMENT_F16=1"),
    ("lsh_buckets_balanced", "80", "HEAD_DIM=64 BUCKETS=16"),
]


def library():
    loaded = [line.split()[-1] for line in open("/proc/self/maps") if "nvrtc" in line and "builtins" not in line]
    return ctypes.CDLL(loaded[0] if loaded else f"libnvrtc.so.{torch.version.cuda.split('.')[0]}")


def strings(values):
    return (ctypes.c_char_p * len(values))(*[v.encode() for v in values])


def build(nvrtc, name, arch, defines):
    headers = {p.name: p.read_text() for p in SOURCES.glob("*.cuh")}
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), (SOURCES / f"{name}.cu").read_text().encode(), f"{name}.cu".encode(),
                             len(headers), strings(headers.values()), strings(headers))
    options = [f"-arch=sm_{arch}", "-std=c++17", *(f"-D{d}" for d in defines.split())]
    start = time.time()
    code = nvrtc.nvrtcCompileProgram(program, len(options), strings(options))
    seconds = time.time() - start
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    print(f"{name} sm_{arch}: {'ok' if code == 0 else log.value.decode()} {seconds:.2f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    nvrtc = library()
    sys.exit(not all([build(nvrtc, *case) for case in CASES]))
