#!/usr/bin/env python3
"""Random small attention problems against the float64 reference, within the error budget (twice the error of
straightforward attention in the same precision, plus 1e-3 of max|ref|).

Usage: check.py [--family mma|sm90] [--dims 64,128] [--cases 100] [--seed 0] [--seconds S] [--deterministic]
                [--only N] [--verbose]
--seconds: starts no case later than that. --verbose: names each case first, to know which one stands still.
Prints one line a miss, with the command's seed to repeat it, and a summary; exits 1 on a miss.
"""
import argparse
import sys
import time

import numpy as np
import torch
from attention import Attention
from reference import FLOOR, attend, visible, worst
from staircases import head_staircase, shared, stack


def groups(rng, count, T, skew, out):
    weights = rng.dirichlet(np.full(count, skew))
    g = rng.choice(count, size=T, p=weights)
    return np.where(rng.random(T) < out, -1, g)


def random_case(rng, dims):
    """A problem's shape and its staircase, from the rules of every pattern."""
    B, Hk, group = int(rng.integers(1, 3)), int(rng.integers(1, 3)), int(rng.choice([1, 1, 2, 3]))
    longest = int(rng.choice([8, 70, 200, 400]))
    Tk = int(rng.integers(1, longest + 1))
    Tq = Tk if rng.random() < 0.6 else int(rng.integers(1, longest + 1))
    D = int(rng.choice(dims))
    kind = str(rng.choice(["dense", "window", "hash", "skewed", "drop", "documents", "beyond"]))
    H = Hk * group
    w = int(rng.integers(1, longest + 1))
    if kind in ("dense", "window"):
        head = head_staircase(Tq, Tk, far=w - 1 if kind == "window" else None)
        identity = rng.random() < 0.7
        return B, H, Hk, Tq, Tk, D, kind, shared(head, identity)
    heads = []
    for _ in range(B):
        row = []
        documents = np.cumsum(rng.random(Tk) < 0.05) if kind == "documents" else None
        count = int(rng.choice([2, 4, 16]))
        for hk in range(Hk):
            k_groups = None if kind == "documents" else groups(
                rng, 1 if kind == "drop" else count, Tk, 0.2 if kind == "skewed" else 5, 0.6 if kind == "drop" else 0)
            for _ in range(group):
                if kind == "documents":
                    q_groups = None
                elif kind in ("hash", "beyond") and Tq == Tk:
                    q_groups = k_groups
                else:
                    q_groups = groups(rng, 1 if kind == "drop" else count, Tq, 0.2 if kind == "skewed" else 5,
                                      0.5 if kind == "drop" else 0.05)
                near = w if kind == "beyond" else int(rng.integers(0, 2))
                row.append(head_staircase(Tq, Tk, q_groups, k_groups, documents, near))
        heads.append(row)
    return B, H, Hk, Tq, Tk, D, kind, stack(heads, B, H, Hk)


def tensors(rng, B, Tq, Tk, H, Hk, D, dtype):
    generator = torch.Generator(device="cuda").manual_seed(int(rng.integers(1 << 30)))
    draw = lambda *shape: torch.randn(*shape, device="cuda", generator=generator).to(dtype)
    q = draw(B, Tq, 2, H, D)[:, :, 1]  # a view, as of one projection's output
    kv = draw(B, Tk, Hk, 2, D)
    scale = float(rng.choice([D ** -0.5, 1.0 if D < 64 else 0.3]))
    return q, kv[:, :, :, 0], kv[:, :, :, 1], draw(B, Tq, H, D), scale


