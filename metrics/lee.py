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

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.comparison import in_place, squares
from sfi_zoo.metrics.observation import ALIVE_MARGIN, Observation, band_limited, finite
from sfi_zoo.models.base import Latent


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
    return LEESums(*squares(observed, trained, margin, "masks"), trained.latent.grid.frequencies)


def masked_latent_lee(observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN) -> LEESums:
    """Masked-latent LEE: does the change matter where the energy is? See the head of this file.

    Args: those of `mask_lee`.

    Raises:
        InputError: as there.
    """
    return LEESums(*squares(observed, trained, margin, "masked"), trained.latent.grid.frequencies)


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


def sums_of(values: Tensor, reference: Tensor, shared: Tensor, frequencies: Tensor) -> LEESums:
    """Squares of both, (items, sources, shared features, frames), summed over items and frames, in their places among all features.

    Args:
        values: what makes the numerator.
        reference: what makes the denominator.
        shared: P, (features,) bool.
        frequencies: (features,) Hz.
    """
    error, whole = (in_place(_energy(x), shared) for x in (values, reference))
    return LEESums(error, whole, frequencies)


def _energy(x: Tensor) -> Tensor:
    """||x||^2 over items and frames, added up in float64 in one pass: (items, sources, features, frames) -> (sources, features)."""
    real = torch.view_as_real(x).flatten(-2) if x.is_complex() else x
    rows = real.flatten(0, 2)  # a norm of rows takes half the time of one over several axes
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square().view(real.shape[:3]).sum(0)
