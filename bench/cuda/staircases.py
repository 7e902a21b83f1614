"""Staircases by their rule, as tensors on the GPU: what the device's own builders must make."""
import numpy as np
import torch

NAMES = ("q_rows", "k_rows", "lo", "hi", "q_lo", "q_hi")


def head_staircase(Tq, Tk, q_groups=None, k_groups=None, documents=None, near=0, far=None):
    """One head, plain and slow; arguments as StaircaseRule of src/staircase/staircase.ts, one head of each."""
    q_groups = np.zeros(Tq, np.int64) if q_groups is None else q_groups
    k_groups = np.zeros(Tk, np.int64) if k_groups is None else k_groups
    documents = np.zeros(Tk, np.int64) if documents is None else documents
    number = np.concatenate([[0], np.cumsum(documents[1:] != documents[:-1])]) if Tk else documents
    q_at, k_at = np.arange(Tq) + Tk - Tq, np.arange(Tk)
    outside = 1 << 40
    q_key = np.where(q_groups >= 0, number[np.clip(q_at, 0, Tk - 1)] * 1024 + q_groups, outside)
    k_key = np.where(k_groups >= 0, number * 1024 + k_groups, outside)
    q_rows, k_rows = np.argsort(q_key, kind="stable"), np.argsort(k_key, kind="stable")
    lo, hi, top_lo, top = np.zeros(Tq, np.int64), np.zeros(Tq, np.int64), 0, 0
    sorted_keys, taking = k_key[k_rows], int((k_key != outside).sum())
    for n, row in enumerate(q_rows):
        if q_key[row] == outside:
            lo[n] = hi[n] = taking
            continue
        start, end = np.searchsorted(sorted_keys, q_key[row], "left"), np.searchsorted(sorted_keys, q_key[row], "right")
        at = k_rows[start:end]
        hi[n] = start + np.searchsorted(at, q_at[row] - near, "right")
        lo[n] = start if far is None else min(hi[n], start + np.searchsorted(at, q_at[row] - far, "left"))
        lo[n], hi[n] = max(lo[n], top_lo), max(hi[n], top)
        top_lo, top = lo[n], hi[n]
    q_lo, q_hi = np.searchsorted(hi, np.arange(Tk), "right"), np.searchsorted(lo, np.arange(Tk), "right")
    return dict(zip(NAMES, (q_rows, k_rows, lo, hi, q_lo, q_hi)))


def stack(heads, B, H, Hk, identity=False, device="cuda"):
    """heads[b][h] to tensors; k_rows are taken from the first query head of each key head."""
    def table(name, count, step):
        x = np.stack([np.stack([heads[b][h * step][name] for h in range(count)]) for b in range(B)])
        return torch.tensor(x, dtype=torch.int32, device=device)
    out = {n: table(n, H, 1) for n in NAMES if n != "k_rows"}
    out["k_rows"] = table("k_rows", Hk, H // Hk)
    if identity:
        out["q_rows"] = out["k_rows"] = None
    return out


def shared(head, identity=True, device="cuda"):
    """One staircase for all heads, leading dimensions 1."""
    out = {n: torch.tensor(head[n], dtype=torch.int32, device=device)[None, None] for n in NAMES}
    if identity:
        out["q_rows"] = out["k_rows"] = None
    return out


def dense(T, device="cuda"):
    at = torch.arange(T, dtype=torch.int32, device=device)[None, None]
    return dict(q_rows=None, k_rows=None, lo=torch.zeros_like(at), hi=at + 1, q_lo=at, q_hi=torch.full_like(at, T))
