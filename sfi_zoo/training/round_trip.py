r"""A metric as a loss, ours: the masked-latent LEE of a round trip through another sampling frequency (SF).

x is a mixture at the SF of training F0, y = R(F -> F0) R(F0 -> F) x its round trip through F < F0: x without what is above F / 2. With z
the latent, m = M(z) the masks, and A_F z the latent without the features that are dead at F, the error of an example is

    ||P_F (M(A_F z(y)) A_F z(y) - m z(x))||^2 / ||P_F m z(x)||^2

over sources, features and frames: the masked-latent LEE of `sfi_zoo.metrics.lee` with ideal SFI layers and an ideal resampler, where P_F
are features alive at F below 0.9 F / 2. It is dimensionless, 0 for masks that do not depend on the SF, and its gradient reaches both
passes. Sums of one example are divided, so that the mean over a batch does not depend on how the batch is split.
"""

from torch import Tensor

from sfi_zoo.metrics.observation import shared_features
from sfi_zoo.models.base import Latent, LatentGrid

FLOOR = 1e-8


def round_trip_lee(
    moved: Latent, reference: Latent, sample_rate: float, trained_rate: float, items: int
) -> Tensor:
    """The masked-latent errors of the examples, see the head of this file.

    Args:
        moved: M(A_F z(y)) A_F z(y), (items x channels, sources, features, frames), on the grid at F0.
        reference: m z(x), the same shape.
        sample_rate: F in Hz.
        trained_rate: F0 in Hz.
        items: how many examples.

    Returns:
        (items,).

    Raises:
        InputError: no feature is alive at F.
    """
    grid = reference.grid
    there = LatentGrid(grid.times, grid.frequencies, grid.alive & (grid.frequencies < sample_rate / 2))
    shared = shared_features(there, grid, sample_rate, trained_rate)
    wanted = reference.values[:, :, shared]
    error = (moved.values[:, :, shared] - wanted).abs().square().reshape(items, -1).sum(1)
    return error / (wanted.abs().square().reshape(items, -1).sum(1) + FLOOR)
