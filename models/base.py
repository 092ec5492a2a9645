"""The masking-separator contract: encode, predict masks, decode. Every model of the zoo keeps it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from sfi_zoo.audio import bounds
from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import AtSampleRate, primal, renamed
from sfi_zoo.models.on_hub import OnHub


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


class Separator(AtSampleRate, OnHub):
    """Base class of separators: encoder -> mask predictor -> decoder.

    A subclass sets `config` (a dataclass that holds `sources` and `sample_rate`) and overrides `encode`, `predict_masks`, `decode`. To be
    saved and loaded it also has `architecture`, `config_class`, a constructor that takes that and nothing else, and a place in the registry
    (`sfi_zoo.register`). One that starts from statistics of the data overrides `fit_statistics`.

    Attributes:
        architecture: the registry name.
        config_class: the dataclass of `config`: values JSON has, and tuples.
        config: constructor arguments.
        sources: names of the sources, in output order.
        trained_rate: F0 in Hz.
        current_rate: F in Hz, used when a method is given none: F0 until `sfi_zoo.set_sample_rate` or `at_sample_rate` says otherwise.
    """

    architecture: str
    config_class: Any
    config: Any

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in output order."""
        return tuple(self.config.sources)

    @property
    def trained_rate(self) -> int:
        """F0: the sampling frequency the model was trained at, in Hz."""
        if type(self).sample_rate is not Separator.sample_rate:
            renamed(f"{type(self).__name__} has F0 as sample_rate; call it trained_rate")
            return self.sample_rate
        return int(self.config.sample_rate)

    @property
    def sample_rate(self) -> int:
        """The former name of `trained_rate`."""
        renamed(
            f"{type(self).__name__}.sample_rate is now trained_rate (the rate it is set to: current_rate)"
        )
        return self.trained_rate

    @property
    def frame_period(self) -> float | None:
        """Seconds between frames, the same at every sampling frequency; None where they are not."""
        raise NotImplementedError

    @property
    def chunk_seconds(self) -> float | None:
        """Length of the chunks that `separate` cuts long signals into, where none is asked for; None for its own default."""
        return None

    def config_dict(self) -> dict[str, Any]:
        """The configuration as flat JSON-ready arguments."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self.config).items()}

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """(batch, channels, time) -> latent of (items, features, frames)."""
        raise NotImplementedError

    def predict_masks(self, latent: Latent) -> Tensor:
        """Latent -> masks of (items, sources, features, frames)."""
        raise NotImplementedError

    def predict(self, latent: Latent) -> tuple[Tensor, Tensor | None]:
        """Latent -> masks, and what is added to mask * latent, as large; None for nothing.

        A model with such a residual overrides this one, and its `decode` takes it as `residual`. LEEs look at the masks.
        """
        return self.predict_masks(latent), None

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """(items, sources, features, frames) -> (items, sources, time)."""
        raise NotImplementedError

    def band_edge(self, sample_rate: float | None = None) -> float:
        """The highest frequency, in Hz, that the latent holds at F (F0 when omitted); what a signal has above is in no estimate."""
        rate = self.check_rate(sample_rate)
        silence = next(self.parameters(), torch.empty(0)).new_zeros(1, getattr(self.config, "channels", 1), 1)
        grid = self.encode(silence, rate).grid
        return float(grid.frequencies[grid.alive].amax()) if grid.alive.any() else rate / 2

    def fit_statistics(self, mixtures: Sequence[Tensor]) -> None:
        """Sets what a model takes from its data before training, such as means and deviations; by default nothing.

        Args:
            mixtures: (channels, time) each, at F0; none of them silent.
        """

    def forward(self, waveform: Tensor, sample_rate: float | None = None) -> Tensor:
        """Separate a whole signal in one pass.

        Under `torch.autocast` the masks are predicted in the lower precision; encoder and decoder keep theirs.

        Args:
            waveform: (batch, channels, time), any number of channels.
            sample_rate: F in Hz, 4 to 192 kHz; `current_rate` when omitted.

        Returns:
            (batch, sources, channels, time), as long as the input.

        Raises:
            InputError: wrong shape, empty signal, or a sampling frequency out of range or below the lowest band.
        """
        latent = encoded(self, waveform, sample_rate)
        masks, residual = self.predict(latent)
        return decoded(self, masked(latent, masks), waveform, sample_rate, residual)

    def separate(
        self,
        waveform: Tensor,
        sample_rate: float | None = None,
        *,
        chunk_seconds: float | None = None,
        overlap_seconds: float | None = None,
        batch_size: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        consistency: str | None = None,
        rescale: bool = False,
        two_stems: str | None = None,
        above: str = "masks",
        ceiling: bool = False,
        shifts: int = 1,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Tensor:
        """Separate a signal of any length, in chunks with a crossfade.

        Args:
            waveform: (channels, time) or (time,).
            sample_rate: F in Hz; `current_rate` when omitted.
            chunk_seconds: length of a chunk; when omitted, the model's (`chunk_seconds`), or 12.
            overlap_seconds: how much of it overlaps the next one, 1.5 when omitted, and no more than a quarter of a chunk.
            batch_size: chunks that run at once; memory grows with it.
            device: where to run; None for where the model is. The model itself is not moved.
            dtype: "float32", "float64", or "bfloat16" and "float16", in which only the masks are predicted; None for the model's.
            consistency: "equal" or "energy": how the residual is spread, so that the stems sum to the mixture
                (see `sfi_zoo.separation.consistency` for this and the next two).
            rescale: a gain for each stem and channel, by least squares onto the mixture.
            two_stems: a source: the result is that one and the sum of the others.
            above: who gets what lies above the model's own band: "masks", as the octave below it is shared; "equal"; or "none", as in
                `forward` and in all scores (see `sfi_zoo.separation.above`).
            ceiling: where the stems together are louder than the mixture, they are turned down to it.
            shifts: the mean of so many estimates, of signals delayed by parts of a frame; costs that many times as much.
            progress: called with (seconds done, seconds in all); raise in it to stop.

        Returns:
            (sources, channels, time) on the device of `waveform`, float32, or float64 from a float64 model.

        Raises:
            InputError: a waveform, a rate or an option that is not allowed.
        """
        from sfi_zoo.separation.chunks import separate
        from sfi_zoo.separation.options import CHUNK_SECONDS, LEAST_CHUNK, SeparationOptions

        if chunk_seconds is None:
            own = self.chunk_seconds
            chunk_seconds = CHUNK_SECONDS if own is None else max(own, LEAST_CHUNK)
        options = SeparationOptions(
            chunk_seconds=chunk_seconds,
            overlap_seconds=overlap_seconds,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            consistency=consistency,
            rescale=rescale,
            two_stems=two_stems,
            above=above,
            ceiling=ceiling,
            shifts=shifts,
        )
        return separate(self, waveform, sample_rate, options, progress=progress)

    def separate_file(self, path: str | Path, out: str | Path = "separated", **settings: Any) -> list[Path]:
        """Write the stems of a sound file, see `sfi_zoo.separate_file`, which takes the same settings; returns their paths."""
        from sfi_zoo.separation.files import separated_paths

        return separated_paths(self, path, out, **settings)

    def check_rate(self, sample_rate: float | None) -> float:
        """The rate to work at, if it is within 4 to 192 kHz."""
        rate = self._rate(sample_rate)
        bounds.check_sample_rate(primal(rate))
        return rate


def encoded(model: Separator, waveform: Tensor, sample_rate: float | None = None) -> Latent:
    """The latent of what is checked to be a waveform, (batch, channels, time); in full precision also under autocast.

    Raises:
        InputError: see `Separator.forward`.
    """
    check_waveform(waveform)
    with full_precision(waveform.device):
        return model.encode(waveform, sample_rate)


def masked(latent: Latent, masks: Tensor) -> Latent:
    """The latent times the masks, (items, sources, features, frames), in float32 or wider; where the values are does not change."""
    with full_precision(masks.device):
        masks = masks.to(torch.promote_types(masks.dtype, torch.float32))
        return Latent(masks * latent.values[:, None], latent.grid)


def predicted(model: Any, latent: Latent) -> tuple[Tensor, Tensor | None]:
    """Masks and residual, see `Separator.predict`; of a model that has no such method the masks alone."""
    if hasattr(model, "predict"):
        both: tuple[Tensor, Tensor | None] = model.predict(latent)
        return both
    return model.predict_masks(latent), None


def with_residual(residual: Tensor | None) -> dict[str, Tensor]:
    """The argument of `decode` that adds a residual; none where there is none, for models that know of none."""
    return {} if residual is None else {"residual": residual}


def decoded(
    model: Separator,
    latent: Latent,
    waveform: Tensor,
    sample_rate: float | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """What a masked latent of the waveform, with a residual, sounds like: (batch, sources, channels, time).

    In full precision also under autocast.
    """
    with full_precision(waveform.device):
        estimates = model.decode(latent.values, sample_rate, waveform.shape[-1], **with_residual(residual))
    return rearrange(estimates, "(b c) s t -> b s c t", b=waveform.shape[0])


def to_items(waveform: Tensor) -> Tensor:
    """(batch, channels, time) -> (batch x channels, 1, time): every channel an item of its own."""
    return rearrange(waveform, "b c t -> (b c) 1 t")


def check_waveform(waveform: Tensor) -> None:
    """Raises InputError for what is not (batch, channels, time)."""
    if not hasattr(waveform, "ndim") or isinstance(waveform, np.ndarray):
        raise InputError(
            f"waveform must be a tensor (batch, channels, time), got {type(waveform).__name__}; torch.from_numpy makes one of an array"
        )
    if waveform.ndim != 3 or 0 in waveform.shape:
        raise InputError(
            f"waveform must be (batch, channels, time), none of them 0; got {tuple(waveform.shape)}"
        )


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Where autocast is on, it is off within."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def check_floating(waveform: Tensor) -> None:
    """Raises InputError for integer samples."""
    if not torch.is_floating_point(waveform):
        raise InputError(f"waveform must be floating point in [-1, 1], got {waveform.dtype}")
