"""Open-Unmix on the SFI STFT: for each source a recurrent network that sees magnitudes and gives the mask of its own.

|X| -> crop, shift, scale -> fc1, bn1, tanh -> LSTM -> with its input: fc2, bn2, relu -> fc3, bn3 -> scale, shift, relu -> mask

The stems have the phases of the mixture. The multichannel Wiener filter that openunmix offers after this (its `niter`) is not elementwise
in time and frequency, so it is no mask and not here: outputs are those of `niter=0`.

Source: Stöter, Uhlich, Liutkus and Mitsufuji, Journal of Open Source Software 4(41):1667, 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Latent
from sfi_zoo.models.parts.config import check_choice, check_dropout, check_size
from sfi_zoo.models.stft import STFTConfig, STFTSeparator

SCALE_FLOOR = 1e-4  # of the largest deviation, as in openunmix
RATIO_FLOOR = 1e-10  # magnitude below which the ratio of estimates is no longer one


@dataclass(frozen=True)
class OpenUnmixConfig(STFTConfig):
    """Everything that makes an Open-Unmix; `config.json` holds exactly these.

    The published umxhq: `OpenUnmixConfig(channels=2, hidden=512)`; umxl: `OpenUnmixConfig(channels=2, hidden=1024)`.

    Attributes, beside those of `STFTConfig`:
        hidden: size between the layers; the LSTM has half of it per direction.
        layers: of the LSTM.
        bandwidth: bins above are not seen, in Hz; None sees all. There are masks for all of them.
        causal: the LSTM sees no later frames, and has `hidden` units in its one direction.
        dropout: between layers of the LSTM, in training.
        mask: "relu", what the network of a source gives; or "ratio", the share that its estimate of the magnitude has in the sum of all.
    """

    n_fft: int = 4096
    hop_length: int = 1024
    hidden: int = 80
    layers: int = 3
    bandwidth: float | None = 16000.0
    causal: bool = False
    dropout: float = 0.4
    mask: str = "relu"

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_size(self, "hidden")
        check_size(self, "layers")
        check_choice(self, "causal", (False, True))
        check_choice(self, "mask", ("relu", "ratio"))
        if not self.causal and self.hidden % 2:
            raise InputError(f"hidden must be even unless causal, got {self.hidden}")
        check_dropout(self)
        if self.bandwidth is not None and not (
            isinstance(self.bandwidth, (int, float)) and self.bandwidth > 0
        ):
            raise InputError(
                f"bandwidth must be a positive number of Hz, or None for all bins; got {self.bandwidth!r}"
            )

    @property
    def seen_bins(self) -> int:
        """Bins up to the bandwidth."""
        if self.bandwidth is None or 2 * self.bandwidth >= self.sample_rate:
            return self.bins
        return min(self.bins, int(self.bandwidth * self.n_fft / self.sample_rate) + 1)


class OpenUnmixTarget(nn.Module):
    """The network of one source; its weights have the names they have in openunmix.

    Args:
        config: the settings.
    """

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__()
        hidden, features = config.hidden, config.channels * config.bins
        self.input_mean = nn.Parameter(torch.zeros(config.seen_bins))
        self.input_scale = nn.Parameter(torch.ones(config.seen_bins))
        self.output_mean = nn.Parameter(torch.ones(config.bins))
        self.output_scale = nn.Parameter(torch.ones(config.bins))
        self.fc1 = nn.Linear(config.channels * config.seen_bins, hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            hidden,
            hidden if config.causal else hidden // 2,
            config.layers,
            bidirectional=not config.causal,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.fc2 = nn.Linear(2 * hidden, hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(hidden)
        self.fc3 = nn.Linear(hidden, features, bias=False)
        self.bn3 = nn.BatchNorm1d(features)

    def forward(self, magnitude: Tensor) -> Tensor:
        """The mask: (items, channels, bins, frames) -> the same shape, not negative."""
        x = magnitude[..., : len(self.input_mean), :].permute(3, 0, 1, 2)
        frames, items, channels, _ = x.shape
        x = (x + self.input_mean) * self.input_scale
        x = self.bn1(self.fc1(x.flatten(2).flatten(0, 1))).tanh()
        heard = self.lstm(x.unflatten(0, (frames, items)))[0].flatten(0, 1)
        x = self.bn2(self.fc2(torch.cat([x, heard], dim=-1))).relu()
        x = self.bn3(self.fc3(x)).view(frames, items, channels, -1)
        return (x * self.output_scale + self.output_mean).relu().permute(1, 2, 3, 0)


class OpenUnmix(STFTSeparator):
    """Open-Unmix: an `OpenUnmixTarget` for each source, between STFT and its inverse."""

    architecture = "openunmix"
    config_class = OpenUnmixConfig
    config: OpenUnmixConfig

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__(config)
        self.targets = nn.ModuleList(OpenUnmixTarget(config) for _ in config.sources)

    @torch.no_grad()
    def fit_statistics(self, mixtures: Sequence[Tensor]) -> None:
        """Shift and scale of what the networks see: zero mean and unit variance in each bin, as in openunmix.

        Args:
            mixtures: (channels, time) each, at F0; none of them silent.
        """
        spectra = [
            self.encode(x[None]).values.abs().unflatten(1, (self.config.channels, -1)) for x in mixtures
        ]
        deviation, mean = torch.std_mean(torch.cat(spectra, dim=-1), dim=(0, 1, -1))
        scale = 1 / deviation.clamp(min=SCALE_FLOOR * float(deviation.max()))
        for target in self.targets:
            assert isinstance(target, OpenUnmixTarget)
            target.input_mean.copy_(-mean[: self.config.seen_bins])
            target.input_scale.copy_(scale[: self.config.seen_bins])

    def predict_masks(self, latent: Latent) -> Tensor:
        """Masks, (items, sources, features, frames); zero for dead features, which the networks see as silence."""
        magnitude = latent.values.abs().to(next(self.targets.parameters()).dtype)
        x = magnitude.unflatten(1, (self.config.channels, -1))
        masks = torch.stack([target(x) for target in self.targets], dim=1).flatten(2, 3)
        if self.config.mask == "ratio":
            estimates = masks * magnitude[:, None]
            masks = estimates / (RATIO_FLOOR + estimates.sum(1, keepdim=True))
        return masks * latent.grid.alive[:, None]
