#!/usr/bin/env python3
"""Times our kernels beside dense cuDNN and FlashAttention-2 of PyTorch in one run on one GPU, with a check of the result
inside. Prints JSON lines: milliseconds forward and backward (medians of CUDA events), and the ratio to dense cuDNN.

Usage: bench.py [--batch 4] [--heads 48] [--dim 64] [--length 16384] [--patterns dense,hash16,drop70] [--shapes auto,3x128x4]
                [--family sm90|mma] [--deterministic] [--no-peers] [--no-ours]
"""
import argparse
import datetime
import json
import statistics
import sys

import torch
import torch.nn.functional as F
from attention import Attention
from builders import Builder, lsh
from staircases import dense
from torch.nn.attention import SDPBackend, sdpa_kernel


AHEAD = 2_000_000  # cycles, about a millisecond: the GPU waits for the launches, so that what Python takes is not timed


def median_ms(fn, repeats=10, warmup=2):
    for _ in range(warmup):
        fn()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(AHEAD)
        start.record()
        fn()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def emit(row):
    stamp = datetime.date.today().isoformat()
    print(json.dumps({**row, "machine": torch.cuda.get_device_name(), "date": stamp, "command": " ".join(sys.argv)}),
          flush=True)


def peer(backend, a):
    q, k, v = (torch.randn(a.batch, a.heads, a.length, a.dim, device="cuda", dtype=torch.bfloat16, requires_grad=True)
               for _ in range(3))

    def forward():
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    out = forward()
    dout = torch.randn_like(out)
    return median_ms(forward), median_ms(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))


def make_stairs(name, q, a):
    """(staircase, function that builds it on the device from q alone; None where it is the same for every input)."""
    if name == "dense":
        return dense(a.length), None
    if name == "dense-gathered":  # the same by tables: what gathering costs
        rows = torch.arange(a.length, dtype=torch.int32, device="cuda")[None, None]
        return dict(dense(a.length), q_rows=rows, k_rows=rows), None
    kind, number = name.rstrip("0123456789"), int(name[len(name.rstrip("0123456789")):])
    B, T, H, D = q.shape
    if kind == "hash":
        rotations = F.normalize(torch.randn(H, D, number // 2, device="cuda"), dim=1)
        buckets = torch.empty((B, T, H), dtype=torch.int32, device="cuda")
        builder = Builder(B, T, T, H, H, number, shared=True)
        build = lambda: builder.build(lsh(q, rotations, number, buckets))
    else:
        out = lambda: -(torch.rand((B, T, H), device="cuda") < number / 100).int()  # group 0, or -1: dropped
        builder, q_groups, k_groups = Builder(B, T, T, H, H, 1), out(), out()
        build = lambda: builder.build(q_groups, k_groups)
    return build(), build


def spot_check(x, stairs, scale):
    """Worst relative error of o and dv rows of one head against float32, on a few places."""
    b, h = 1 % x.q.shape[0], 5 % x.q.shape[2]
    head = lambda t: t[min(b, t.shape[0] - 1), min(h, t.shape[1] - 1)].long()
    T = x.q.shape[1]
    rows = lambda n: head(stairs[n]) if stairs[n] is not None else torch.arange(T, device="cuda")
    q_rows, k_rows, lo, hi = rows("q_rows"), rows("k_rows"), head(stairs["lo"]), head(stairs["hi"])
    places = torch.randint(T, (64,), device="cuda")
    q, k, v, o, dout, dq = (t[b, :, h].float() for t in (x.q, x.k, x.v, x.o, x.dout, x.dq))
    m = torch.arange(T, device="cuda")
    see = (m >= lo[places, None]) & (m < hi[places, None])
    kk, vv = k[k_rows], v[k_rows]
    s = (q[q_rows[places]] @ kk.T * scale).masked_fill(~see, float("-inf"))
    p = torch.nan_to_num(torch.softmax(s, -1))
    want = p @ vv
    ds = p * (dout[q_rows[places]] @ vv.T - (dout[q_rows[places]] * want).sum(-1, keepdim=True))
    error = lambda got, ref: ((got - ref).abs().max() / ref.abs().max()).item()
    return round(error(o[q_rows[places]], want), 5), round(error(dq[q_rows[places]], ds @ kk * scale), 5)


def ours(name, shape, a, base):
    torch.manual_seed(0)
    q, k, v, dout = (torch.randn(a.batch, a.length, a.heads, a.dim, device="cuda", dtype=torch.bfloat16)
                     for _ in range(4))
    stairs, build = make_stairs(name, q, a)
    options = dict(forward=shape, deterministic=a.deterministic) if a.family == "sm90" else {}
    x = Attention(q, k, v, stairs, dout, None, a.family, **options)
    x.forward()
    backward = True
    if backward:
        x.backward()
    torch.cuda.synchronize()
    errors = spot_check(x, stairs, x.scale)
    build_ms = median_ms(build) if build else 0.0
    forward_ms = median_ms(x.forward)
    backward_ms = median_ms(x.backward) if backward else float("nan")
    parts = {n: round(median_ms(f, 5, 1), 3) for n, f in x.backward_steps()} if backward else None
    pairs = (stairs["hi"] - stairs["lo"]).sum().item() * (a.batch * a.heads / stairs["lo"].shape[:2].numel())
    emit({"kernel": f"scfa-{a.family}", "pattern": name, "shape": x.family.forward_shape if a.family == "sm90" else None,
          "deterministic": a.deterministic, "B": a.batch, "H": a.heads, "D": a.dim, "T": a.length,
          "build_ms": round(build_ms, 4), "fwd_ms": round(forward_ms, 4), "bwd_ms": round(backward_ms, 4),
          "fwd_tflops": round(4 * pairs * a.dim / forward_ms / 1e9, 1),
          "bwd_tflops": round(10 * pairs * a.dim / backward_ms / 1e9, 1),
          "to_cudnn": round(base / (build_ms + forward_ms + backward_ms), 3) if base else None, "errors_o_dq": errors,
          "parts_ms": parts})


def main():
    p = argparse.ArgumentParser()
    for name, value in (("batch", 4), ("heads", 48), ("dim", 64), ("length", 16384)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--patterns", default="dense,hash16,drop70")
    p.add_argument("--shapes", default="auto")
    p.add_argument("--family", default="sm90")
    p.add_argument("--deterministic", action="store_true")
    p.add_argument("--no-peers", action="store_true")
    p.add_argument("--no-ours", action="store_true")
    a = p.parse_args()
    base = 0.0
    if not a.no_peers:
        for name, backend in (("torch-cudnn", SDPBackend.CUDNN_ATTENTION), ("torch-fa2", SDPBackend.FLASH_ATTENTION)):
            fwd, bwd = peer(backend, a)
            base = base or fwd + bwd
            emit({"kernel": name, "B": a.batch, "H": a.heads, "D": a.dim, "T": a.length, "fwd_ms": round(fwd, 4),
                  "bwd_ms": round(bwd, 4)})
            torch.cuda.empty_cache()
    if a.no_ours:
        return
    for name in a.patterns.split(","):
        for shape in a.shapes.split(","):
            ours(name, None if shape == "auto" else tuple(int(n) for n in shape.split("x")), a, base)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
