"""Staircases made by the device kernels of src/device/cuda: lsh_buckets.cu and staircase.cu."""
import struct

import torch
from attention import kernel, up
from driver import view

NO_LIMIT = 2 ** 31 - 1


def pointer(x):
    return x.data_ptr()


def lsh(x, rotations, buckets, out=None):
    """x [B,T,H,D], rotations f32 [H,D,buckets/2] -> i32 [B,T,H]."""
    B, T, H, D = x.shape
    out = torch.empty((B, T, H), dtype=torch.int32, device=x.device) if out is None else out
    f16 = x.dtype == torch.float16
    shared_bytes = (2 if f16 else 3) * up(buckets // 2, 8) * up(D, 32) * 2
    args = view(x) + struct.pack("PPiii4x", pointer(rotations), pointer(out), T, H, D)
    kernel("lsh_buckets", f"lsh_buckets_d{up(D, 32)}b{buckets}{'_f16' if f16 else ''}", shared_bytes).launch(
        (up(T, 1024) // 1024 * H, B), 256, args)
    return out


class Builder:
    """The staircase of a rule; holds its tables and scratch, so that building allocates nothing."""

    def __init__(self, B, Tq, Tk, H, Hk, group_count, shared=False, stage=True, documents=False, device="cuda"):
        """shared: queries and keys have the same groups, one order serves both. documents: `build` is given some."""
        table = lambda *shape: torch.full(shape, -7, dtype=torch.int32, device=device)
        self.shape, self.group_count, self.shared, self.stage = (B, Tq, Tk, H, Hk), group_count, shared, stage
        side = lambda T, heads: dict(rows=table(B, heads, T), starts=table(B, heads, group_count + 1),
                                     blocks=table(B, heads, T) if documents else None)
        self.q = side(Tq, H)
        self.k = self.q if shared else side(Tk, Hk)
        self.numbers = table(B, Tk) if documents else None
        self.spare = table(B * max(H * Tq, Hk * Tk)) if documents else None
        self.lo, self.hi, self.q_lo, self.q_hi = table(B, H, Tq), table(B, H, Tq), table(B, H, Tk), table(B, H, Tk)

    def number(self, documents):
        B, T = documents.shape
        args = struct.pack("PqPi4x", pointer(documents), documents.stride(0), pointer(self.numbers), T)
        kernel("staircase_documents", "staircase", 0).launch(B, 1024, args)

    def order(self, groups, side, keep_masks):
        B, T, H = groups.shape
        staged = int(T <= 65536 and self.stage)
        address = lambda x: 0 if x is None else pointer(x)
        args = struct.pack("PqqqPPPPPiiiiii", pointer(groups), *groups.stride(), pointer(side["rows"]),
                           pointer(side["starts"]), *(address(x) for x in (self.numbers, side["blocks"], self.spare)),
                           H, T, self.shape[2], self.group_count, int(keep_masks), staged)
        buckets = self.group_count + 1 if self.numbers is None else max(self.group_count + 1, 256)
        name = "staircase_order" if self.numbers is None else "staircase_order_documents"
        kernel(name, "staircase", 32 * buckets * 4 + (2 * T if staged else 0)).launch(H * B, 1024, args)

    def build(self, q_groups, k_groups=None, near=0, far=NO_LIMIT, chunk=NO_LIMIT, documents=None, keep_masks=False):
        B, Tq, Tk, H, Hk = self.shape
        if documents is not None:
            self.number(documents)
        self.order(q_groups, self.q, keep_masks)
        if not self.shared:
            self.order(k_groups, self.k, keep_masks)
        one_order = int(self.shared and Tq == Tk and near <= 1)
        with_columns = int(one_order and documents is None and far >= NO_LIMIT and chunk >= NO_LIMIT)
        sides = [side[n] for n in ("rows", "starts", "blocks") for side in (self.q, self.k)]
        tables = (*sides, self.numbers, self.lo, self.hi, self.q_lo, self.q_hi)
        args = struct.pack("11P10i", *(0 if x is None else pointer(x) for x in tables), H, Hk, Tq, Tk,
                           self.group_count, min(near, Tk), far, chunk, one_order, with_columns)
        for name, T in (("intervals", Tq), ("columns", Tk))[:1 if with_columns else 2]:
            kernel(f"staircase_{name}", "staircase", 2 * (self.group_count + 1) * 4).launch(
                (T + 1023) // 1024 * H * B, 256, args)
        return dict(q_rows=self.q["rows"], k_rows=self.k["rows"], lo=self.lo, hi=self.hi, q_lo=self.q_lo,
                    q_hi=self.q_hi)
