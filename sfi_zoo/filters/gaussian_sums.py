"""Modulated Gaussians in frequency, summed with weights, in few passes over little memory: designs in training are little else."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

# ln of a response that is taken for zero; its products with weights are no denormal numbers in float32
NOTHING = -40.0
PIECE = 96  # filters at once


class Gaussians(NamedTuple):
    """Parameters of C filters, each (C, 1).

    Attributes:
        f_c: centres in Hz.
        b: widths in Hz.
        phi: phases.
        log_gain: ln of the gains.
    """

    f_c: Tensor
    b: Tensor
    phi: Tensor
    log_gain: Tensor


def response(f: Tensor, of: Gaussians, one_sided: bool) -> Tensor:
    """Real and imaginary part of H_c(f): (M,) Hz -> (C, 2, M). One-sided: without the bump at -f_c."""
    lines, powers = _lines(of, f)
    u = (lines @ powers)[:, None] + _shifts(of, one_sided)
    # clamped where it is nothing: exp is ten times slower where it underflows
    return (
        _turn(of.phi, one_sided) @ torch.addcmul(of.log_gain[:, None], u, u, value=-0.5).clamp(NOTHING).exp()
    )


def response_sums(f: Tensor, weights: Tensor, of: Gaussians, one_sided: bool) -> Tensor:
    """sum_m Re H_c(f_m) weights[p, m, n] + Im H_c(f_m) weights[p, M + m, n]: (M,) Hz and (P, 2 M, N) -> (P, C, N).

    Frequencies ascend. In the dtype of `weights`; distances to the centres take that of `f`.
    """
    followed = (
        torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active()
    )
    if followed or f.requires_grad or weights.requires_grad or any(map(_has_tangent, (f, weights, *of))):
        return response(f, of, one_sided).flatten(1).to(weights.dtype) @ weights
    return _Sums.apply(f, weights, one_sided, *of)


class _Sums(torch.autograd.Function):
    r"""With x_k = g exp(-u_k^2 / 2), u_k = (f -+ f_c) / b, the response is T x, T = [[cos phi, cos phi], [sin phi, -sin phi]].

    Its gradient G, (2, M) for each filter, meets the parameters in the moments m_j = G (x u^j)^T, j = 0, 1, 2, (2, 2) each:

        d/d phi = sum T' m_0,  d/d ln g = sum T m_0,  d/d f_c = sum +-T m_1 / b,  d/d b = sum T m_2 / b

    Responses are computed again for that, which takes less than keeping them; those of some neighbours at a time, in their band.
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, weights: Tensor, one_sided: bool, *parameters: Tensor) -> Tensor:
        ctx.one_sided = one_sided
        ctx.save_for_backward(f, weights, *parameters)
        of = Gaussians(*parameters)
        turn = _turn(of.phi, one_sided).to(weights.dtype)
        sums = weights.new_empty(len(weights), len(turn), weights.shape[-1])
        for piece in _pieces(f, of, one_sided, weights):
            parts = (turn[piece.some] @ piece.x).flatten(1)
            for w, out in zip(piece.weights, sums, strict=True):
                torch.mm(parts, w, out=out[piece.some])
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        f, weights, *parameters = ctx.saved_tensors
        of, one_sided = Gaussians(*parameters), ctx.one_sided
        if torch.is_grad_enabled():  # it will be differentiated again
            wanted = [x for x in of if x.requires_grad]
            sums = response(f, of, one_sided).flatten(1).to(weights.dtype) @ weights
            found = iter(torch.autograd.grad(sums, wanted, gradient, create_graph=True))
            return (None, None, None, *(next(found) if x.requires_grad else None for x in of))
        turn = _turn(of.phi, one_sided)
        moments = gradient.new_empty(3, *turn.shape)
        for some, w, u, x in _pieces(f, of, one_sided, weights):
            of_parts = gradient[0, some] @ w[0].mT
            for other_gradient, other in zip(gradient[1:, some], w[1:], strict=True):
                of_parts.addmm_(other_gradient, other.mT)
            of_parts = of_parts.unflatten(1, (2, -1))
            for moment in moments:
                torch.bmm(of_parts, x.mT, out=moment[some])
                x.mul_(u)
        moments = moments.to(turn.dtype)
        quarter = _turn(of.phi + math.pi / 2, one_sided)  # a cosine a quarter further is its derivative
        of_gain, first, second = (turn * moments).sum(-2).unbind()  # (C, 2) each
        sign = turn.new_tensor([1.0, -1.0])[: turn.shape[-1]]
        by_bump = (first * sign / of.b, second / of.b, (quarter * moments[0]).sum(-2), of_gain)
        return (None, None, None, *(x.sum(-1, keepdim=True) for x in by_bump))


class _Piece(NamedTuple):
    """Some filters, at the m frequencies at which any of them is more than nothing.

    Attributes:
        some: which.
        weights: (P, 2 m, N), those of the m frequencies.
        u: u_k, see `_Sums`: (C, 2, m), or (C, 1, m).
        x: x_k.
    """

    some: slice
    weights: Tensor
    u: Tensor
    x: Tensor


def _pieces(f: Tensor, of: Gaussians, one_sided: bool, weights: Tensor) -> Iterator[_Piece]:
    """All filters, `PIECE` at a time. Where neighbours are listed together, as they are at the start, they share a narrow band."""
    lines, powers = _lines(of, f)
    shifts, log_gain = _shifts(of, one_sided).to(weights.dtype), of.log_gain[:, None].to(weights.dtype)
    weights = weights.unflatten(1, (2, -1))
    reach = of.b * (2 * (of.log_gain - NOTHING).clamp(min=0)).sqrt()
    # a filter that is no number is one everywhere
    lowest, highest = (
        (of.f_c.abs() + sign * reach)[:, 0].nan_to_num(sign * math.inf).tolist() for sign in (-1, 1)
    )
    pieces = [slice(begin, begin + PIECE) for begin in range(0, len(lines), PIECE)]
    edges = [[min(lowest[some]) for some in pieces], [max(highest[some]) for some in pieces]]
    bands = torch.searchsorted(f, f.new_tensor(edges)).tolist()
    for some, begin, end in zip(pieces, *bands, strict=True):
        u = (lines[some] @ powers[:, begin:end]).to(weights.dtype)[:, None] + shifts[some]
        x = torch.addcmul(log_gain[some], u, u, value=-0.5).clamp_(NOTHING).exp_()
        yield _Piece(some, weights[:, :, begin:end].flatten(1, 2), u, x)


def _lines(of: Gaussians, f: Tensor) -> tuple[Tensor, Tensor]:
    """(C, 2) and (2, M), whose product is (f - f_c) / b."""
    return torch.cat([-of.f_c / of.b, 1 / of.b], dim=1), torch.stack([torch.ones_like(f), f])


def _shifts(of: Gaussians, one_sided: bool) -> Tensor:
    """From there to u_k: (C, 2, 1), or (C, 1, 1)."""
    shifts = torch.cat([torch.zeros_like(of.f_c), 2 * of.f_c / of.b], dim=1)
    return shifts[:, : 1 if one_sided else 2, None]


def _turn(phi: Tensor, one_sided: bool) -> Tensor:
    """T, see `_Sums`: (C, 2, 2), or its first column."""
    cos, sin = phi.cos(), phi.sin()
    if one_sided:
        return torch.stack([cos, sin], dim=1)
    return torch.cat([cos, cos, sin, -sin], dim=1).unflatten(1, (2, 2))


def _has_tangent(x: Tensor) -> bool:
    return forward_ad.unpack_dual(x).tangent is not None
