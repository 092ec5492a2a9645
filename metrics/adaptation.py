"""Adaptation modes: how a separator meets a sampling frequency it was not trained at. The rows of every comparison."""

from collections.abc import Callable

from torch import Tensor, nn

from sfi_zoo.audio.resample import RESAMPLERS
from sfi_zoo.models.base import Latent, LatentGrid, Separator


class Adapted(nn.Module):
    """A separator in one mode. `native`: the layers adapt. `resample`: to F0 and back. `none`: as if F were F0.

    Attributes:
        mode: "native", "resample" or "none".
    """

    def __init__(self, model: Separator, mode: str, resampler: str = "soxr") -> None:
        super().__init__()
        self.model, self.mode = model, mode
        self.resample: Callable[[Tensor, float, float], Tensor] = RESAMPLERS[resampler]

    def latent(self, waveform: Tensor, sample_rate: float) -> Latent:
        """z_F: (batch, channels, time) at F -> latent, its grid in true seconds and Hz."""
        trained = self.model.sample_rate
        if self.mode == "native":
            return self.model.encode(waveform, sample_rate)
        if self.mode == "resample":
            return self.model.encode(self.resample(waveform, sample_rate, trained), trained)
        latent = self.model.encode(waveform, trained)
        # sample n was taken at n / F, the model believes n / F0; features keep their number
        times = latent.grid.times * (trained / sample_rate)
        return Latent(latent.values, LatentGrid(times, latent.grid.frequencies, latent.grid.alive))

    def output(self, latents: Tensor, sample_rate: float, length: int) -> Tensor:
        """(items, sources, features, frames) -> (items, sources, length) at F."""
        trained = self.model.sample_rate
        if self.mode == "native":
            return self.model.decode(latents, sample_rate, length)
        if self.mode == "none":
            return self.model.decode(latents, trained, length)
        return self.from_trained(self.model.decode(latents, trained), sample_rate, length)

    def from_trained(self, signal: Tensor, sample_rate: float, length: int) -> Tensor:
        """A signal at F0 resampled to F: (..., time) -> (..., length)."""
        y = self.resample(signal, self.model.sample_rate, sample_rate)
        return nn.functional.pad(y, (0, length - y.shape[-1]))  # a negative padding cuts


MODES = ("native", "resample", "none")
