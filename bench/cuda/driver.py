"""The CUDA driver through ctypes, on PyTorch's context: loads cubins and launches kernels with the argument block of
src/device/cuda/common.cuh, as the TypeScript launcher does."""
import ctypes
import struct

import torch

cuda = ctypes.CDLL("libcuda.so.1")
TYPES = {torch.bfloat16: 9, torch.float16: 6}  # CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, _FLOAT16


def check(code):
    if code != 0:
        name = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(name))
        raise RuntimeError(f"driver error {code}: {name.value.decode() if name.value else '?'}")


class Kernel:
    def __init__(self, path, name, shared_bytes):
        torch.cuda.current_stream().synchronize()
        self.module, self.function, self.shared_bytes = ctypes.c_void_p(), ctypes.c_void_p(), shared_bytes
        check(cuda.cuModuleLoadData(ctypes.byref(self.module), open(path, "rb").read()))
        check(cuda.cuModuleGetFunction(ctypes.byref(self.function), self.module, name.encode()))
        if shared_bytes > 48 * 1024:
            check(cuda.cuFuncSetAttribute(self.function, 8, shared_bytes))

    def launch(self, grid, threads, *parameters):
        """grid: x, (x, y) or (x, y, z); parameters: bytes objects, copied by value."""
        x, y, z = (grid if isinstance(grid, tuple) else (grid,)) + (1,) * (3 - (len(grid) if isinstance(grid, tuple) else 1))
        buffers = [ctypes.create_string_buffer(p, len(p)) for p in parameters]
        pointers = (ctypes.c_void_p * len(buffers))(*[ctypes.addressof(b) for b in buffers])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        check(cuda.cuLaunchKernel(self.function, x, y, z, threads, 1, 1, self.shared_bytes, stream, pointers, None))


def view(x):
    """[B,T,H,D] or [B,T,H] tensor (batch, row, head strides), or None."""
    return struct.pack("Pqqq", 0, 0, 0, 0) if x is None else struct.pack(
        "Pqqq", x.data_ptr(), x.stride(0), x.stride(1), x.stride(2))


def index(x):
    """i32 [B|1, H|1, T] table, or None."""
    if x is None:
        return struct.pack("Pii", 0, 0, 0)
    assert x.dtype == torch.int32 and x.stride(2) == 1
    return struct.pack("Pii", x.data_ptr(), x.stride(0) if x.shape[0] > 1 else 0, x.stride(1) if x.shape[1] > 1 else 0)


def attention_args(*, q, k, v, stairs, scale, o=None, dout=None, dq=None, dk=None, dv=None, lse=None, delta=None,
                   dq_sum=None, stats=None, counter=None, merge=False, accumulate_q=False, accumulate_kv=False):
    """lse, delta are [B,H,T]; everything else as in AttentionArgs."""
    B, Tq, H, D = q.shape
    rows = [x.transpose(1, 2) if x is not None else None for x in (lse, delta)]
    return b"".join(
        [view(x) for x in (q, k, v, o, dout, dq, dk, dv, *rows)]
        + [index(stairs[n]) for n in ("q_rows", "k_rows", "lo", "hi", "q_lo", "q_hi")]
        + [struct.pack("PPP", *(0 if x is None else x.data_ptr() for x in (dq_sum, stats, counter)))]
        + [struct.pack("iiiiiifiii", B, H, k.shape[2], Tq, k.shape[1], D, scale, merge, accumulate_q, accumulate_kv)])


def tensor_map(x, rows):
    """Tensor map over x [B,T,H,D]: boxes of `rows` positions by 64 features, 128-byte swizzle."""
    B, T, H, D = x.shape
    out = (ctypes.c_uint64 * 16)()
    storage = (ctypes.c_uint64 * 32)()
    at = (ctypes.addressof(storage) + 63) // 64 * 64
    size = x.element_size()
    check(cuda.cuTensorMapEncodeTiled(
        ctypes.c_void_p(at), TYPES[x.dtype], 4, ctypes.c_void_p(x.data_ptr()),
        (ctypes.c_uint64 * 4)(D, H, T, B),
        (ctypes.c_uint64 * 3)(x.stride(2) * size, x.stride(1) * size, x.stride(0) * size),
        (ctypes.c_uint32 * 4)(64, 1, rows, 1), (ctypes.c_uint32 * 4)(1, 1, 1, 1),
        0, 3, 2, 0))  # no interleave, 128-byte swizzle, L2 promotion of 128 bytes, zeros outside
    ctypes.memmove(out, at, 128)
    return bytes(out)
