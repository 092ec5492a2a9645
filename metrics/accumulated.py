"""The LEE metrics as `torchmetrics.Metric`: sums over a test set, in one process or in many, before the division.

Needs torchmetrics, whose import takes a second or more: `sfi_zoo.metrics` imports this file on first use.
"""

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.lee import LEESums, mask_lee, masked_latent_lee, predictor_lee
from sfi_zoo.metrics.local import Motion, local_mask_lee, local_masked_latent_lee, local_predictor_lee
from sfi_zoo.metrics.observation import ALIVE_MARGIN, Observation


class _LEE(Metric):
    """sum ||error||^2 / sum ||reference||^2.

    Args:
        in_decibels: `compute` gives 10 log10 of the LEE.
        local: the Lie derivative at one sampling frequency; else the finite form.
        margin: features count up to this fraction of min(F, F0) / 2.
        **options: those of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    error: Tensor
    reference: Tensor
    forms: ClassVar[tuple[Callable[..., LEESums], Callable[..., LEESums]]]  # finite and local
    takes: ClassVar[tuple[tuple[type, ...], tuple[type, ...]]] = ((Observation, Observation), (Motion,))

    def __init__(
        self, in_decibels: bool = False, local: bool = False, margin: float = ALIVE_MARGIN, **options: Any
    ) -> None:
        super().__init__(**options)
        self.in_decibels, self.local, self.margin = in_decibels, local, margin
        for state in ("error", "reference"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, *observed: Any) -> None:
        """Adds one clip, or one batch of clips. What it takes is said in the description of the metric.

        Raises:
            InputError: it was given something else, or nothing can be compared.
        """
        wanted = self.takes[self.local]
        if len(observed) != len(wanted) or not all(map(isinstance, observed, wanted)):
            names, given = (", ".join(t.__name__ for t in types) for types in (wanted, map(type, observed)))
            raise InputError(
                f"{type(self).__name__}(local={self.local}).update takes ({names}), got ({given})"
            )
        sums = self.forms[self.local](*observed, margin=self.margin)
        self.error += sums.error.sum().to(self.error)
        self.reference += sums.reference.sum().to(self.reference)

    def compute(self) -> Tensor:
        """The LEE of all that was added, in all processes: 0-dim float64.

        Raises:
            InputError: nothing was added, or the reference is silent.
        """
        if not float(self.reference) > 0:
            raise InputError("LEE of nothing: nothing was added, or the reference is zero everywhere")
        lee = self.error / self.reference
        return 10 * torch.log10(lee) if self.in_decibels else lee


class MaskLEE(_LEE):
    """Mask LEE: does the predicted mask change when only the sampling frequency changes?

        sum ||P_F (m_F - m_F0)||^2 / sum ||P_F m_F0||^2,    local: sum ||P L m||^2 / sum ||P m||^2

    m_F are the masks at F, P_F the restriction to features alive at both; L is the Lie derivative along F e^t. Dimensionless, in [0, inf)
    or in dB; lower is better. Our reading of arXiv:2506.03550; the local form after Gruver et al., ICLR 2023. See `sfi_zoo.metrics.lee`
    and `sfi_zoo.metrics.local`.

    `update(observed, trained)` takes two observations of `observe`, at F and at F0; with `local`, `update(motion)` takes one of `motion`.

    >>> import torch
    >>> from sfi_zoo.metrics import MaskLEE, Observation
    >>> from sfi_zoo.models.base import Latent, LatentGrid
    >>> grid = LatentGrid(torch.arange(3) / 100, torch.tensor([500.0, 1500.0]), torch.ones(2).bool())
    >>> latent = Latent(torch.ones(1, 2, 3), grid)  # (items, features, frames)
    >>> metric = MaskLEE()
    >>> trained = Observation(latent, torch.full((1, 1, 2, 3), 0.50), 16000.0)  # masks (items, sources, features, frames)
    >>> metric.update(Observation(latent, torch.full((1, 1, 2, 3), 0.55), 8000.0), trained)
    >>> print(f"{float(metric.compute()):.4f}")
    0.0100
    """

    forms = (mask_lee, local_mask_lee)


class MaskedLatentLEE(_LEE):
    """Masked-latent LEE: does the change of the masks matter where the energy is?

        sum ||P_F (m_F z_F - m_F0 z_F0)||^2 / sum ||P_F m_F0 z_F0||^2,    local: sum ||P L (m z)||^2 / sum ||P m z||^2

    z_F is the latent at F; the rest, and the arguments of `update`, as in `MaskLEE`. Our reading of arXiv:2506.03550.

    >>> import torch
    >>> from sfi_zoo.metrics import MaskedLatentLEE, Observation
    >>> from sfi_zoo.models.base import Latent, LatentGrid
    >>> grid = LatentGrid(torch.arange(3) / 100, torch.tensor([500.0, 1500.0]), torch.ones(2).bool())
    >>> trained = Observation(Latent(torch.ones(1, 2, 3), grid), torch.ones(1, 1, 2, 3), 16000.0)
    >>> metric = MaskedLatentLEE(in_decibels=True)
    >>> metric.update(Observation(Latent(torch.full((1, 2, 3), 1.1), grid), torch.ones(1, 1, 2, 3), 8000.0), trained)
    >>> print(f"{float(metric.compute()):.2f} dB")
    -20.00 dB
    """

    forms = (masked_latent_lee, local_masked_latent_lee)


class PredictorLEE(_LEE):
    """Predictor LEE: how much is the mask predictor's own, with a perfect encoder?

        sum ||P_F (M(A_F z_F0) - M(z_F0))||^2 / sum ||P_F M(z_F0)||^2,    local: sum ||P d/dt M(A_t z_F0)||^2 / sum ||P M(A_0 z_F0)||^2

    M is the mask predictor, A_F takes from a latent what lies above F / 2; the rest as in `MaskLEE`. Our reading of arXiv:2506.03550.

    `update(predict_masks, trained, sample_rate)` takes the `predict_masks` of a separator, an observation at F0, and F in Hz.

    >>> import torch
    >>> from sfi_zoo.metrics import Observation, PredictorLEE
    >>> from sfi_zoo.models.base import Latent, LatentGrid
    >>> grid = LatentGrid(torch.arange(3) / 100, torch.tensor([500.0, 7000.0]), torch.ones(2).bool())
    >>> share = lambda latent: (latent.values / latent.values.sum(1, keepdim=True))[:, None]  # of a feature in its frame
    >>> latent = Latent(torch.ones(1, 2, 3), grid)
    >>> metric = PredictorLEE()
    >>> metric.update(share, Observation(latent, share(latent), 16000.0), 8000.0)  # the share of the lower feature doubles
    >>> print(f"{float(metric.compute()):.4f}")
    1.0000
    """

    forms = (predictor_lee, local_predictor_lee)
    takes = ((Callable, Observation, Real), (Callable, Observation, Real))  # type: ignore[assignment]
