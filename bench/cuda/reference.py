"""The judge: attention over an explicit mask in any precision, forward and backward, and the error budget."""
import torch

FLOOR = 1e-3  # of max|ref|, for f16 and bf16


def visible(stairs, B, H, Hk, Tq, Tk):
    """Mask [B,H,Tq,Tk] in row order."""
    def full(x, heads, T):
        if x is None:
            return torch.arange(T, device="cuda").expand(B, heads, T)
        return x.long().expand(B, heads, T)
    lo, hi = full(stairs["lo"], H, Tq), full(stairs["hi"], H, Tq)
    q_rows = full(stairs["q_rows"], H, Tq)
    k_rows = full(stairs["k_rows"], Hk, Tk).repeat_interleave(H // Hk, dim=1)
    m = torch.arange(Tk, device="cuda")
    by_place = (m >= lo[..., None]) & (m < hi[..., None])
    by_query = torch.zeros_like(by_place).scatter_(2, q_rows[..., None].expand_as(by_place), by_place)
    return torch.zeros_like(by_query).scatter_(3, k_rows[:, :, None, :].expand_as(by_query).contiguous(), by_query)


def attend(q, k, v, mask, scale, dout, dtype):
    """Straightforward attention in `dtype`; returns o, lse, dq, dk, dv in float64."""
    group = q.shape[2] // k.shape[2]
    q, k, v, dout = (x.to(dtype).transpose(1, 2) for x in (q, k, v, dout))
    kk, vv = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    s = (q @ kk.transpose(-1, -2)) * scale
    s = s.double() if dtype == torch.float64 else s.float()
    s = s.masked_fill(~mask, float("-inf"))
    lse = torch.logsumexp(s, -1)
    p = torch.exp(s - torch.where(lse == float("-inf"), 0, lse)[..., None])
    o = (p.to(dtype) @ vv)
    dp = (dout @ vv.transpose(-1, -2)).to(s.dtype)
    delta = (dout.to(s.dtype) * o.to(s.dtype)).sum(-1, keepdim=True)
    ds = (p * (dp - delta)).to(dtype)
    dq = (ds @ kk) * scale
    fold = lambda x: x.unflatten(1, (-1, group)).sum(2)
    dk, dv = fold((ds.transpose(-1, -2) @ q).double()) * scale, fold((p.to(dtype).transpose(-1, -2) @ dout).double())
    back = lambda x: x.to(dtype).double().transpose(1, 2)  # outputs have the type of the inputs
    return dict(o=back(o), lse=lse.double(), dq=back(dq), dk=back(dk), dv=back(dv))


def worst(got, ref, naive):
    """(error, budget, place) of a tensor; an error above the budget, or NaN, is a miss."""
    error = (got.double() - ref).abs()
    same = (got.double() == ref)  # -Infinity equals itself
    error = torch.where(same, 0.0, error)
    naive_error = torch.where(naive == ref, 0.0, (naive - ref).abs()).max().item() if ref.numel() else 0.0
    finite = ref[torch.isfinite(ref)]
    budget = 2 * naive_error + FLOOR * (finite.abs().max().item() if finite.numel() else 0.0)
    if not error.numel():
        return 0.0, budget, ()
    at = error.nan_to_num(nan=float("inf")).argmax().item()
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), error.shape))
    return error.flatten()[at].item(), budget, place
