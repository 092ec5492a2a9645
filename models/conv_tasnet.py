"""Conv-TasNet with SFI encoder and decoder.

waveform -> SFIConv1d -> latent -> MaskTCN -> masks -> masks * latent -> SFIConvTranspose1d -> stems

Sources: Luo and Mesgarani, IEEE/ACM TASLP 27:1256, 2019 (Conv-TasNet); Saito et al., IEEE/ACM TASLP 30:2928, 2022 (SFI Conv-TasNet,
the grouped network with a branch for each instrument).
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.filters import ModulatedGaussian
from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.models.base import Latent, LatentGrid, Separator, check_floating, to_items
from sfi_zoo.models.tcn import MaskTCN

MAGNITUDE_FLOOR = 1e-12  # |z|^2 at which a magnitude counts as silence: -120 dB


@dataclass(frozen=True)
class ConvTasNetConfig:
    """Everything that makes a Conv-TasNet; `config.json` holds exactly these.

    Attributes:
        sources: names, in output order.
        sample_rate: F0 in Hz.
        features: size of the latent.
        kernel_size: L0, encoder kernel in samples at F0.
        stride: S0, hop in samples at F0.
        latent: "relu" (real, rectified), "linear" (real), or "complex" (quadrature pairs; the network sees sqrt |z|).
        filters: filter family of encoder and decoder.
        encoder_filters: options of the encoder's bank.
        decoder_filters: options of the decoder's bank.
        design: "time" or "frequency".
        flavour: "native" or "reference".
        taper: fraction of the kernel that the compact taper takes (native).
        frequency_points: grid of the reference frequency-domain design.
        hilbert: discrete Hilbert pairs (reference).
        branches: 1 (shared trunk) or the number of sources (a network for each).
        bottleneck: channels between blocks (B), per branch.
        hidden: channels within a block (H), per branch.
        kernel: kernel of the depthwise convolutions (P).
        layers: blocks per repeat (X), dilations 1, 2, ..., 2^(X-1).
        repeats: R.
        norm_groups: groups of each GroupNorm, per branch.
        residual_bias: biases in the residual and skip convolutions.
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
    branches: int = 1
    bottleneck: int = 128
    hidden: int = 256
    kernel: int = 3
    layers: int = 8
    repeats: int = 2
    norm_groups: int = 1
    residual_bias: bool = False

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        if self.latent not in ("relu", "linear", "complex"):
            raise InputError(f"latent must be 'relu', 'linear' or 'complex', got {self.latent!r}")
        if self.branches not in (1, len(self.sources)):
            raise InputError(
                f"branches must be 1 or the number of sources ({len(self.sources)}), got {self.branches}"
            )
        if len(set(self.sources)) != len(self.sources) or not self.sources:
            raise InputError(f"sources must be distinct names, got {self.sources}")
        for name in (
            "sample_rate",
            "features",
            "kernel_size",
            "stride",
            "bottleneck",
            "hidden",
            "kernel",
            "layers",
            "repeats",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a positive whole number, got {value!r}")


def compressed_magnitude(values: Tensor) -> Tensor:
    """sqrt |z| of a complex latent, with a floor that keeps its gradient finite: what the network sees."""
    power = torch.view_as_real(values).square().sum(-1)
    return (power + MAGNITUDE_FLOOR) ** 0.25


class ConvTasNet(Separator):
    """SFI Conv-TasNet: every channel is an item of its own.

    Cost per second of audio: the network's does not depend on the sampling frequency (the hop is fixed in
    seconds); encoder and decoder grow in proportion to it. Memory grows linearly with the length: use `separate` for long signals.
    """

    architecture = "convtasnet"
    config_class = ConvTasNetConfig

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.config = config
        complex_latent = config.latent == "complex"
        filters = config.features * (2 if complex_latent else 1)
        pairs = {"quadrature": True} if complex_latent else {}
        gains = {"gain": True} if complex_latent else {}
        common: dict[str, Any] = {
            "kernel_size": config.kernel_size,
            "stride": config.stride,
            "padding": "centered",
            "sample_rate": config.sample_rate,
            "filters": config.filters,
            "design": config.design,
            "flavour": config.flavour,
            "taper": config.taper,
            "frequency_points": config.frequency_points,
            "hilbert": config.hilbert,
        }
        self.encoder = SFIConv1d(1, filters, filter_options=pairs | config.encoder_filters, **common)
        self.decoder = SFIConvTranspose1d(
            filters, 1, filter_options=pairs | gains | config.decoder_filters, **common
        )
        if complex_latent:
            # start from a decoder that inverts the encoder
            analysis, synthesis = self.encoder.filters, self.decoder.filters
            if not isinstance(synthesis, ModulatedGaussian):
                raise InputError(
                    f"latent='complex' needs filters='modulated_gaussian', got {config.filters!r}"
                )
            synthesis.load_state_dict(analysis.state_dict(), strict=False)
            synthesis.set_dual_gains(config.stride)
        self.masker = MaskTCN(
            config.features,
            len(config.sources),
            config.branches,
            config.bottleneck,
            config.hidden,
            config.kernel,
            config.layers,
            config.repeats,
            config.norm_groups,
            config.residual_bias,
        )

    @property
    def frame_period(self) -> float:
        """S0 / F0 seconds."""
        return self.config.stride / self.config.sample_rate

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """Analyse.

        Args:
            waveform: (batch, channels, time).
            sample_rate: F in Hz; F0 when omitted.

        Returns:
            Latent of (batch * channels, features, frames), frames = ceil(duration / hop) (as published in `reference` flavour).

        Raises:
            InputError: integer samples, or a rate outside 4 ... 192 kHz.
        """
        rate = self.check_rate(sample_rate)
        check_floating(waveform)
        x = to_items(waveform)
        if self.config.flavour == "native":
            x = functional.pad(x, (0, self._padded_length(x.shape[-1], rate) - x.shape[-1]))
        elif self.encoder.num_frames(x.shape[-1], rate) < 1:
            x = functional.pad(x, (0, math.ceil(self.encoder.duration * rate)))
        values = self.encoder(x, rate)
        frequencies, alive = self.encoder.filters.center_frequencies(), self.encoder.alive(rate)
        if self.config.latent == "relu":
            values = values.relu()
        elif self.config.latent == "complex":
            values = torch.complex(*values.chunk(2, dim=1))
            frequencies, alive = frequencies.chunk(2)[0], alive.chunk(2)[0]
        elif self.config.hilbert:
            frequencies = frequencies.repeat(2)
        times = self.encoder.frame_times(values.shape[-1], rate)
        return Latent(values, LatentGrid(times, frequencies, alive))

    def _padded_length(self, length: int, rate: float) -> int:
        """The whole number of hops that covers `length` samples, in samples (rounded up)."""
        hop = self.encoder.frame_grid(rate).hop
        return math.ceil(math.ceil(length / hop) * hop)

    def predict_masks(self, latent: Latent) -> Tensor:
        """Masks in (0, 1) that sum to one over the sources: (items, sources, features, frames).

        A complex latent is seen as sqrt |z|, which the first normalisation makes independent of the gain of the input.
        """
        values = latent.values
        if values.is_complex():
            values = compressed_magnitude(values)
        return self.masker(values)

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise.

        Args:
            latents: (items, sources, features, frames).
            sample_rate: F in Hz; F0 when omitted.
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
