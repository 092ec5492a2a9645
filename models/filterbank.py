"""The front end that time-domain separators share: SFI encoder and decoder around a network that predicts masks.

waveform -> SFIConv1d -> latent -> what the network sees -> masker -> masks -> masks * latent -> SFIConvTranspose1d -> stems
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.audio.resample import rate_ratio
from sfi_zoo.errors import InputError
from sfi_zoo.filters import FILTER_FAMILIES
from sfi_zoo.filters.base import at_least_float32
from sfi_zoo.filters.quadrature import QuadratureBank
from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.layers.sample_rate import primal
from sfi_zoo.models.base import Latent, LatentGrid, Separator, check_floating, to_items
from sfi_zoo.models.parts.config import check_choice, check_size, check_sources, later
from sfi_zoo.models.parts.dead_features import FILLS, DeadFill, calibrate
from sfi_zoo.models.parts.gate import check_gate, gated
from sfi_zoo.models.parts.norms import fit_norm

MAGNITUDE_FLOOR = 1e-12  # |z|^2 at which a magnitude counts as silence: -120 dB
LATENTS = ("relu", "linear", "complex")
OF_EACH_SIDE = ("filters", "design", "frequency_points", "hilbert")


@dataclass(frozen=True)
class FilterbankConfig:
    """Sources, encoder and decoder: the settings that all separators on a filter bank have.

    Attributes:
        sources: names, in output order.
        sample_rate: F0 in Hz.
        features: size of the latent (N).
        kernel_size: L0, encoder kernel in samples at F0.
        stride: S0, hop in samples at F0.
        latent: "relu" (real, rectified), "linear" (real), or "complex" (quadrature pairs; the network sees sqrt |z|).
        filters: filter family of encoder and decoder; "interpolated" are learned kernels, at F0 a plain convolution. For a complex latent
            the first half of the bank are real parts, the second half imaginary parts: Hilbert pairs in families that take
            `quadrature`, two free responses in the others.
        encoder_filters: options of the encoder's bank.
        decoder_filters: options of the decoder's bank.
        design: "time" or "frequency".
        flavour: "native" or "reference".
        taper: fraction of the kernel that the compact taper takes (native).
        frequency_points: grid of the reference frequency-domain design.
        hilbert: discrete Hilbert pairs (reference).
        decoder_settings: filters, design, frequency_points and hilbert of the decoder, where it has others than the encoder (of a latent
            that is not complex); None for the same.
        padding: zeros on both sides of the signal in samples at F0; None for (L0 - S0) / 2.
        pad_end: zeros at the end until the frames cover the signal; without, what is left over stays silent (native).
        pad_multiple: zeros at the end until the signal is a multiple of so many samples at F0, whatever `pad_end` says; None for none
            (native).
        alive_norm: the statistics of the network's first norm leave dead features out, see `sfi_zoo.models.parts.norms.over_alive`.
        dead_fill: the network sees "noise" (or True), or a constant "level", where features are dead, see
            `sfi_zoo.models.parts.dead_features`; False for what is there, zeros.
        gate_db: sources so many dB below the mixture (a negative number) are turned down: `sfi_zoo.models.parts.gate`; None for none.
    """

    sources: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 32000
    features: int = 256
    kernel_size: int = 1280
    stride: int = 320
    latent: str = "complex"
    filters: str = "modulated_gaussian"
    encoder_filters: dict[str, Any] = field(default_factory=dict)
    decoder_filters: dict[str, Any] = field(default_factory=dict)
    design: str = "time"
    flavour: str = "native"
    taper: float = 0.25
    frequency_points: int = 640
    hilbert: bool = False
    padding: int | None = later(None)
    pad_end: bool = later(True)
    pad_multiple: int | None = later(None)
    alive_norm: bool = later(False)
    dead_fill: bool | str = later(False)
    gate_db: float | None = later(None)
    decoder_settings: dict[str, Any] | None = later(None)  # noqa: RUF009 (a field)

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        check_choice(self, "latent", LATENTS)
        check_choice(self, "alive_norm", (False, True))
        check_choice(self, "dead_fill", (False, True, *FILLS))
        check_gate(self.gate_db)
        check_sources(self)
        for name in ("sample_rate", "features", "kernel_size", "stride"):
            check_size(self, name)
        check_size(self, "padding", optional=True)
        if self.pad_multiple is not None:
            check_size(self, "pad_multiple")
        own = {} if self.decoder_settings is None else self.decoder_settings
        if not isinstance(own, dict) or set(own) - set(OF_EACH_SIDE):
            raise InputError(f"decoder_settings may hold {', '.join(OF_EACH_SIDE)}; got {own!r}")
        if own and self.latent == "complex":
            raise InputError(f"decoder_settings must be empty with latent='complex', got {own!r}")


def compressed_magnitude(values: Tensor) -> Tensor:
    """sqrt |z| of a complex latent, with a floor that keeps its gradient finite: what the network sees."""
    power = torch.view_as_real(values).square().sum(-1)
    return (power + MAGNITUDE_FLOOR) ** 0.25


@torch.no_grad()
def set_dual_gains(encoder: SFIConv1d, decoder: SFIConvTranspose1d) -> None:
    """Gains with which a decoder of the same filters inverts the encoder, see `QuadratureBank.set_dual_gains`.

    The levels of the published designs (`reference`) go by the family; there the gains are divided by the mean response of both layers,
    R(f) = (1 / S0) sum_c A_c(f) conj S_c(f) from the lowest to the highest centre.
    """
    analysis, synthesis = encoder.filters, decoder.filters
    assert isinstance(synthesis, QuadratureBank)
    synthesis.set_dual_gains(encoder.stride)
    if encoder.flavour == "native" or synthesis.device.type == "meta" or synthesis.log_gain is None:
        return
    rate = encoder.trained_rate
    a, s = (torch.fft.rfft(layer.weights(rate)[0][0].double()) for layer in (encoder, decoder))
    f = torch.linspace(0, rate / 2, a.shape[-1], dtype=torch.float64, device=a.device)
    centers = analysis.center_frequencies()
    inside = (f >= centers.min()) & (f <= centers.max())
    response = (a * s.conj()).real.sum(0)[inside].mean() / encoder.stride
    synthesis.log_gain.sub_(response.log())


class FilterbankSeparator(Separator):
    """Encoder and decoder on SFI convolutions; every channel is an item of its own.

    A subclass sets `masker`, a module from what the network sees, real (items, features, frames), to masks (items, sources, features,
    frames); with `alive_norm` it is called with `alive` (features,) beside. Where the masker begins with a norm, `first_norm` says which.

    In half precision the masker alone is; encoder and decoder compute in float32, as under autocast.

    Cost per second of audio: the network's does not depend on the sampling frequency (the hop is fixed in seconds);
    encoder and decoder grow in proportion to it. Memory grows linearly with the length: use `separate` for long signals.
    """

    config: FilterbankConfig
    masker: nn.Module

    def __init__(self, config: FilterbankConfig) -> None:
        super().__init__()
        self.config = config
        complex_latent = config.latent == "complex"
        filters = config.features * (2 if complex_latent else 1)
        paired = complex_latent and issubclass(FILTER_FAMILIES.get(config.filters, object), QuadratureBank)
        pairs = {"quadrature": True} if paired else {}
        gains = {"gain": True} if paired else {}
        common: dict[str, Any] = {
            "kernel_size": config.kernel_size,
            "stride": config.stride,
            "padding": "centered" if config.padding is None else config.padding,
            "sample_rate": config.sample_rate,
            "filters": config.filters,
            "design": config.design,
            "flavour": config.flavour,
            "taper": config.taper,
            "frequency_points": config.frequency_points,
            "hilbert": config.hilbert,
            "bias": False,
        }
        self.encoder = SFIConv1d(1, filters, filter_options=pairs | config.encoder_filters, **common)
        self.decoder = SFIConvTranspose1d(
            filters,
            1,
            filter_options=pairs | gains | config.decoder_filters,
            **common | (config.decoder_settings or {}),
        )
        if paired:  # start from a decoder that inverts the encoder
            self.decoder.filters.load_state_dict(self.encoder.filters.state_dict(), strict=False)
            set_dual_gains(self.encoder, self.decoder)
        constant = config.dead_fill == "level"
        self.fill = DeadFill(config.features, config.latent, constant) if config.dead_fill else None

    @property
    def frame_period(self) -> float:
        """S0 / F0 seconds."""
        return self.config.stride / self.config.sample_rate

    @property
    def first_norm(self) -> nn.Module | None:
        """The norm that sees what `seen` gives, if it has a weight and a bias for each feature: fitted to data before training."""
        return None

    def fit_statistics(self, mixtures: Sequence[Tensor]) -> None:
        """Fits `first_norm` (see `fit_norm`), and measures the levels of `dead_fill`.

        Args:
            mixtures: (channels, time) each, at F0; none of them silent.
        """
        if self.fill is not None:
            calibrate(self, mixtures)
        if self.first_norm is not None:
            with torch.no_grad():
                fit_norm(self.first_norm, [self.seen(self.encode(x[None]).values) for x in mixtures])

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """Analyse.

        Args:
            waveform: (batch, channels, time).
            sample_rate: F in Hz; `current_rate` when omitted.

        Returns:
            Latent of (batch * channels, features, frames), as many frames as cover the signal: ceil(duration / hop) with
            the default padding (as published in `reference` flavour).

        Raises:
            InputError: integer samples, or a rate outside 4 ... 192 kHz.
        """
        rate = self.check_rate(sample_rate)
        check_floating(waveform)
        x = to_items(waveform.to(at_least_float32(waveform.dtype)))
        if self.config.flavour == "native" and self.config.pad_multiple is not None:
            x = functional.pad(x, (0, self._multiple_length(x.shape[-1], rate) - x.shape[-1]))
        elif self.config.flavour == "native" and self.config.pad_end:
            x = functional.pad(x, (0, self._covered_length(x.shape[-1], rate) - x.shape[-1]))
        elif self.encoder.num_frames(x.shape[-1], rate) < 1:
            x = functional.pad(x, (0, math.ceil(self.encoder.duration * rate)))
        values = self.encoder(x, rate)
        frequencies = self.encoder.center_frequencies()
        if self.config.latent == "relu":
            values = values.relu()
        elif self.config.latent == "complex":
            values = torch.complex(*values.chunk(2, dim=1))
            frequencies = frequencies.chunk(2)[0]
        elif self.config.hilbert:
            frequencies = frequencies.repeat(2)
        times = self.encoder.frame_times(values.shape[-1], rate)
        return Latent(values, LatentGrid(times, frequencies, self.alive(rate)))

    def alive(self, sample_rate: float | None = None) -> Tensor:
        """(features,) bool: which features can hold anything at F (`current_rate` when omitted)."""
        alive = self.encoder.alive(self._rate(sample_rate))
        return alive.chunk(2)[0] if self.config.latent == "complex" else alive

    def _covered_length(self, length: int, rate: float) -> int:
        """The length, in samples, that has just as many frames as it takes for the decoder to reach sample `length`.

        K frames cover (K - 1) S0 + L0 - 2 p samples at F0.
        """
        config = self.config
        up, down = rate_ratio(primal(rate), config.sample_rate)
        both = config.kernel_size - config.stride if config.padding is None else 2 * config.padding
        beyond = config.kernel_size - both
        frames = max(1, 1 - (beyond * up - length * down) // (config.stride * up))
        return max(length, -(-((frames - 1) * config.stride + beyond) * up // down))

    def _multiple_length(self, length: int, rate: float) -> int:
        """A length, in samples, that has just the frames of the next multiple of `pad_multiple` at F0.

        F0 samples of it: M ceil(length F0 / F / M); its frames, K, reach over (K - 1) S0 + L0 - 2 p of them.
        """
        config = self.config
        assert config.pad_multiple is not None
        up, down = rate_ratio(primal(rate), config.sample_rate)
        multiple = config.pad_multiple
        whole = -(-length * down // (up * multiple)) * multiple
        reach = config.stride if config.padding is None else config.kernel_size - 2 * config.padding
        frames = max(1, (whole - reach) // config.stride + 1)
        return max(length, -(-((frames - 1) * config.stride + reach) * up // down))

    def seen(self, values: Tensor) -> Tensor:
        """What the network sees of a latent's values: themselves where they are real, sqrt |z| where they are complex.

        The first normalisation makes either independent of the gain of the input.
        """
        return compressed_magnitude(values) if values.is_complex() else values

    def predict_masks(self, latent: Latent) -> Tensor:
        """Masks, (items, sources, features, frames); with the softmax they sum to one over the sources.

        Dead features, those that are alive at F0 and not on the latent's grid, are treated as `alive_norm` and `dead_fill` say. Where there
        are none, at F0 above all, the network is called as it is. With `gate_db` what it says is gated.

        Raises:
            InputError: `dead_fill` without levels (see `calibrate`).
        """
        masks = self._ungated(latent)
        if self.config.gate_db is None:
            return masks
        return gated(masks, latent.values, self.config.gate_db, self.frame_period)

    def _ungated(self, latent: Latent) -> Tensor:
        """What the network says."""
        values = self.seen(latent.values)
        dtype = next((x.dtype for x in self.masker.parameters()), values.dtype)  # half where the model is
        if not (self.config.alive_norm or self.fill):
            return self.masker(values.to(dtype))
        alive = latent.grid.alive | ~self.alive()
        branchless = torch.compiler.is_compiling() and self.fill is not None and self.fill.frozen
        if not branchless and alive.all():
            return self.masker(values.to(dtype))
        if self.fill is not None:
            values = self.fill(values, alive)
        return (
            self.masker(values.to(dtype), alive) if self.config.alive_norm else self.masker(values.to(dtype))
        )

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise.

        Args:
            latents: (items, sources, features, frames).
            sample_rate: F in Hz; `current_rate` when omitted.
            length: samples wanted; by default what the frames cover.

        Returns:
            (items, sources, time).
        """
        rate = self.check_rate(sample_rate)
        z = rearrange(latents, "i s f k -> (i s) f k")
        if z.is_complex():
            z = torch.cat([z.real, z.imag], dim=1)
        if self.config.flavour == "reference" and length is not None:
            # the published layer ends before the last frame does; what is left of the input stays silent
            y = self.decoder(z, rate)
            y = functional.pad(y, (0, length - y.shape[-1]))  # a negative padding cuts
        else:
            y = self.decoder(z, rate, length)
        return rearrange(y, "(i s) 1 t -> i s t", s=latents.shape[1])
