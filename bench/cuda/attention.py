"""Attention forward and backward by the kernels of src/device/cuda, on PyTorch tensors."""
import os

import torch
from driver import Kernel, attention_args, tensor_map

FOLDER = os.environ.get("SCFA_CUBINS", ".carry/cubins")
cache = {}


def kernel(name, file, shared_bytes):
    key = (name, file, shared_bytes)
    if key not in cache:
        cache[key] = Kernel(f"{FOLDER}/{file}.cubin", name, shared_bytes)
    return cache[key]


def up(x, n):
    return (x + n - 1) // n * n


def processors():
    return torch.cuda.get_device_properties(0).multi_processor_count


class Mma:
    """The family for sm_80 and later."""

    def __init__(self, D, f16=False, identity=False):
        self.depth = next(d for d in (16, 32, 64, 128, 256) if d >= D)
        self.tile, self.other, self.slice = 64, 32 if self.depth > 64 else 64, min(self.depth, 128)
        self.suffix = f"d{self.depth}{'_f16' if f16 else ''}{'_id' if identity else ''}"

    def forward(self, args, B, H, Tq):
        shared_bytes = (self.tile + 4 * self.other) * (self.depth + 8) * 2
        k = kernel("attention_forward", f"attention_forward_{self.suffix}", shared_bytes)
        k.launch((Tq + self.tile - 1) // self.tile * H * B, self.tile * 2, args)

    def backward(self, args, B, H, Hk, Tq, Tk, parts=("kv", "q")):
        shared_bytes = (2 * self.tile + 4 * self.other) * (self.depth + 8) * 2 + 16 * self.other
        slices = self.depth // self.slice
        for part, length, heads in (("kv", Tk, Hk), ("q", Tq, H)):
            if part in parts:
                k = kernel(f"attention_backward_{part}", f"attention_backward_{self.suffix}", shared_bytes)
                k.launch(((length + self.tile - 1) // self.tile * heads * B, slices), self.tile * 2, args)


class Sm90:
    """The family for sm_90a. `forward` names a build of the forward: (consumers, block_n, stages)."""

    def __init__(self, D, f16=False, identity=False, forward=None, backward_stages=None, deterministic=False):
        if forward is None:
            forward = (2, 128, 2) if D == 128 else (3, 128, 4) if identity else (3, 96, 5)
        self.D, self.identity, self.forward_shape = D, identity, forward
        self.stages = backward_stages or (3 if D == 128 else 4)
        self.deterministic = deterministic
        self.suffix = f"d{D}{'_f16' if f16 else ''}{'_id' if identity else ''}"
        self.mma = Mma(D, f16, identity)

    def forward(self, args, q, k, v):
        consumers, block_n, stages = self.forward_shape[:3]
        blocks = self.forward_shape[3] if len(self.forward_shape) > 3 else 1
        shared_bytes = (1024 + consumers * 2 * 64 * 2 * self.D + stages * 2 * block_n * 2 * self.D + consumers * 2 * 768
                        + stages * 32 + 384 + 4160)
        name = f"attention_forward_sm90_c{consumers}n{block_n}s{stages}_{self.suffix}"
        maps = [tensor_map(x, block_n) for x in (k, v)] if self.identity else [bytes(128)] * 2
        B, T, H, _ = q.shape
        items = up(T, 64 * consumers) // (64 * consumers) * H * B
        kernel("attention_forward_sm90", name, shared_bytes).launch(
            min(items, blocks * processors()), 128 * (consumers + 1), args, *maps)

    def backward_steps(self, args, q, k, v, dout):
        """(name, launch) of each kernel."""
        B, Tq, H, _ = q.shape
        Hk, Tk = k.shape[2], k.shape[1]
        tiles = up(Tq, 64) // 64 * H * B
        tail = f"{'nodq_' if self.deterministic else ''}{self.suffix}"
        scratch = f"attention_backward_scratch_{tail}"
        key_buffers = 1 if self.D == 128 else 2
        shared_bytes = (1024 + key_buffers * 512 * self.D + self.stages * (256 * self.D + 512) + 3 * 16384 + 2048
                        + (self.stages + key_buffers + 2) * 16 + 384)
        maps = [tensor_map(x, 64) for x in (q, k, v, dout)] if self.identity else [bytes(128)] * 4
        items = up(Tk, 128) // 128 * Hk * B
        yield "prepare", lambda: kernel("attention_backward_prepare", scratch, 0).launch(tiles, 256, args)
        yield "backward", lambda: kernel("attention_backward_sm90", f"attention_backward_sm90_{tail}", shared_bytes).launch(
            min(items, processors()), 384, args, *maps)
        if self.deterministic:
            yield "dq", lambda: self.mma.backward(args, B, H, Hk, Tq, Tk, parts=("q",))
        else:
            yield "finish", lambda: kernel("attention_backward_finish", scratch, 0).launch(tiles, 256, args)


def delta_kernel(args, B, T, H, f16):
    kernel("attention_delta", f"attention_delta{'_f16' if f16 else ''}", 0).launch((B * T * H + 31) // 32, 256, args)


class Attention:
    """One attention problem: allocates outputs, poisons them, runs forward and backward. delta=True: own kernel."""

    def __init__(self, q, k, v, stairs, dout=None, scale=None, family="sm90", **options):
        B, Tq, H, D = q.shape
        f16 = q.dtype == torch.float16
        identity = stairs["q_rows"] is None and stairs["k_rows"] is None
        self.q, self.k, self.v, self.dout, self.stairs, self.f16 = q, k, v, dout, stairs, f16
        self.scale = D ** -0.5 if scale is None else scale
        # prepare makes delta itself, unless it is given, as where several staircases share it
        given = options.pop("delta", False)
        self.own_delta = family == "sm90" and not options.get("deterministic") and not given
        self.family = (Sm90 if family == "sm90" else Mma)(D, f16, identity, **options)
        nan = float("nan")
        self.o, self.dq = (torch.full((B, Tq, H, D), nan, dtype=q.dtype, device=q.device) for _ in range(2))
        self.dk, self.dv = (torch.full(k.shape, nan, dtype=q.dtype, device=q.device) for _ in range(2))
        self.lse, self.delta = (torch.full((B, H, Tq), nan, device=q.device) for _ in range(2))
        padded = up(Tq, 64)
        self.dq_sum = torch.full((B * H * padded * D,), nan, device=q.device) if family == "sm90" else None
        self.counter = torch.zeros(2, dtype=torch.int32, device=q.device)
        self.stats = torch.full((B * H * padded * 2,), nan, device=q.device) if family == "sm90" else None

    def args(self, **flags):
        return attention_args(q=self.q, k=self.k, v=self.v, stairs=self.stairs, scale=self.scale, o=self.o,
                              dout=self.dout, dq=self.dq, dk=self.dk, dv=self.dv, lse=self.lse,
                              delta=None if self.own_delta else self.delta, dq_sum=self.dq_sum, stats=self.stats,
                              counter=self.counter, **flags)

    def forward(self, merge=False):
        args = self.args(merge=merge)
        B, Tq, H, _ = self.q.shape
        if isinstance(self.family, Sm90):
            self.family.forward(args, self.q, self.k, self.v)
        else:
            self.family.forward(args, B, H, Tq)

    def backward_steps(self, **flags):
        B, Tq, H, _ = self.q.shape
        args = self.args(**flags)
        if not self.own_delta:
            yield "delta", lambda: delta_kernel(args, B, Tq, H, self.f16)
        if isinstance(self.family, Sm90):
            yield from self.family.backward_steps(args, self.q, self.k, self.v, self.dout)
        else:
            yield "backward", lambda: self.family.backward(args, B, H, self.k.shape[2], Tq, self.k.shape[1])

    def backward(self, **flags):
        for _, launch in self.backward_steps(**flags):
            launch()
