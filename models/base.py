"""The masking-separator contract: encode, predict masks, decode. Every model of the zoo keeps it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from sfi_zoo.audio import bounds
from sfi_zoo.errors import InputError
from sfi_zoo.layers import check_sample_rate


@dataclass(frozen=True)
class LatentGrid:
    """Where the values of a latent are: what lets one metric compare any two sampling frequencies of any model.

    Attributes:
        times: (frames,) centres of the frames in seconds.
        frequencies: (features,) centre frequencies in Hz.
        alive: (features,) bool, whether the feature can hold anything at this sampling frequency.
    """

    times: Tensor
    frequencies: Tensor
    alive: Tensor


@dataclass(frozen=True)
class Latent:
    """A time-frequency representation and its grid.

    Attributes:
        values: (items, features, frames), real or complex. A mono model has items = batch x channels.
        grid: where the values are.
    """

    values: Tensor
    grid: LatentGrid


class Separator(nn.Module):
    """Base class of separators: encoder -> mask predictor -> decoder.

    A subclass sets `config` (a dataclass that holds `sources` and `sample_rate`) and overrides `encode`, `predict_masks`, `decode`.

    Attributes:
        architecture: the registry name.
        config: constructor arguments.
        sources: names of the sources, in output order.
        sample_rate: F0 in Hz, used when a method is given none.
    """

    architecture: str
    config: Any

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in output order."""
        return tuple(self.config.sources)

    @property
    def sample_rate(self) -> int:
        """F0: the sampling frequency the model was trained at, in Hz."""
        return int(self.config.sample_rate)

    @property
    def frame_period(self) -> float | None:
        """Seconds between frames, the same at every sampling frequency; None where they are not."""
        raise NotImplementedError

    def config_dict(self) -> dict[str, Any]:
        """The configuration as flat JSON-ready arguments."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self.config).items()}

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """(batch, channels, time) -> latent of (items, features, frames)."""
        raise NotImplementedError

    def predict_masks(self, latent: Latent) -> Tensor:
        """Latent -> masks of (items, sources, features, frames)."""
        raise NotImplementedError

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """(items, sources, features, frames) -> (items, sources, time)."""
        raise NotImplementedError

    def forward(self, waveform: Tensor, sample_rate: float | None = None) -> Tensor:
        """Separate a whole signal in one pass.

        Args:
            waveform: (batch, channels, time), any number of channels.
            sample_rate: F in Hz, 4 to 192 kHz; F0 when omitted.

        Returns:
            (batch, sources, channels, time), as long as the input.

        Raises:
            InputError: wrong shape, empty signal or a sampling frequency out of range.
        """
        check_waveform(waveform)
        latent = self.encode(waveform, sample_rate)
        masks = self.predict_masks(latent)
        estimates = self.decode(masks * latent.values[:, None], sample_rate, waveform.shape[-1])
        return rearrange(estimates, "(b c) s t -> b s c t", b=waveform.shape[0])

    def separate(
        self,
        waveform: Tensor,
        sample_rate: float | None = None,
        *,
        chunk_seconds: float | None = None,
        overlap_seconds: float | None = None,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Tensor:
        """Separate a signal of any length, in chunks with a crossfade.

        Args:
            waveform: (channels, time) or (time,).
            sample_rate: F in Hz; F0 when omitted.
            chunk_seconds: length of a chunk.
            overlap_seconds: how much of it overlaps the next one.
            progress: called with (seconds done, seconds in all); raise in it to stop.

        Returns:
            (sources, channels, time) float32 on the CPU.
        """
        from sfi_zoo.audio.chunks import separate

        given = {"chunk_seconds": chunk_seconds, "overlap_seconds": overlap_seconds}
        options = {key: value for key, value in given.items() if value is not None}
        return separate(self, waveform, sample_rate, progress=progress, **options)

    def save_pretrained(self, folder: Any) -> None:
        """Writes `config.json` and `model.safetensors` into a folder. See `sfi_zoo.hub.save`."""
        from sfi_zoo.hub import save

        save(self, folder)

    def check_rate(self, sample_rate: float | None) -> float:
        """The rate to work at, if it is within 4 to 192 kHz."""
        rate = check_sample_rate(self.sample_rate if sample_rate is None else sample_rate)
        bounds.check_sample_rate(rate)
        return rate


def to_items(waveform: Tensor) -> Tensor:
    """(batch, channels, time) -> (batch x channels, 1, time): every channel an item of its own."""
    return rearrange(waveform, "b c t -> (b c) 1 t")


def check_waveform(waveform: Tensor) -> None:
    """Raises InputError for what is not (batch, channels, time)."""
    if waveform.ndim != 3 or 0 in waveform.shape:
        raise InputError(
            f"waveform must be (batch, channels, time), none of them 0; got {tuple(waveform.shape)}"
        )


def check_floating(waveform: Tensor) -> None:
    """Raises InputError for integer samples."""
    if not torch.is_floating_point(waveform):
        raise InputError(f"waveform must be floating point in [-1, 1], got {waveform.dtype}")
