#!/usr/bin/env python3
"""What NVIDIA's Vulkan driver compiled kernels to: its cache of shaders, taken apart and disassembled.

Run the kernels first, with the cache in an empty folder of its own, then this beside a CUDA toolkit (nvdisasm) and zstd:
    mkdir cache; __GL_SHADER_DISK_CACHE=1 __GL_SHADER_DISK_CACHE_PATH=$PWD/cache scfa bench attention --device webgpu
    bench/webgpu/driver_code.py cache --arch SM90 --out code
Writes code/N.sass for each pipeline, and prints its size, registers and most frequent instructions.
The layout of the cache (driver 580) was found by looking: zstd frames, in them 'NVuc', whose first section is the code.
"""
import argparse
import collections
import pathlib
import re
import struct
import subprocess

FRAME = b"\x28\xb5\x2f\xfd"
CODE_SECTION = 0x40  # of type, size and offset, after 'NVuc'
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d+ )?([A-Z0-9]+)", re.M)


def frames(data):
    starts = [match.start() for match in re.finditer(re.escape(FRAME), data)]
    for start, end in zip(starts, starts[1:] + [len(data)]):
        # What follows a frame makes zstd complain, after it has written the frame.
        yield subprocess.run(["zstd", "-dc"], input=data[start:end], capture_output=True).stdout


def code_of(frame):
    at = frame.find(b"NVuc")
    if at < 0:
        return None
    kind, size, offset = struct.unpack_from("<3I", frame, at + CODE_SECTION)
    return frame[at + offset : at + offset + size] if kind == 1 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--arch", default="SM90")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("code"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    count = 0
    for file in sorted(args.cache.rglob("*.bin")):
        for code in filter(None, map(code_of, frames(file.read_bytes()))):
            binary = args.out / f"{count}.bin"
            binary.write_bytes(code)
            sass = subprocess.run(
                ["nvdisasm", "--binary", args.arch, str(binary)], check=True, capture_output=True, text=True
            ).stdout
            (args.out / f"{count}.sass").write_text(sass)
            registers = 1 + max((int(number) for number in re.findall(r"\bR(\d+)", sass)), default=-1)
            most = collections.Counter(INSTRUCTION.findall(sass)).most_common(8)
            print(count, f"{len(code)} bytes, {registers} registers:", ", ".join(f"{name} {n}" for name, n in most))
            count += 1
    if count == 0:
        raise SystemExit(f"driver_code.py: {args.cache} must hold a cache of NVIDIA's driver, found no code in it.")


if __name__ == "__main__":
    main()
