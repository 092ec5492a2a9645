"""Every LEE in finite form by name: what is seen of a model, and what is made of it. A metric is one line, here or in one's own program.

`METRICS[name]` is a function, (what is seen at F, what is seen at F0, margin) -> squared errors and references, which then sees a model in
its mode; or a `Metric`, which says what it sees. See docs/add_a_metric.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.lee import LEESums, mask_lee, masked_latent_lee
from sfi_zoo.metrics.observation import Observation
from sfi_zoo.metrics.weighted import (
    energy_mask_lee,
    gated_mask_lee,
    gated_masked_latent_lee,
    scale_invariant_masked_latent_lee,
)

Compare = Callable[[Observation, Observation, float], LEESums]
MODE, BAND, ROUND_TRIP = SEES = ("mode", "band", "round trip")


@dataclass(frozen=True)
class Metric:
    """A LEE.

    Attributes:
        of: what is seen at F, what is seen at F0, and the margin of `shared_features`, to squared errors and references.
        sees: at F. "mode": the signal at F, the model in its adaptation mode. "band": A_F z_F0, the latent at F0 without its upper band.
            "round trip": the signal resampled to F and back, the model at F0. The last two are the same in all modes, and 0 for F >= F0.

    Raises:
        InputError: it sees something else.
    """

    of: Compare
    sees: str = MODE

    def __post_init__(self) -> None:
        if self.sees not in SEES:
            raise InputError(f"a metric sees {', '.join(SEES)}; got {self.sees!r}")


METRICS: dict[str, Compare | Metric] = {
    "mask": Metric(mask_lee),
    "predictor": Metric(mask_lee, BAND),
    "masked_latent": Metric(masked_latent_lee),
    "gated_mask": Metric(gated_mask_lee),
    "energy_predictor": Metric(energy_mask_lee, BAND),
    "scale_invariant": Metric(scale_invariant_masked_latent_lee),
    "round_trip": Metric(gated_masked_latent_lee, ROUND_TRIP),
}


def registered() -> dict[str, Metric]:
    """All metrics by name."""
    return {name: of if isinstance(of, Metric) else Metric(of) for name, of in METRICS.items()}
