r"""What training minimises, in the waveform domain.

For a target s and an estimate e of the mixture x, all (time,), with <a, b> the sum of a b:

    SI-SDR  = 10 log10 (|p|^2 / (|e - p|^2 + 10^-3 |p|^2)),  p = s <e, s> / <s, s>   (limited to 30 dB; only where s is not silent)
    SNR     = 10 log10 ((|s|^2 + tau |x|^2) / (|e - s|^2 + tau' |x|^2)), tau = 10^-2, tau' = 10^-4   (silent targets count too)
    L1      = mean |e - s| / rms(x)
    spectral= mean over windows of  | |E| - |S| |_1 / | X |_1   (multi-resolution STFT magnitudes)
    leak    = 10 log10 (|e|^2 / |x|^2 + 10^-6)   (only where s is silent: 60 dB below x; then tau' stops the SNR at 40 dB, and this goes on)

The loss of an example is  w_si (-SI-SDR) + w_snr (-SNR) + w_l1 L1 + w_sp spectral + w_silence leak,  averaged over all its sources with a
fixed count, so that the mean over a batch does not depend on how the batch is split among processes. To it comes  w_lee LEE  of the
examples that make a round trip through another sampling frequency, see `sfi_zoo.training.round_trip`.

Sources: Le Roux et al., ICASSP 2019 (SI-SDR); Wisdom et al., ICASSP 2021 (soft thresholds); Yamamoto et al., ICASSP 2020 (spectral).
"""

import torch
from torch import Tensor, nn

from sfi_zoo.models.base import Latent, LatentGrid, Separator, decoded, encoded, masked, predicted
from sfi_zoo.training.bands import band_limit
from sfi_zoo.training.recipe import LossConfig
from sfi_zoo.training.round_trip import round_trip_lee

CEILING, FLOOR = 1e-3, 1e-8
SILENT = 1e-4  # of the mixture's energy: -40 dB
TAU, TAU_ERROR = 1e-2, 1e-4
QUIET = 1e-6  # of the mixture's energy: -60 dB
WINDOWS = (512, 1024, 2048)


