r"""Local equivariance errors: the Lie derivative of the finite expressions of `sfi_zoo.metrics.lee` at t = 0 along F e^t.

Our reading of arXiv:2506.03550, in the local form of Gruver et al., "The Lie derivative for measuring learned equivariance", ICLR 2023:

    LEE = sum ||P L f||^2 / sum ||P f||^2,    L f = d/dt at t = 0 of f at F e^t, brought back to the frames of F

| metric | f | what moves |
|---|---|---|
| mask LEE | m(t) = M(encode(R_t x, F e^t)) | the resampler R_t and the SFI layers |
| predictor LEE | M(A_t z_F0) | the band: A_t z = H(f; F e^t) / H(f; F0) z |
| masked-latent LEE | m(t) z(t) | as for the mask LEE |

Everything is one pass of forward-mode autodiff, without finite differences: through the instants and the cutoff of the windowed-sinc
resampler R_t, and through frame positions and taps of the SFI layers. Frames of a native model stay at their seconds, so that the action
on masks is trivial. In mode "none" frame k sits at tau_k e^-t and frames are brought back: L m = dm/dt + (tau / T) dm/dk, with the
derivative over frames of `frame_slope`. In mode "resample" R_-t R_t is the identity up to what the resampler loses near F / 2: the floor.

P is on both ends: of the latent's motion that is not the action's own, only that of shared features enters the mask predictor. Above the
margin lie the aliases of the resampler's and the filters' edges; they move with 2 pi F tau, and would be all that is measured.

A_t is the smooth form of the action of `sfi_zoo.metrics.lee`: H(f; F) is the response of the resampler's low pass with cutoff F / 2 at
the centre f of a feature. It is taken relative to F0, so that A is the identity at F0 (the latent at F0 is that of a signal which was
limited to F0 / 2 by the same low pass).

It is the limit of the finite one: LEE(F0 e^t) / t^2 for t to 0, measured by benchmarks/local_lee.py.

What a local error is: per unit of ln F, dimensionless, in [0, inf). Samples at tau move by tau dt, so what depends on where samples lie
relative to frames (aliasing near F / 2) grows as the square of the length of the clip: compare clips of one length, of a second or so.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from sfi_zoo.audio.resampling import Resampler, WindowedSinc
from sfi_zoo.metrics.frames import frame_period, frame_slope, turn
from sfi_zoo.metrics.lee import LEESums, sums_of
from sfi_zoo.metrics.observation import ALIVE_MARGIN, Observation, finite, shared_features
from sfi_zoo.models.base import Latent, LatentGrid, Separator

SILENCE = 0.1  # seconds after the end of a clip, so that its end is a place in the signal and not that of the last sample
OVERSAMPLING = 16  # of the kernel whose response is taken
REACH = 128  # of that kernel, in samples
ROLLOFF = 0.93  # with which the windowed sinc ends at half the lower rate
FAINT = 0.01  # response below which what a feature holds is no longer its own
VANISHED = 1e-9  # response below which a feature is gone


@dataclass(frozen=True)
class Motion:
    """Latent and masks at F, and how they move with t along F e^t; computed once, shared by the metrics.

    Attributes:
        latent: z at t = 0.
        masks: m at t = 0.
        latent_slope: dz/dt, frame by frame.
        mask_slope: dm/dt, frame by frame.
        frame_slope: (frames,) how frames move, in frames per unit of t: zero where they stay.
        counted: (frames,) bool, the frames that are within the clip.
        fade: (features,) d ln H / dt of the features, by which a perfect encoder's latent fades; zero where the band of the signal stays.
        sample_rate: F in Hz.
        trained_rate: F0 in Hz.
    """

    latent: Latent
    masks: Tensor
    latent_slope: Tensor
    mask_slope: Tensor
    frame_slope: Tensor
    counted: Tensor
    fade: Tensor
    sample_rate: float
    trained_rate: float

    @property
    def frames_move(self) -> bool:
        """Whether frames sit at other seconds when F moves."""
        return bool(self.frame_slope.any())

    def carried(self, values: Tensor) -> Tensor:
        """The slope of values, (..., features, frames), that only go with their frames; a complex feature turns with its frequency."""
        if not self.frames_move:
            return torch.zeros_like(values)
        # the clock is the model's own: channels of an unadapted model keep their number
        grid, turns = self.latent.grid, None
        if values.shape[-2] == len(grid.frequencies):
            turns = turn(grid) * (self.sample_rate / self.trained_rate)
        return frame_slope(values, turns) * self.frame_slope.to(values.real.dtype)

    def lie(self, values: Tensor, slope: Tensor) -> Tensor:
        """L: what is left of a slope after what only goes with the frames."""
        return slope - self.carried(values) if self.frames_move else slope

    def shared(self, margin: float = ALIVE_MARGIN) -> Tensor:
        """P: (features,) bool."""
        grid = self.latent.grid
        return shared_features(grid, grid, self.sample_rate, self.trained_rate, margin)


def motion(
    model: Separator,
    waveform: Tensor,
    waveform_rate: float | None = None,
    sample_rate: float | None = None,
    resampler: Resampler | None = None,
    margin: float = ALIVE_MARGIN,
) -> Motion:
    """How the latent and the masks of one signal move with the sampling frequency.

    A clip given at F itself is resampled up (t falls to 0 from above): its band stays. Given at a higher rate it is limited to F e^t / 2:
    its band moves with F.

    Args:
        model: a separator, in any adaptation mode; in "resample" it needs a resampler that is differentiable in the rates.
        waveform: (batch, channels, time).
        waveform_rate: of it in Hz; F when omitted.
        sample_rate: F in Hz; F0 when omitted.
        resampler: R_t, differentiable in the rates; `WindowedSinc` when omitted, which ends at F / 2 if the clip has a higher rate.
        margin: above this fraction of min(F, F0) / 2 the latent moves as the action has it, and no more.

    Raises:
        InputError: a resampler without a derivative, or masks that are not finite.
    """
    trained = float(model.trained_rate)
    rate = trained if sample_rate is None else float(sample_rate)
    source = rate if waveform_rate is None else float(waveform_rate)
    # nothing may alias: an alias turns with 2 pi F tau, which its derivative multiplies it by
    resampler = resampler or WindowedSinc(rolloff=ROLLOFF if source > rate else 1.0)
    padded = functional.pad(waveform, (0, round(SILENCE * source)))
    f = torch.tensor(rate, dtype=torch.float64, device=waveform.device)

    def at(moving: Any) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        latent = model.encode(resampler(padded, source, moving), moving)
        return (latent.values, latent.grid.times), (latent.grid.frequencies, latent.grid.alive)

    with torch.no_grad(), forward_mode():
        moved: Any = torch.func.jvp(at, (f,), (f,), has_aux=True)
        (values, times), slopes, (frequencies, alive) = moved
        fade = torch.zeros_like(frequencies, dtype=torch.float64)
        if source > rate and not bool(
            slopes[1].any()
        ):  # the band of an unadapted model ends at the same feature
            passed = band_response(resampler, frequencies, rate) > FAINT
            fade = torch.where(passed, _fade(resampler, frequencies, rate), fade)
    latent = Latent(values, LatentGrid(times, frequencies, alive))
    found = Motion(
        latent,
        values[:, None],
        slopes[0],
        slopes[0][:, None],
        slopes[1] / frame_period(times),
        times * source < waveform.shape[-1],
        fade,
        rate,
        trained,
    )
    with torch.no_grad(), forward_mode():
        # what the predictor sees is compared where masks are: P on both
        acted = found.carried(values) + fade.to(values.real.dtype)[:, None] * values
        # a rectified value that is zero stays there: it has no derivative, and forward and reverse mode would each take another
        acted = torch.where(values == 0, torch.zeros_like(acted), acted)
        slope = torch.where(found.shared(margin)[:, None], slopes[0], acted)
        predicted: Any = torch.func.jvp(
            lambda z: model.predict_masks(Latent(z, latent.grid)), (values,), (slope,)
        )
    masks, mask_slope = predicted
    return replace(found, masks=finite(masks), latent_slope=slope, mask_slope=mask_slope)


@contextmanager
def forward_mode() -> Iterator[None]:
    """Forward-mode autodiff has no rule for recurrent layers of mkldnn and for fused attention: ordinary operations in their place."""
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield


def predictor_motion(
    predict_masks: Callable[[Latent], Tensor],
    trained: Observation,
    sample_rate: float | None = None,
    resampler: Resampler | None = None,
) -> Motion:
    """How the masks move when a perfect encoder's latent, A_t z_F0, loses its band.

    Args:
        predict_masks: M, the `predict_masks` of a separator.
        trained: latent and masks at F0.
        sample_rate: F in Hz; F0 when omitted.
        resampler: whose low pass A_t is; `WindowedSinc()` when omitted.

    Raises:
        InputError: masks that are not finite.
    """
    rate = trained.sample_rate if sample_rate is None else float(sample_rate)
    resampler, grid = resampler or WindowedSinc(), trained.latent.grid
    with torch.no_grad():
        fade = _fade(resampler, grid.frequencies, rate)
        gain = band_response(resampler, grid.frequencies, rate)
        gain = gain / band_response(resampler, grid.frequencies, trained.sample_rate)
        grid = LatentGrid(grid.times, grid.frequencies, grid.alive & (grid.frequencies < rate / 2))
        z = trained.latent.values * gain.to(trained.latent.values.real.dtype)[:, None]
        slope = z * fade.to(z.real.dtype)[:, None]
        with forward_mode():
            moved: Any = torch.func.jvp(lambda z: predict_masks(Latent(z, grid)), (z,), (slope,))
        masks, mask_slope = moved
    still, counted = torch.zeros_like(grid.times), torch.ones_like(grid.times, dtype=torch.bool)
    trained_rate = trained.sample_rate
    return Motion(Latent(z, grid), finite(masks), slope, mask_slope, still, counted, fade, rate, trained_rate)


def band_response(resampler: Resampler, frequencies: Tensor, sample_rate: float | Tensor) -> Tensor:
    """H(f; F), what the low pass of a resampler with cutoff F / 2 lets through: sum_n k(n) cos(2 pi f n / F) over a fine grid of lags.

    Args:
        resampler: the resampler; its kernel is that of up-sampling by a factor.
        frequencies: f, (features,) Hz.
        sample_rate: F in Hz; differentiable.

    Returns:
        (features,) float64.
    """
    impulse = torch.zeros(2 * REACH + 1, dtype=torch.float64, device=frequencies.device)
    impulse[REACH] = 1
    kernel = resampler(impulse, 1.0, float(OVERSAMPLING))
    lags = torch.arange(len(kernel), dtype=torch.float64, device=kernel.device) / OVERSAMPLING - REACH
    return (2 * math.pi * (frequencies.double() / sample_rate)[:, None] * lags).cos() @ kernel / OVERSAMPLING


def _fade(resampler: Resampler, frequencies: Tensor, rate: float) -> Tensor:
    """d ln H(f; F e^t) / dt at t = 0: (features,)."""
    f = torch.tensor(rate, dtype=torch.float64, device=frequencies.device)
    moved: Any = torch.func.jvp(lambda f: band_response(resampler, frequencies, f), (f,), (f,))
    gain, slope = moved
    return torch.where(gain.abs() > VANISHED, slope / gain, 0.0)


def local_mask_lee(motion: Motion, margin: float = ALIVE_MARGIN) -> LEESums:
    """Mask LEE in local form: ||P L m||^2 and ||P m||^2. See the head of this file.

    Args:
        motion: of `motion`; of `predictor_motion` it makes the predictor LEE.
        margin: features count up to this fraction of min(F, F0) / 2.

    Raises:
        InputError: no feature below it.
    """
    return _lee(motion.mask_slope, motion.masks, motion, margin)


def local_masked_latent_lee(motion: Motion, margin: float = ALIVE_MARGIN) -> LEESums:
    """Masked-latent LEE in local form: ||P L (m z)||^2 and ||P m z||^2. See the head of this file.

    Args: those of `local_mask_lee`.

    Raises:
        InputError: as there.
    """
    z, slope = motion.latent.values[:, None], motion.latent_slope[:, None]
    return _lee(motion.mask_slope * z + motion.masks * slope, motion.masks * z, motion, margin)


def local_predictor_lee(
    predict_masks: Callable[[Latent], Tensor],
    trained: Observation,
    sample_rate: float | None = None,
    margin: float = ALIVE_MARGIN,
) -> LEESums:
    """Predictor LEE in local form: ||P d/dt M(A_t z_F0)||^2 and ||P M(A_0 z_F0)||^2. See the head of this file.

    Args:
        predict_masks: M, the `predict_masks` of a separator.
        trained: latent and masks at F0.
        sample_rate: F in Hz; F0 when omitted.
        margin: features count up to this fraction of min(F, F0) / 2.

    Raises:
        InputError: no feature below it, or masks that are not finite.
    """
    return local_mask_lee(predictor_motion(predict_masks, trained, sample_rate), margin)


def _lee(slope: Tensor, values: Tensor, motion: Motion, margin: float) -> LEESums:
    shared, lie = motion.shared(margin), motion.lie(values, slope)
    lie, values = (x[:, :, shared][..., motion.counted] for x in (lie, values))
    return sums_of(lie, values, shared, motion.latent.grid.frequencies)
