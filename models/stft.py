"""The front end that time-frequency separators share: SFI STFT and its inverse around a network that predicts masks.

waveform -> SFISTFT -> latent, complex -> network -> masks -> masks * latent -> SFIISTFT -> stems
"""

import math
from dataclasses import dataclass
from typing import Any

from einops import rearrange
from torch import Tensor
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.filters.windows import WINDOWS
from sfi_zoo.layers import SFIISTFT, SFISTFT
from sfi_zoo.layers.sample_rate import primal
from sfi_zoo.models.base import Latent, LatentGrid, Separator, check_floating
from sfi_zoo.models.parts.config import check_choice, check_size, check_sources, later


@dataclass(frozen=True)
class STFTConfig:
    """Sources and transform: the settings that all separators on an STFT have.

    Attributes:
        sources: names, in output order.
        sample_rate: F0 in Hz. Bins reach up to F0 / 2; what a signal has above is in no stem.
        n_fft: window in samples at F0; the bins are F0 / n_fft Hz apart at every rate.
        hop_length: distance between frames in samples at F0, at most n_fft / 2.
        window: "hann", "hamming", "blackman", "rectangular" or "sqrt_hann".
        channels: 1: every channel is an item of its own; more: the network hears that many channels together.
        pad_mode: how the signal is extended at its ends, "reflect" or "constant" (zeros).
        win_length: length of the window in samples at F0, in the middle of n_fft; None for n_fft.
        normalized: values of the transform are multiplied by n_fft^(-1/2).
    """

    sources: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100
    n_fft: int = 1764
    hop_length: int = 441
    window: str = "hann"
    channels: int = 1
    pad_mode: str = later("reflect")
    win_length: int | None = later(None)
    normalized: bool = later(False)

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        check_sources(self)
        for name in ("sample_rate", "n_fft", "hop_length", "channels"):
            check_size(self, name)
        check_choice(self, "window", WINDOWS)
        check_choice(self, "pad_mode", ("reflect", "constant"))
        check_choice(self, "normalized", (False, True))
        length = self.n_fft if self.win_length is None else self.win_length
        if not isinstance(length, int) or not 0 < length <= self.n_fft:
            raise InputError(
                f"win_length must be 1 ... n_fft ({self.n_fft}) samples, or None; got {length!r}"
            )
        if 2 * self.hop_length > length:
            name = "n_fft" if length == self.n_fft else "win_length"
            raise InputError(f"hop_length must be at most {name} / 2 ({length / 2:g}), got {self.hop_length}")

    @property
    def bins(self) -> int:
        """Number of bins per channel."""
        return self.n_fft // 2 + 1


class STFTSeparator(Separator):
    """STFT and inverse, the same seconds and hertz at every sampling frequency. A subclass overrides `predict_masks`.

    The latent of a model that hears C channels together has items = batch and features = C x bins: all bins of the first channel, then
    those of the second, and so on; on its grid the frequencies are repeated. With `channels=1` items = batch x channels, as everywhere.

    Below F0 the bins above F / 2 are dead: zero in the latent, and their masks are zero. Above F0 there are none beyond F0 / 2.

    Cost per second of audio: the network's does not depend on the sampling frequency at or above F0; the transforms' grows with it.
    Memory grows linearly with the length (faster for networks with attention): use `separate` for long signals.
    """

    config: STFTConfig

    def __init__(self, config: STFTConfig) -> None:
        super().__init__()
        self.config = config
        size = (config.n_fft, config.hop_length, config.win_length)
        common: dict[str, Any] = {
            "window": config.window,
            "sample_rate": config.sample_rate,
            "normalized": config.normalized,
        }
        self.stft = SFISTFT(*size, pad_mode=config.pad_mode, **common)
        self.istft = SFIISTFT(*size, **common)

    @property
    def frame_period(self) -> float:
        """hop_length / F0 seconds."""
        return self.config.hop_length / self.config.sample_rate

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """Analyse.

        Args:
            waveform: (batch, channels, time). Signals shorter than a window are extended with zeros.
            sample_rate: F in Hz; `current_rate` when omitted.

        Returns:
            Latent of (items, features, frames), complex, see above.

        Raises:
            InputError: integer samples, another number of channels than the model hears together, or a rate outside 4 ... 192 kHz.
        """
        rate = self.check_rate(sample_rate)
        check_floating(waveform)
        channels = self.config.channels
        if channels > 1 and waveform.shape[1] != channels:
            raise InputError(
                f"this model hears {channels} channels together, got {waveform.shape[1]}; give it {channels}, or 1 in `forward`"
            )
        shortest = math.ceil(self.config.n_fft * primal(rate) / self.trained_rate) + 1
        waveform = functional.pad(waveform, (0, max(0, shortest - waveform.shape[-1])))
        values = rearrange(self.stft(waveform, rate), "b (i c) f k -> (b i) (c f) k", c=channels)
        times = self.stft.frame_times(values.shape[-1], rate)
        places = (times, self.stft.frequencies(rate).repeat(channels), self.stft.alive(rate).repeat(channels))
        return Latent(values, LatentGrid(*(place.to(values.device) for place in places)))

    def alive_bins(self, latent: Latent) -> int:
        """How many bins, from the lowest on, are alive on a latent's grid."""
        return int(latent.grid.alive.sum()) // self.config.channels

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise.

        Args:
            latents: (items, sources, features, frames).
            sample_rate: F in Hz; `current_rate` when omitted.
            length: samples wanted; by default what the frames cover.

        Returns:
            (batch x channels, sources, time): an item for every channel, also where the model hears them together.
        """
        rate = self.check_rate(sample_rate)
        z = rearrange(latents, "i s (c f) k -> (i c) s f k", c=self.config.channels)
        return self.istft(z, rate, length)

    def forward(self, waveform: Tensor, sample_rate: float | None = None) -> Tensor:
        """Separate a whole signal in one pass, see `Separator.forward`.

        A model that hears several channels together takes one as well: it hears it in all of them, and gives their mean.
        """
        channels = self.config.channels
        if channels > 1 and waveform.ndim == 3 and waveform.shape[1] == 1:
            return super().forward(waveform.expand(-1, channels, -1), sample_rate).mean(2, keepdim=True)
        return super().forward(waveform, sample_rate)
