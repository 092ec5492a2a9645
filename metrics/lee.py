r"""Local equivariance errors (LEE) of a mask predictor, in finite form: what changes when only the sampling frequency changes?

Our reading of arXiv:2506.03550, which proposes three LEE-based metrics for the parts of a network that predict masks, resampling being the
transformation of the input. We know its abstract and the beginning of its introduction, which say no more; its formulas were not
available. x_F is one and the same signal at sampling frequency F, F0 the trained one,

    z_F = encode(x_F),    m_F = M(z_F) the masks,
    A_F: the action of resampling on a latent: frames stay, features with a centre above min(F, F0) / 2 vanish,
    P_F: the restriction to what is comparable: features alive at both F and F0 with a centre below margin * min(F, F0) / 2.

| metric | finite form at F |
|---|---|
| mask LEE | ||P_F (m_F - m_F0)||^2 / ||P_F m_F0||^2 |
| predictor LEE | ||P_F (M(A_F z_F0) - M(z_F0))||^2 / ||P_F M(z_F0)||^2 |
| masked-latent LEE | ||P_F (m_F z_F - m_F0 z_F0)||^2 / ||P_F m_F0 z_F0||^2 |

All three are dimensionless, in [0, inf), 0 for a predictor that does not depend on the sampling frequency; lower is better. Values at F
are first brought to the frame times of F0 where they sit elsewhere (mode "none"). Sums over a test set are taken before the division: the
functions here return sums, one number for each source and feature, so that the parts of a band or of a source add up to the whole.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.frames import at_times, common_times, turn
from sfi_zoo.models.base import Latent, LatentGrid, Separator, predicted

ALIVE_MARGIN = 0.9


@dataclass(frozen=True)
class Observation:
    """What the metrics see of a model at one sampling frequency; computed once, shared by all of them.

    Attributes:
        latent: z_F.
        masks: m_F, (items, sources, features, frames).
        sample_rate: F in Hz.
        residual: what the model adds to mask * latent, as large; no LEE looks at it.
    """

    latent: Latent
    masks: Tensor
    sample_rate: float
    residual: Tensor | None = None

    @cached_property
    def energies(self) -> Tensor:
        """||m||^2 over items and frames: (sources, features) float64."""
        return _energy(self.masks)

    @cached_property
    def masked(self) -> Tensor:
        """m z: (items, sources, features, frames)."""
        return self.masks * self.latent.values[:, None]

    @cached_property
    def gates(self) -> dict[bytes, Tensor]:
        """What `sfi_zoo.metrics.weighted` has found of which frames hold a source, by the features it looked at."""
        return {}


@torch.no_grad()
def observe(model: Separator, waveform: Tensor, sample_rate: float) -> Observation:
    """Latent and masks of a model: one pass through its encoder and its mask predictor, without a graph.

    Args:
        model: a separator, or one in another adaptation mode: `Adapted(separator, mode)`. Of anyone's own model an object with `encode`
            and `predict_masks` of the same meaning will do.
        waveform: x_F, (batch, channels, time).
        sample_rate: F in Hz.

    Raises:
        InputError: the masks are not finite, or what the model's encoder raises.
    """
    latent = model.encode(waveform, sample_rate)
    masks, residual = predicted(model, latent)
    return Observation(latent, finite(masks), sample_rate, residual)


def finite(masks: Tensor) -> Tensor:
    """The masks, if they are finite.

    Raises:
        InputError: they are not.
    """
    count = 0 if torch.isfinite(masks.sum()) else int((~torch.isfinite(masks)).sum())  # a sum costs a tenth
    if count:
        raise InputError(f"the model predicts masks that are not finite ({count} of {masks.numel()} values)")
    return masks


@dataclass(frozen=True)
class LEESums:
    """Numerator and denominator of a LEE, apart for every source and feature. Sums of two test sets are added with `+`.

    Attributes:
        error: (sources, features) float64, the squared error; zero outside of P_F.
        reference: (sources, features) float64, the squared reference.
        frequencies: (features,) Hz.
    """

    error: Tensor
    reference: Tensor
    frequencies: Tensor

    def __add__(self, other: "LEESums") -> "LEESums":
        if self.error.shape != other.error.shape:
            ours, theirs = tuple(self.error.shape), tuple(other.error.shape)
            raise InputError(f"sums of (sources, features) = {ours} and {theirs} cannot be added")
        return LEESums(self.error + other.error, self.reference + other.reference, self.frequencies)

    def value(self) -> float:
        """The LEE, linear.

        Raises:
            InputError: the reference is silent.
        """
        return float(self.error.sum() / self._whole())

    def decibels(self) -> float:
        """10 log10 of the LEE; -inf where it is zero."""
        return decibels(self.value())

    def by_source(self) -> Tensor:
        """(sources,) what each source contributes to the LEE; they add up to `value()`."""
        return self.error.sum(1) / self._whole()

    def by_band(self, edges: Sequence[float]) -> Tensor:
        """What each frequency band contributes to the LEE; they add up to `value()`.

        Args:
            edges: increasing Hz; n edges make n + 1 bands, the first below the first edge, the last from the last edge on.

        Returns:
            (n + 1,).

        Raises:
            InputError: the edges do not increase.
        """
        limits = torch.tensor(list(edges), dtype=torch.float64, device=self.error.device)
        if bool((limits.diff() <= 0).any()):
            raise InputError(f"edges must increase, got {list(edges)}")
        band = torch.bucketize(self.frequencies.to(limits), limits, right=True)
        sums = self.error.new_zeros(len(limits) + 1).index_add(0, band, self.error.sum(0))
        return sums / self._whole()

    def _whole(self) -> Tensor:
        whole = self.reference.sum()
        if not float(whole) > 0:
            raise InputError("LEE of nothing: nothing was added, or the reference is zero everywhere")
        return whole


def decibels(value: float) -> float:
    """10 log10 of a power ratio; -inf for 0."""
    return 10 * math.log10(value) if value > 0 else -math.inf


def mask_lee(observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN) -> LEESums:
    """Mask LEE: does the predicted mask change when only the sampling frequency changes? See the head of this file.

    Args:
        observed: latent and masks at F.
        trained: latent and masks of the same signal at F0.
        margin: features count up to this fraction of min(F, F0) / 2.

    Raises:
        InputError: no feature or no frame to compare, or shapes that differ.
    """
    return compare(observed.masks, trained.masks, observed, trained, margin)


def masked_latent_lee(observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN) -> LEESums:
    """Masked-latent LEE: does the change matter where the energy is? See the head of this file.

    Args: those of `mask_lee`.

    Raises:
        InputError: as there.
    """
    return compare(observed.masked, trained.masked, observed, trained, margin)


@torch.no_grad()
def predictor_lee(
    predict_masks: Callable[[Latent], Tensor],
    trained: Observation,
    sample_rate: float,
    margin: float = ALIVE_MARGIN,
) -> LEESums:
    """Predictor LEE: how much is the mask predictor's own, with a perfect encoder? See the head of this file.

    It is the same in every adaptation mode, and 0 for F >= F0. One pass through the mask predictor.

    Args:
        predict_masks: M, the `predict_masks` of a separator.
        trained: latent and masks at F0.
        sample_rate: F in Hz.
        margin: features count up to this fraction of min(F, F0) / 2.

    Raises:
        InputError: no feature below it, or masks that are not finite.
    """
    latent = band_limited(trained.latent, sample_rate)
    return mask_lee(Observation(latent, finite(predict_masks(latent)), sample_rate), trained, margin)


def band_limited(latent: Latent, sample_rate: float) -> Latent:
    """A_F: features with a centre at F / 2 or above vanish, frames stay."""
    kept = latent.grid.frequencies < sample_rate / 2
    grid = LatentGrid(latent.grid.times, latent.grid.frequencies, latent.grid.alive & kept)
    return Latent(latent.values * kept.to(latent.values.real.dtype)[:, None], grid)


def shared_features(
    grid: LatentGrid,
    trained_grid: LatentGrid,
    sample_rate: float,
    trained_rate: float,
    margin: float = ALIVE_MARGIN,
) -> Tensor:
    """The projection P_F on features: alive at both rates, with a centre below margin * min(F, F0) / 2.

    Returns:
        (features,) bool.

    Raises:
        InputError: no feature is left.
    """
    limit = margin * min(sample_rate, trained_rate) / 2
    shared = grid.alive & trained_grid.alive & (trained_grid.frequencies < limit)
    if not shared.any():
        raise InputError(f"no feature is alive below {limit:g} Hz; choose a higher sample rate")
    return shared


def compare(
    values: Tensor,
    trained_values: Tensor,
    observed: Observation,
    trained: Observation,
    margin: float,
    weigh: Callable[[Observation, Tensor], Tensor] | None = None,
) -> LEESums:
    """||w P (values - trained values)||^2 and ||w P trained values||^2 over items and common frames: what every finite LEE is.

    Args:
        values: at F, (items, sources, features, frames).
        trained_values: at F0.
        observed: where values at F are.
        trained: where those at F0 are.
        margin: features count up to this fraction of min(F, F0) / 2.
        weigh: what is seen at F0, and P, (features,) bool -> w, (items, 1 or sources, 1 or shared features, frames at F0); 1 when omitted.

    Raises:
        InputError: no feature or no frame to compare, or shapes that differ.
    """
    moved, reference, shared, frames = aligned(values, trained_values, observed, trained, margin)
    frequencies = trained.latent.grid.frequencies
    if weigh is not None:
        weights = weigh(trained, shared)[..., frames]
        error, whole = (_in_place(_energy(weights * x), shared) for x in (moved - reference, reference))
        return LEESums(error, whole, frequencies)
    error = _in_place(_energy(moved - reference), shared)
    if trained_values is trained.masks and reference.shape[-1] == trained_values.shape[-1]:
        return LEESums(error, trained.energies * shared, frequencies)
    return LEESums(error, _in_place(_energy(reference), shared), frequencies)


def aligned(
    values: Tensor, trained_values: Tensor, observed: Observation, trained: Observation, margin: float
) -> tuple[Tensor, Tensor, Tensor, slice]:
    """Values at F at the frame times of F0, and those at F0, of shared features and common frames; P; and which frames of F0 these are.

    Args: those of `compare`.

    Raises:
        InputError: as there.
    """
    grid, trained_grid = observed.latent.grid, trained.latent.grid
    if values.shape[:-1] != trained_values.shape[:-1]:
        shapes = f"{tuple(values.shape)} at F and {tuple(trained_values.shape)} at F0"
        raise InputError(f"masks of (items, sources, features, frames) = {shapes} cannot be compared")
    shared = shared_features(grid, trained_grid, observed.sample_rate, trained.sample_rate, margin)
    wanted = common_times(grid, trained_grid)
    if not len(wanted):
        raise InputError("no frame at F lies at the time of a frame at F0; take a longer signal")
    start, kept = int(torch.searchsorted(trained_grid.times, wanted[0])), _run(shared)
    frames = slice(start, start + len(wanted))
    moved = at_times(values[:, :, kept], grid.times, wanted, turn(trained_grid)[kept])
    return moved, trained_values[:, :, kept, frames], shared, frames


def sums_of(values: Tensor, reference: Tensor, shared: Tensor, frequencies: Tensor) -> LEESums:
    """Squares of both, (items, sources, shared features, frames), summed over items and frames, in their places among all features.

    Args:
        values: what makes the numerator.
        reference: what makes the denominator.
        shared: P, (features,) bool.
        frequencies: (features,) Hz.
    """
    error, whole = (_in_place(_energy(x), shared) for x in (values, reference))
    return LEESums(error, whole, frequencies)


def _in_place(energies: Tensor, shared: Tensor) -> Tensor:
    """(sources, shared features) -> (sources, features), zero elsewhere."""
    table = energies.new_zeros(len(energies), len(shared))
    table[:, shared] = energies
    return table


def _run(shared: Tensor) -> Tensor | slice:
    """(features,) bool as a slice where it is one: what it takes is then a view."""
    places = shared.nonzero().flatten()
    first, stop = int(places[0]), int(places[-1]) + 1
    return slice(first, stop) if stop - first == len(places) else shared


def _energy(x: Tensor) -> Tensor:
    """||x||^2 over items and frames, added up in float64 in one pass: (items, sources, features, frames) -> (sources, features)."""
    real = torch.view_as_real(x).flatten(-2) if x.is_complex() else x
    rows = real.flatten(0, 2)  # a norm of rows takes half the time of one over several axes
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square().view(real.shape[:3]).sum(0)
