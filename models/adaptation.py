"""Adaptation modes: how a separator meets a sampling frequency it was not trained at. The rows of every comparison.

An adapted separator is used like a separator: called, or `separate`d in chunks.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional

from sfi_zoo.audio.resample import resampled_length
from sfi_zoo.audio.resampling import Resampler, create_resampler
from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Latent, LatentGrid, Separator, check_waveform, predicted, with_residual
from sfi_zoo.separation.above import band_edge

MODES = ("native", "resample", "none")


class Adapted(Separator):
    """A separator in one mode. `native`: the layers adapt. `resample`: to F0 and back. `none`: as if F were F0.

    Args:
        model: the separator.
        mode: "native", "resample" or "none".
        resampler: what resamples in the mode "resample", and in `from_trained` in any mode: a name (see
            `sfi_zoo.audio.resampling.RESAMPLER_TYPES`), or a resampler; its `way_back` takes the estimates back to F.

    Attributes:
        model: the separator.
        mode: the mode.
        resampler: the resampler, an object.

    Raises:
        InputError: unknown mode or resampler.
    """

    def __init__(self, model: Separator, mode: str = "native", resampler: str | Resampler = "soxr") -> None:
        super().__init__()
        if mode not in MODES:
            raise InputError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
        self.model, self.mode = model, mode
        self.architecture = getattr(model, "architecture", type(model).__name__)
        self.resampler = create_resampler(resampler)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in output order."""
        return self.model.sources

    @property
    def trained_rate(self) -> int:
        """F0 in Hz."""
        return self.model.trained_rate

    @property
    def frame_period(self) -> float | None:
        """Seconds between frames; None in the mode "none", where it is S0 / F."""
        return None if self.mode == "none" else self.model.frame_period

    def config_dict(self) -> dict[str, Any]:
        """There is none: an adaptation mode is no part of a saved model.

        Raises:
            InputError: always.
        """
        raise InputError(f"a separator in the mode {self.mode!r} is not saved; save its `model`")

    def band_edge(self, sample_rate: float | None = None) -> float:
        """The model's at F0, or at F in the mode "native"; in the mode "none" as F / F0 stretches it."""
        rate = self.check_rate(sample_rate)
        if self.mode == "native":
            return band_edge(self.model, rate)
        own = band_edge(self.model, self.trained_rate)
        return own * rate / self.trained_rate if self.mode == "none" else min(own, rate / 2)

    def latent(self, waveform: Tensor, sample_rate: float) -> Latent:
        """z_F: (batch, channels, time) at F -> latent, its grid in true seconds and Hz."""
        trained = self.trained_rate
        if self.mode == "native":
            return self.model.encode(waveform, sample_rate)
        if self.mode == "resample":
            return self.model.encode(self.to_trained(waveform, sample_rate), trained)
        latent = self.model.encode(waveform, trained)
        # sample n was taken at n / F, the model believes n / F0; features keep their number
        times = latent.grid.times * (trained / sample_rate)
        return Latent(latent.values, LatentGrid(times, latent.grid.frequencies, latent.grid.alive))

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """`latent`, at `current_rate` when no rate is given."""
        return self.latent(waveform, self.check_rate(sample_rate))

    def predict_masks(self, latent: Latent) -> Tensor:
        """The model's masks: (items, sources, features, frames)."""
        return self.model.predict_masks(latent)

    def predict(self, latent: Latent) -> tuple[Tensor, Tensor | None]:
        """The model's masks and residual."""
        return predicted(self.model, latent)

    def output(
        self, latents: Tensor, sample_rate: float, length: int, residual: Tensor | None = None
    ) -> Tensor:
        """(items, sources, features, frames), and what `predict` gives beside the masks -> (items, sources, length) at F."""
        added = with_residual(residual)
        if self.mode == "resample":
            trained_length = max(1, resampled_length(length, sample_rate, self.trained_rate))
            estimates = self.model.decode(latents, self.trained_rate, trained_length, **added)
            return self.from_trained(estimates, sample_rate, length)
        rate = sample_rate if self.mode == "native" else self.trained_rate
        return self.model.decode(latents, rate, length, **added)

    def decode(
        self,
        latents: Tensor,
        sample_rate: float | None = None,
        length: int | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """`output`, at `current_rate` when no rate is given.

        Raises:
            InputError: no length; only the signal knows it.
        """
        if length is None:
            raise InputError("decode of an adapted separator needs the length of the signal in samples")
        return self.output(latents, self.check_rate(sample_rate), length, residual)

    def to_trained(self, waveform: Tensor, sample_rate: float) -> Tensor:
        """A signal at F resampled to F0: (..., time) -> (..., time F0 / F), one sample at least."""
        y = self.resampler(waveform, sample_rate, self.trained_rate)
        return y if y.shape[-1] else y.new_zeros(*y.shape[:-1], 1)

    def from_trained(self, signal: Tensor, sample_rate: float, length: int) -> Tensor:
        """A signal at F0 resampled to F: (..., time) -> (..., length)."""
        y = self.resampler.way_back(signal.contiguous(), self.trained_rate, sample_rate)
        return functional.pad(y, (0, length - y.shape[-1]))  # a negative padding cuts

    def forward(self, waveform: Tensor, sample_rate: float | None = None) -> Tensor:
        """Separate a whole signal in one pass, see `Separator.forward`.

        Args:
            waveform: (batch, channels, time).
            sample_rate: F in Hz; `current_rate` when omitted.

        Returns:
            (batch, sources, channels, time) at F, as long as the input.

        Raises:
            InputError: as there; or the resampler lacks what is asked of it (a gradient, rates that are no whole numbers).
        """
        rate = self.check_rate(sample_rate)
        check_waveform(waveform)
        if self.mode == "native":
            return self.model(waveform, rate)
        if self.mode == "none":
            return self.model(waveform, self.trained_rate)
        estimates = self.model(self.to_trained(waveform, rate), self.trained_rate)
        return self.from_trained(estimates, rate, waveform.shape[-1])

    def extra_repr(self) -> str:
        """The mode."""
        return f"mode={self.mode!r}"
