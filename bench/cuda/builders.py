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
    shared_bytes = (2 if f16 else 3) * up(buckets // 2, 8) * (up(D, 16) + 4) * 2
    args = view(x) + struct.pack("PPiiii", pointer(rotations), pointer(out), B, T, H, D)
    rows = 1024 if D > 64 else 2048  # of a block
    kernel("lsh_buckets", f"lsh_buckets_d{up(D, 16)}b{buckets}{'_f16' if f16 else ''}", shared_bytes).launch(
        (up(T, rows) // rows, H, B), 256, args)
    return out


class Builder:
    """The staircase of a rule without documents; holds its tables, so that building allocates nothing."""

    def __init__(self, B, Tq, Tk, H, Hk, group_count, shared=False, stage=True, device="cuda"):
        """shared: queries and keys have the same groups, and one order serves both."""
        table = lambda *shape: torch.full(shape, -7, dtype=torch.int32, device=device)
        self.shape, self.group_count, self.shared, self.stage = (B, Tq, Tk, H, Hk), group_count, shared, stage
        self.q_rows, self.q_starts = table(B, H, Tq), table(B, H, group_count + 1)
        self.k_rows, self.k_starts = ((self.q_rows, self.q_starts) if shared else
                                      (table(B, Hk, Tk), table(B, Hk, group_count + 1)))
        self.lo, self.hi, self.q_lo, self.q_hi = table(B, H, Tq), table(B, H, Tq), table(B, H, Tk), table(B, H, Tk)

    def order(self, groups, rows, starts):
        B, T, H = groups.shape
        staged = int(T <= 65536 and self.stage)
        args = struct.pack("PqqqPPiiii", pointer(groups), *groups.stride(), pointer(rows), pointer(starts), H, T,
                           self.group_count, staged)
        shared_bytes = 32 * (self.group_count + 1) * 4 + (2 * T if staged else 0)
        kernel("staircase_order", "staircase", shared_bytes).launch((H, B), 1024, args)

    def build(self, q_groups, k_groups=None, near=0, far=NO_LIMIT, chunk=NO_LIMIT):
        B, Tq, Tk, H, Hk = self.shape
        self.order(q_groups, self.q_rows, self.q_starts)
        if not self.shared:
            self.order(k_groups, self.k_rows, self.k_starts)
        args = struct.pack("8P8i", *(pointer(x) for x in (self.q_rows, self.k_rows, self.q_starts, self.k_starts,
                                                          self.lo, self.hi, self.q_lo, self.q_hi)),
                           H, Hk, Tq, Tk, self.group_count, near, far, chunk)
        for name, T in (("intervals", Tq), ("columns", Tk)):
            kernel(f"staircase_{name}", "staircase", 2 * (self.group_count + 1) * 4).launch(
                ((T + 255) // 256, H, B), 256, args)
        return dict(q_rows=self.q_rows, k_rows=self.k_rows, lo=self.lo, hi=self.hi, q_lo=self.q_lo, q_hi=self.q_hi)
