#!/usr/bin/env python3
"""The device's staircases and buckets against plain ones, on random cases. Usage: check_staircases.py [--cases 60]"""
import argparse
import sys

import numpy as np
import torch
import torch.nn.functional as F
from builders import NO_LIMIT, Builder, lsh
from staircases import NAMES, head_staircase

BUCKETS = (2, 16, 64, 256)


def check_staircase(rng):
    B, Hk, group = int(rng.integers(1, 3)), int(rng.integers(1, 3)), int(rng.choice([1, 2]))
    Tk = int(rng.choice([1, 31, 200, 1500, 3000]))
    Tq = Tk if rng.random() < 0.6 else int(rng.integers(1, 2000))
    H, count = Hk * group, int(rng.choice([1, 2, 16, 100, 256]))
    skew = float(rng.choice([0.1, 5.0]))
    draw = lambda T, heads: np.where(rng.random((B, T, heads)) < 0.05, rng.choice([-1, count, 999]),
                                     rng.choice(count, size=(B, T, heads), p=rng.dirichlet(np.full(count, skew))))
    q_groups, k_groups = draw(Tq, H), draw(Tk, Hk)
    near, far = int(rng.integers(0, 3)), None if rng.random() < 0.6 else int(rng.integers(3, 300))
    one_order = Tq == Tk and group == 1 and rng.random() < 0.5
    if one_order:
        q_groups = k_groups
    documents = np.cumsum(rng.random((B, Tk)) < rng.choice([0.01, 0.2, 1.0]), axis=1) if rng.random() < 0.5 else None
    x = Builder(B, Tq, Tk, H, Hk, count, one_order, bool(rng.random() < 0.7), documents is not None)
    to = lambda g: None if g is None else torch.tensor(g, dtype=torch.int32, device="cuda")
    got = x.build(to(q_groups), to(k_groups), near, NO_LIMIT if far is None else far, documents=to(documents))
    inside = lambda g: np.where((g >= 0) & (g < count), g, -1)
    for b in range(B):
        for h in range(H):
            want = head_staircase(Tq, Tk, inside(q_groups[b, :, h]), inside(k_groups[b, :, h // group]),
                                  None if documents is None else documents[b], near, far)
            for name in NAMES:
                mine = got[name][b, h // group if name == "k_rows" else h].cpu().numpy()
                if not np.array_equal(mine, want[name]):
                    print(f"MISS {name} Tq{Tq} Tk{Tk} count{count} near{near} far{far} b{b} h{h}"
                          f" documents={documents is not None}")
                    return 1
            lo, hi = (got[n][b, h].cpu().numpy() for n in ("lo", "hi"))
            q_lo, q_hi = (got[n][b, h].cpu().numpy() for n in ("q_lo", "q_hi"))
            n, m = np.arange(Tq)[:, None], np.arange(Tk)[None]
            if not np.array_equal((m >= lo[:, None]) & (m < hi[:, None]), (n >= q_lo[None]) & (n < q_hi[None])):
                print(f"MISS columns Tq{Tq} Tk{Tk} count{count} near{near} far{far} b{b} h{h}")
                return 1
    return 0


def check_lsh(rng):
    buckets, f16 = int(rng.choice(BUCKETS)), bool(rng.random() < 0.4)
    B, T, H, D = int(rng.integers(1, 3)), int(rng.choice([1, 100, 1000])), int(rng.integers(1, 4)), 64
    x = torch.randn(B, T, 2, H, D, device="cuda").to(torch.float16 if f16 else torch.bfloat16)[:, :, 0]
    R = F.normalize(torch.randn(H, D, buckets // 2, device="cuda"), dim=1)
    y = torch.einsum("bthd,hde->bthe", x.double(), R.double())
    scores = torch.cat([y, -y], -1)
    got = lsh(x, R, buckets).long()
    gap = scores.max(-1)[0] - scores.gather(-1, got.clamp(0, buckets - 1)[..., None])[..., 0]
    worst = gap.max().item() / scores.abs().max().item()
    differ = (scores.argmax(-1) != got).float().mean().item()
    if worst > 1e-6 or got.min() < 0 or got.max() >= buckets:
        print(f"MISS lsh buckets{buckets} f16={f16} gap {worst:.3g}")
        return 1, differ
    return 0, differ


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cases", type=int, default=60)
    a = p.parse_args()
    missed, differ = 0, 0.0
    for n in range(a.cases):
        rng = np.random.default_rng([7, n])
        missed += check_staircase(rng)
        miss, d = check_lsh(rng)
        missed, differ = missed + miss, max(differ, d)
    print(f"staircases and lsh: {a.cases} cases, {missed} missed; largest share of buckets unlike float64's {differ:.2g}")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