def halves(stairs, Tk):
    """A staircase as two disjoint ones, cut at the middle of every interval."""
    lo, hi = stairs["lo"].long(), stairs["hi"].long()
    middle = torch.cummax((lo + hi) // 2, -1)[0].clamp(min=lo, max=hi)
    places = torch.arange(Tk, device="cuda").expand(*lo.shape[:2], Tk).contiguous()
    out = []
    for a, b in ((lo, middle), (middle, hi)):
        columns = [torch.searchsorted(x.contiguous(), places, right=True).int() for x in (b, a)]
        out.append(dict(stairs, lo=a.int().contiguous(), hi=b.int().contiguous(), q_lo=columns[0], q_hi=columns[1]))
    return out


def fair_budget(name, ref, q, k, v, mask, scale, dout, dtype):
    """
    The budget from sixteen more draws of the baseline's rounding: with a handful of rows one draw may be lucky. The
    same problem with v times c and dout over c (rounded again) has the same gradients of q and k; with q times c and
    scale over c, the same o and dv. Gradients suffer most from o's rounding, which delta takes in.
    """
    error = 0.0
    for n in range(16):
        c = 1 + (2 * n + 1) / 32
        vc, doutc, qc = (v.double() * c).to(dtype), (dout.double() / c).to(dtype), (q.double() * c).to(dtype)
        arguments = (qc, k, vc, mask, scale / c, doutc)
        exact, naive = (attend(*arguments, t)[name] for t in (torch.float64, dtype))
        undo = {"o": 1 / c, "dv": c, "dq": c}.get(name, 1.0)  # dk = sum ds q c / c
        error = max(error, (torch.where(naive == exact, 0.0, (naive - exact).abs()) * undo).max().item())
    return 2 * error + FLOOR * ref[name][torch.isfinite(ref[name])].abs().max().item()


def run_case(rng, a, number):
    dims = a.dims or ([64, 128] if a.family == "sm90" else [16, 24, 32, 40, 64, 80, 128, 136, 256])
    B, H, Hk, Tq, Tk, D, kind, stairs = random_case(rng, dims)
    dtype = torch.bfloat16 if rng.random() < 0.7 else torch.float16
    q, k, v, dout, scale = tensors(rng, B, Tq, Tk, H, Hk, D, dtype)
    split = rng.random() < 0.3
    mask = visible(stairs, B, H, Hk, Tq, Tk)
    ref = attend(q, k, v, mask, scale, dout, torch.float64)
    naive = attend(q, k, v, mask, scale, dout, dtype)
    options = {}
    if a.family == "sm90":
        shapes = [(3, 128, 4), (3, 96, 5), (2, 128, 4), (3, 64, 6)] if D == 64 else [(2, 128, 2), (3, 64, 3)]
        options = dict(forward=shapes[int(rng.integers(len(shapes)))], deterministic=a.deterministic,
                       delta=bool(rng.random() < 0.3))
    label = f"case {number}: {kind} B{B} H{H}/{Hk} T{Tq}/{Tk} D{D} {dtype} split={split} {options}"
    if a.verbose:
        print(label, flush=True)
    backward = True
    x = Attention(q, k, v, stairs, dout, scale, a.family, **options)
    if split:
        first, second = halves(stairs, Tk)
        x.stairs = first
        x.forward()
        x.stairs = second
        x.forward(merge=True)
        if backward:
            x.backward()
            x.stairs = first
            x.backward(accumulate_q=True, accumulate_kv=True)
    else:
        x.forward()
        if backward:
            x.backward()
    torch.cuda.synchronize()
    misses = 0
    for name in ("o", "lse") + (("dq", "dk", "dv") if backward else ()):
        error, budget, place = worst(getattr(x, name), ref[name], naive[name])
        if split and name in ("o", "dq", "dk", "dv"):
            budget += 2 ** (-8 if dtype == torch.bfloat16 else -11) * ref[name].abs().max().item()  # a part is rounded
        if budget < error < float("inf"):
            budget = max(budget, fair_budget(name, ref, q, k, v, mask, scale, dout, dtype))
        if not error <= budget:
            misses += 1
            print(f"MISS {label} {name}: error {error:.3g}, budget {budget:.3g} at {place}", flush=True)
    return misses


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--family", default="sm90")
    p.add_argument("--dims", type=lambda text: [int(n) for n in text.split(",")])
    p.add_argument("--cases", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", type=int, default=None)
    p.add_argument("--seconds", type=float, default=float("inf"))
    p.add_argument("--verbose", action="store_true")
    p.add_argument("--deterministic", action="store_true")
    a = p.parse_args()
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    missed, done, start = 0, 0, time.time()
    cases = range(a.cases) if a.only is None else [a.only]
    for n in cases:
        if time.time() - start > a.seconds:
            break
        missed += run_case(np.random.default_rng([a.seed, n]), a, n) > 0
        done += 1
        if missed > 10:
            break
    print(f"{a.family}{' deterministic' if a.deterministic else ''}: seed {a.seed}, {done} cases, {missed} missed")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
