#!/usr/bin/env python3
"""The Triton kernels of "Faster Causal Attention Over Large Sequences Through Sparse Flash Attention" (arXiv 2306.01160),
unchanged, timed as their authors time them: the whole operation with its sorting and gathering, on buckets and keep masks
drawn for queries and keys each on their own.

They are read from a copy of github.com/epfml/dynamic-sparse-flash-attention (its notebook in runtime-experiments/), which
is not part of this project. Prints one JSON object a line: pattern, T, forward and backward milliseconds (median of
do_bench, CUDA events). The kernels take D = 64 only.
Usage: paper_triton.py DIR [--batch 4] [--heads 48] [--lengths 8192,16384] [--patterns 'hash(16),drop(0.7)']
"""
import argparse
import importlib.util
import json
import pathlib
import re
import tempfile

import torch
from attention_torch import median_ms

HEAD = "import math\nimport torch\nimport triton\nimport triton.language as tl\n\n"
D = 64


def load(folder):
    """The notebook's kernels and their wrapper as a module. In a file: Triton reads the source of what it compiles."""
    [notebook] = sorted(pathlib.Path(folder).glob("runtime-experiments/*.ipynb"))
    cells = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    wanted = [text for text in cells if "@triton.jit" in text or "def dynamic_sparse_attention" in text]
    path = pathlib.Path(tempfile.mkdtemp()) / "paper_kernels.py"
    path.write_text(HEAD + "\n\n".join(wanted))
    spec = importlib.util.spec_from_file_location("paper_kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dynamic_sparse_attention


def attention(dynamic_sparse_attention, pattern, q, k, v):
    """A function that runs the forward; q, k, v [B,T,H,D] bf16. The numbers of `drop` are shares dropped."""
    kind, number = re.fullmatch(r"(hash|drop)\((.+)\)", pattern).groups()
    B, T, H, _ = q.shape
    if kind == "hash":
        sides = [torch.randint(0, int(number), (B, T, H), dtype=torch.int32, device="cuda") for _ in range(2)]
    else:
        sides = [(torch.rand((B, T, H), device="cuda") > float(number)).float() for _ in range(2)]
    mode = "hash" if kind == "hash" else "qk"
    return lambda: dynamic_sparse_attention(q, k, v, *sides, sm_scale=D ** -0.5, sparsity_mode=mode)


def measure(dynamic_sparse_attention, pattern, B, T, H):
    torch.manual_seed(0)
    q, k, v = (torch.randn(B, T, H, D, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    forward = attention(dynamic_sparse_attention, pattern, q, k, v)
    out = forward()
    dout = torch.randn_like(out)
    fwd = median_ms(forward)
    bwd = median_ms(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))
    return {"kernel": "paper-triton", "pattern": pattern, "B": B, "H": H, "D": D, "T": T,
            "fwd_ms": round(fwd, 4), "bwd_ms": round(bwd, 4)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--batch", type=int, default=4)
    ap.add_argument("--heads", type=int, default=48)
    ap.add_argument("--lengths", default="8192,16384")
    ap.add_argument("--patterns", default="hash(4),hash(8),hash(16),hash(32),hash(64),drop(0.5),drop(0.7),drop(0.8)")
    a = ap.parse_args()
    kernels = load(a.folder)
    for T in map(int, a.lengths.split(",")):
        for pattern in a.patterns.split(","):
            print(json.dumps(measure(kernels, pattern, a.batch, T, a.heads)), flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
