"""What two observations differ by, as sums of squares: every finite LEE is one of these. Block by block, in the cache.

With m the masks at F, at the frame times of F0, y = m z, and m0, y0, z0 those at F0, of features in P and common frames, the sums over
items and frames are, for each source s and feature f,

| of | plain | gated | energy | scaled |
|---|---|---|---|---|
| masks | sum abs(m - m0)^2 | sum g h abs(m - m0)^2 | sum g abs(z0)^2 abs(m - m0)^2 | |
| masked latents | sum abs(y - y0)^2 | sum g abs(y - y0)^2 | | sum g abs(c y - y0)^2 |

and their references: the same without m, and without y. c_s = sum g Re(y* y0) / sum g abs(y)^2 makes the last one least; g_sk and h_fk are
the gates of `sfi_zoo.metrics.weighted`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.frames import at_times, common_times, turn
from sfi_zoo.metrics.observation import Observation, shared_features

GATE = 1e-4  # of energies: -40 dB
CACHE = 2**16  # numbers of a block on a CPU, of which a few stay in the cache

Of = Literal["masks", "masked"]
Weight = Literal["plain", "gated", "energy", "scaled"]


def squares(
    observed: Observation, trained: Observation, margin: float, of: Of, weight: Weight = "plain"
) -> tuple[Tensor, Tensor]:
    """Squared error and squared reference, see the head of this file: (sources, features) float64 each, zero outside of P.

    Args:
        observed: latent and masks at F.
        trained: latent and masks of the same signal at F0.
        margin: features count up to this fraction of min(F, F0) / 2.
        of: "masks", or "masked" latents.
        weight: a column of the table.

    Raises:
        InputError: no feature or no frame to compare, or shapes that differ.
    """
    shared, wanted, frames = _common(observed, trained, margin)
    reference, values, kept = _reference(trained, shared, frames), getattr(observed, of), _run(shared)
    whole = reference.squares(of, weight)
    if values is getattr(trained, of) and len(wanted) == values.shape[-1]:
        error = torch.zeros_like(whole)
    else:
        times, turns = observed.latent.grid.times, turn(trained.latent.grid)[kept]
        error = reference.errors(_numbers(at_times(values[:, :, kept], times, wanted, turns)), of, weight)
    return in_place(error, shared), in_place(whole, shared)


def _common(observed: Observation, trained: Observation, margin: float) -> tuple[Tensor, Tensor, slice]:
    """P, (features,) bool; the frame times at F0 that both have; and which frames of F0 these are."""
    grid, trained_grid = observed.latent.grid, trained.latent.grid
    if observed.masks.shape[:-1] != trained.masks.shape[:-1]:
        shapes = f"{tuple(observed.masks.shape)} at F and {tuple(trained.masks.shape)} at F0"
        raise InputError(f"masks of (items, sources, features, frames) = {shapes} cannot be compared")
    shared = shared_features(grid, trained_grid, observed.sample_rate, trained.sample_rate, margin)
    wanted = common_times(grid, trained_grid)
    if not len(wanted):
        raise InputError("no frame at F lies at the time of a frame at F0; take a longer signal")
    start = int(torch.searchsorted(trained_grid.times, wanted[0]))
    return shared, wanted, slice(start, start + len(wanted))


@dataclass(frozen=True)
class Reference:
    """What is seen at F0 of P and the common frames, and its weights, all real: real and imaginary parts stand side by side.

    Attributes:
        values: m0 ("masks") and y0 ("masked"), (items, sources, features, numbers).
        gates: g for both, (items, sources, numbers), 0 or 1.
        levels: of masks, h ("gated") and abs(z0) ("energy"), (items, features, numbers).
    """

    values: dict[Of, Tensor]
    gates: dict[Of, Tensor]
    levels: dict[Weight, Tensor]
    _known: dict[tuple[Of, Weight], Tensor] = field(default_factory=dict)

    def squares(self, of: Of, weight: Weight) -> Tensor:
        """The reference of a sum, computed once: (sources, features of P)."""
        if weight in ("energy", "scaled"):  # |z0|^2 |m0|^2 = |y0|^2
            of, weight = "masked", "gated"
        if (of, weight) not in self._known:
            self._known[of, weight] = self.errors(None, of, weight)
        return self._known[of, weight]

    def errors(self, values: Tensor | None, of: Of, weight: Weight) -> Tensor:
        """The error of a sum: values like ours, or none for zeros, -> (sources, features of P)."""
        ours, norms = self.values[of], []
        gains = [1.0] * ours.shape[1]
        if values is not None and weight == "scaled":
            gains = self._gains(values)
        levels = self.levels[weight] if of == "masks" and weight != "plain" else None
        for item, source in product(*map(range, ours.shape[:2])):
            given = ours[item, source], None if values is None else values[item, source]
            for x0, x, level in _blocks(*given, None if levels is None else levels[item]):
                error = x0 if x is None else torch.sub(x0, x, alpha=gains[source])
                if weight != "plain":
                    error = error * self.gates[of][item, source]
                norms.append(
                    torch.linalg.vector_norm(
                        error if level is None else error * level, dim=1, dtype=torch.float64
                    )
                )
        return torch.cat(norms).square().view(ours.shape[:3]).sum(0)

    def _gains(self, masked: Tensor) -> list[float]:
        """c of each source; it need not be exact: the error is least there."""
        ours, own, common = self.values["masked"], [0.0] * masked.shape[1], [0.0] * masked.shape[1]
        for item, source in product(*map(range, ours.shape[:2])):
            for y, y0 in _blocks(masked[item, source], ours[item, source]):
                heard = (y * self.gates["masked"][item, source]).flatten()
                own[source] += float(torch.dot(heard, heard))
                common[source] += float(torch.dot(heard, y0.flatten()))
        return [b / a if a > 0 else 0.0 for a, b in zip(own, common, strict=True)]


def _reference(trained: Observation, shared: Tensor, frames: slice) -> Reference:
    """Found once for all rates and modes that have the same features and frames."""
    key = shared.cpu().numpy().tobytes(), frames.start, frames.stop
    if key not in trained.references:
        kept = _run(shared)
        masks, masked = trained.masks[:, :, kept], trained.masked[:, :, kept]
        power = trained.latent.values[:, kept].abs().square()
        loudest = power.sum(1).max()
        heard = torch.stack([_numbers(x).square().sum(1) for x in masked.unbind(1)], 1)
        heard = heard.unflatten(-1, (power.shape[-1], -1)).sum(-1)
        gate = (heard > GATE * loudest)[..., frames].to(power.dtype)
        loud = (power > GATE * loudest / power.shape[1]).to(power.dtype)
        parts: dict[Of, int] = {"masks": 1 + masks.is_complex(), "masked": 1 + masked.is_complex()}
        levels: dict[Weight, Tensor] = {"gated": loud, "energy": power.sqrt()}
        trained.references[key] = Reference(
            {"masks": _numbers(masks[..., frames]), "masked": _numbers(masked[..., frames]).contiguous()},
            {of: gate.repeat_interleave(n, -1) for of, n in parts.items()},
            {name: x[..., frames].repeat_interleave(parts["masks"], -1) for name, x in levels.items()},
        )
    return trained.references[key]


def _blocks(*tables: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Some rows of each (features, numbers); None of None."""
    features, numbers = next(x for x in tables if x is not None).shape
    step = max(1, CACHE // numbers)
    for start in range(0, features, step):
        yield tuple(None if x is None else x[start : start + step] for x in tables)


def _numbers(x: Tensor) -> Tensor:
    """(..., frames) -> (..., numbers): real and imaginary parts side by side, real values as they are."""
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


def _run(shared: Tensor) -> Tensor | slice:
    """(features,) bool as a slice where it is one: what it takes is then a view."""
    places = shared.nonzero().flatten()
    first, stop = int(places[0]), int(places[-1]) + 1
    return slice(first, stop) if stop - first == len(places) else shared


def in_place(energies: Tensor, shared: Tensor) -> Tensor:
    """(sources, shared features) -> (sources, features), zero elsewhere."""
    table = energies.new_zeros(len(energies), len(shared))
    table[:, shared] = energies
    return table
