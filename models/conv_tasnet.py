"""Conv-TasNet with SFI encoder and decoder.

waveform -> SFIConv1d -> latent -> MaskTCN -> masks -> masks * latent -> SFIConvTranspose1d -> stems

Sources: Luo and Mesgarani, IEEE/ACM TASLP 27:1256, 2019 (Conv-TasNet); Saito et al., IEEE/ACM TASLP 30:2928, 2022 (SFI Conv-TasNet,
the grouped network with a branch for each instrument).
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.filters import ModulatedGaussian
from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.layers.sample_rate import primal
from sfi_zoo.models.base import Latent, LatentGrid, Separator, check_floating, to_items
from sfi_zoo.models.norms import NORMS
from sfi_zoo.models.tcn import MASKS, MaskTCN

MAGNITUDE_FLOOR = 1e-12  # |z|^2 at which a magnitude counts as silence: -120 dB
LATENTS = ("relu", "linear", "complex")
SIZES = (
    "sample_rate",
    "features",
    "kernel_size",
    "stride",
    "bottleneck",
    "hidden",
    "kernel",
    "layers",
    "repeats",
    "norm_groups",
)


def _later(default: Any) -> Any:
    """A setting that the first published files do not have yet: without it they mean the default."""
    return field(default=default, metadata={"later": True})


@dataclass(frozen=True)
class ConvTasNetConfig:
    """Everything that makes a Conv-TasNet; `config.json` holds exactly these.

    The paper's network as most have trained it (learned kernels, gLN, one network for all sources), at 8 kHz:

        ConvTasNetConfig(("one", "two"), 8000, 512, 16, 8, latent="relu", filters="interpolated", padding=0, bottleneck=128,
            hidden=512, repeats=3, bias=True, residual_bias=True, dense_norms=False, mask="sigmoid")

    Attributes:
        sources: names, in output order.
        sample_rate: F0 in Hz.
        features: size of the latent (N).
        kernel_size: L0, encoder kernel in samples at F0.
        stride: S0, hop in samples at F0.
        latent: "relu" (real, rectified), "linear" (real), or "complex" (quadrature pairs; the network sees sqrt |z|).
        filters: filter family of encoder and decoder; "interpolated" are learned kernels, at F0 a plain convolution.
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
        kernel: kernel of the depthwise convolutions (P), odd unless `causal`.
        layers: blocks per repeat (X), dilations 1, 2, ..., 2^(X-1).
        repeats: R.
        norm_groups: groups of each norm, per branch.
        residual_bias: biases in the residual and skip convolutions.
        padding: zeros on both sides of the signal in samples at F0; None for (L0 - S0) / 2.
        pad_end: zeros at the end until the frames cover the signal; without, what is left over stays silent (native).
        norm: statistics of the norms: "global" (gLN), "feature", "frame", "cumulative" (cLN of the paper), "batch".
        dense_norms: a PReLU and a norm before and after the bottleneck and the last convolution, as in the published SFI Conv-TasNet.
        bias: biases in the other convolutions of the network.
        skip: channels of the skip outputs (Sc), per branch; None for `bottleneck`, 0 for no skip outputs.
        last_residual: the last block has a residual output, which nobody uses.
        causal: the network sees no later frames; needs the norm "frame", "cumulative" or "batch".
        mask: "softmax" over the sources, "sigmoid", "relu" or "linear".
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
    padding: int | None = _later(None)
    pad_end: bool = _later(True)
    norm: str = _later("global")
    dense_norms: bool = _later(True)
    bias: bool = _later(False)
    skip: int | None = _later(None)
    last_residual: bool = _later(True)
    causal: bool = _later(False)
    mask: str = _later("softmax")

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        for name, allowed in (("latent", LATENTS), ("norm", NORMS), ("mask", MASKS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        named = isinstance(self.sources, tuple) and all(isinstance(x, str) and x for x in self.sources)
        if not named or not self.sources or len(set(self.sources)) != len(self.sources):
            raise InputError(f"sources must be distinct names, got {self.sources!r}")
        if self.branches not in (1, len(self.sources)):
            raise InputError(
                f"branches must be 1 or the number of sources ({len(self.sources)}), got {self.branches}"
            )
        for name in SIZES:
            if not _is_whole(getattr(self, name), 1):
                raise InputError(f"{name} must be a positive whole number, got {getattr(self, name)!r}")
        for name in ("padding", "skip"):
            value = getattr(self, name)
            if value is not None and not _is_whole(value, 0):
                raise InputError(f"{name} must be a whole number, 0 or more, or None; got {value!r}")
        for name in ("features", "bottleneck", "hidden", "skip"):
            value = getattr(self, name)
            if value is not None and value % self.norm_groups:
                raise InputError(
                    f"{name} must be a multiple of norm_groups ({self.norm_groups}), got {value}"
                )
        if self.causal and self.norm in ("global", "feature"):
            raise InputError(
                f"causal needs the norm frame, cumulative or batch; got {self.norm!r}, which looks ahead"
            )
        if not self.causal and self.kernel % 2 == 0:
            raise InputError(f"kernel must be odd unless causal, got {self.kernel}")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


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
            "padding": "centered" if config.padding is None else config.padding,
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
            features=config.features,
            sources=len(config.sources),
            branches=config.branches,
            bottleneck=config.bottleneck,
            hidden=config.hidden,
            skip=config.bottleneck if config.skip is None else config.skip,
            kernel=config.kernel,
            layers=config.layers,
            repeats=config.repeats,
            norm=config.norm,
            norm_groups=config.norm_groups,
            dense_norms=config.dense_norms,
            bias=config.bias,
            residual_bias=config.residual_bias,
            last_residual=config.last_residual,
            causal=config.causal,
            mask=config.mask,
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
            Latent of (batch * channels, features, frames), as many frames as cover the signal: ceil(duration / hop) with
            the default padding (as published in `reference` flavour).

        Raises:
            InputError: integer samples, or a rate outside 4 ... 192 kHz.
        """
        rate = self.check_rate(sample_rate)
        check_floating(waveform)
        x = to_items(waveform)
        if self.config.flavour == "native" and self.config.pad_end:
            x = functional.pad(x, (0, self._covered_length(x.shape[-1], rate) - x.shape[-1]))
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

    def _covered_length(self, length: int, rate: float) -> int:
        """The length, in samples, that has just as many frames as it takes for the decoder to reach sample `length`.

        K frames cover (K - 1) S0 + L0 - 2 p samples at F0.
        """
        config, ratio = self.config, Fraction(primal(rate)) / self.config.sample_rate
        both = config.kernel_size - config.stride if config.padding is None else 2 * config.padding
        beyond = config.kernel_size - both
        frames = max(1, math.ceil((length / ratio - beyond) / config.stride) + 1)
        return max(length, math.ceil(((frames - 1) * config.stride + beyond) * ratio))

    def predict_masks(self, latent: Latent) -> Tensor:
        """Masks, (items, sources, features, frames); with the softmax they sum to one over the sources.

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