class Objective(nn.Module):
    """A separator and its loss in one module, so that engines can wrap one forward pass.

    Args:
        model: what is trained.
        weights: of the losses.
    """

    def __init__(self, model: Separator, weights: LossConfig) -> None:
        super().__init__()
        self.model, self.weights = model, weights

    def forward(
        self,
        targets: Tensor,
        limited: Tensor | None = None,
        rate: float | None = None,
        tripped: Tensor | None = None,
        trip_rate: float | None = None,
    ) -> Tensor:
        """Losses of the examples.

        Args:
            targets: (items, sources, channels, time) at F0; their sum is the mixture.
            limited: (items,) bool, those that have nothing above `rate` / 2.
            rate: F in Hz that they stand for.
            tripped: (items,) bool, those whose LEE counts; none of the limited.
            trip_rate: F in Hz of their round trip.

        Returns:
            (items,).
        """
        mixture = targets.sum(1)
        latent, residual = masked_latent(self.model, mixture, limited, rate)
        estimates = decoded(self.model, latent, mixture, residual=residual)
        losses = example_losses(estimates, targets, mixture, self.weights)
        trained = self.model.trained_rate
        if tripped is None or trip_rate is None or trip_rate >= trained or not bool(tripped.any()):
            return losses  # a round trip through F0 or above loses nothing
        chosen = tripped.repeat_interleave(len(latent.values) // len(mixture))
        reference = Latent(latent.values[chosen], latent.grid)
        there = band_limit(mixture[tripped], trained, trip_rate / 2)
        moved, _ = masked_latent(self.model, there, torch.ones_like(tripped[tripped]), trip_rate)
        errors = round_trip_lee(moved, reference, trip_rate, trained, int(tripped.sum()))
        return losses.index_add(0, tripped.nonzero()[:, 0], self.weights.lee * errors.to(losses))


def masked_latent(
    model: Separator, mixture: Tensor, limited: Tensor | None = None, rate: float | None = None
) -> tuple[Latent, Tensor | None]:
    """The latent times the masks, (items, sources, features, frames), and a residual where the model has one (see `Separator.predict`).

    The `limited` items have the latent they would have at `rate`.

    The features that are dead at `rate` are left out of the latent and of its grid, so the mask network sees what it will see there.
    The grid that is returned is that at F0.

    Args:
        model: the separator.
        mixture: (items, channels, time) at F0.
        limited: (items,) bool.
        rate: F in Hz.
    """
    latent = encoded(model, mixture)
    if limited is None or rate is None or not bool(limited.any()):
        masks, residual = predicted(model, latent)
        return masked(latent, masks), residual
    values, grid = latent.values, latent.grid
    limited = limited.repeat_interleave(len(values) // len(mixture))
    alive = grid.alive & (grid.frequencies < rate / 2)
    values = torch.where(limited[:, None, None] & ~alive[:, None], torch.zeros_like(values), values)
    places = LatentGrid(grid.times, grid.frequencies, alive)
    parts = [(limited, places)] if bool(limited.all()) else [(~limited, grid), (limited, places)]
    found = [predicted(model, Latent(values[chosen], where)) for chosen, where in parts]
    order = torch.cat([chosen.nonzero()[:, 0] for chosen, _ in parts]).argsort()
    masks = torch.cat([m for m, _ in found])[order]
    residuals = [r for _, r in found if r is not None]
    return masked(Latent(values, grid), masks), torch.cat(residuals)[order] if residuals else None


def example_losses(estimates: Tensor, targets: Tensor, mixture: Tensor, weights: LossConfig) -> Tensor:
    """Losses of examples, see above.

    Args:
        estimates: (items, sources, channels, time).
        targets: the same shape.
        mixture: (items, channels, time).
        weights: of the losses.

    Returns:
        (items,).
    """
    e, s, x = (signal.flatten(-2) for signal in (estimates, targets, mixture))  # channels count as more time
    total = x.square().sum(-1)[:, None]
    energy = s.square().sum(-1)
    loss = e.new_zeros(energy.shape)
    if weights.si_sdr:
        active = energy > SILENT * total
        loss = loss - weights.si_sdr * torch.where(active, si_sdr(e, s), 0.0)
    if weights.snr:
        error = (e - s).square().sum(-1)
        snr = 10 * torch.log10((energy + TAU * total + FLOOR) / (error + TAU_ERROR * total + FLOOR))
        loss = loss - weights.snr * snr
    if weights.l1:
        rms = (total / x.shape[-1] + FLOOR).sqrt()
        loss = loss + weights.l1 * (e - s).abs().mean(-1) / rms
    if weights.spectral:
        loss = loss + weights.spectral * spectral(estimates, targets, mixture)
    if weights.silence:
        quiet = energy <= QUIET * total
        level = 10 * torch.log10((e.square().sum(-1) + QUIET * total + FLOOR) / (total + FLOOR))
        loss = loss + weights.silence * torch.where(quiet, level, 0.0)
    return loss.mean(1)


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """SI-SDR in dB over the last axis, limited to 30 dB, with gradients that stay finite for silence."""
    es, ss, ee = ((a * b).sum(-1) for a, b in ((estimate, target), (target, target), (estimate, estimate)))
    projected = es.square() / (ss + FLOOR)
    error = (ee - projected).clamp(min=0)
    return 10 * torch.log10((projected + FLOOR) / (error + CEILING * projected + FLOOR))


def spectral(estimates: Tensor, targets: Tensor, mixture: Tensor) -> Tensor:
    """Multi-resolution distance of STFT magnitudes, (items, sources); 1 is about the mixture itself."""
    total = estimates.new_zeros(estimates.shape[:2])
    for length in WINDOWS:
        window = torch.hann_window(length, device=estimates.device, dtype=estimates.dtype)

        def magnitude(signal: Tensor, length: int = length, window: Tensor = window) -> Tensor:
            flat = signal.reshape(-1, signal.shape[-1])
            z = torch.view_as_real(
                torch.stft(flat, length, length // 4, window=window, return_complex=True, pad_mode="constant")
            )
            return (z.square().sum(-1) + FLOOR).sqrt().view(*signal.shape[:-1], *z.shape[1:3])

        reference = magnitude(mixture).sum((1, 2, 3))[:, None]
        total = total + (magnitude(estimates) - magnitude(targets)).abs().sum((2, 3, 4)) / reference
    return total / len(WINDOWS)
