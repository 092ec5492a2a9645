r"""Spleeter on the SFI STFT: for each source a U-Net over frames and bins that estimates its magnitude, and masks that are their shares.

    x = |X| below the highest bin that is seen,   e_s = x sigmoid(U_s(x)),   mask_s = (e_s^2 + c / S) / (sum_s e_s^2 + c),   c = 1e-10

U_s halves frames and bins six times, with convolutions of 5 x 5 frames and bins, and doubles them again; frames go through it in
blocks of 512, which begin at 0 s, the last one filled up with silence. What lies above the bins that are seen is in no stem, or has the
mean of the masks below.

Source: Hennequin, Khlif, Voituret and Moussallam, Journal of Open Source Software 5(50):2154, 2020; the U-Net: Jansson et al., ISMIR 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Latent
from sfi_zoo.models.parts.config import check_choice, check_dropout, check_size
from sfi_zoo.models.parts.dead_features import FILLS, DeadFill, calibrate
from sfi_zoo.models.stft import STFTConfig, STFTSeparator

KERNEL = 5
MOST_FRAMES = 2**16  # in a block
RATIO_FLOOR = 1e-10  # c, of squared magnitudes
NORM_FLOOR = 1e-3
SLOPE = 0.2  # of the leaky rectifier
ACTIVATIONS = ("relu", "elu")
ESTIMATES = ("sigmoid", "softmax")
EXTENSIONS = ("zeros", "average")


@dataclass(frozen=True)
class SpleeterConfig(STFTConfig):
    """Everything that makes a Spleeter; `config.json` holds exactly these.

    The published networks: two stems, `SpleeterConfig()`; four, `SpleeterConfig(("vocals", "drums", "bass", "other"), activation="elu")`;
    five, `SpleeterConfig(("vocals", "piano", "drums", "bass", "other"), activation="elu", estimate="softmax")`. The 16 kHz editions
    see 1536 bins.

    Attributes, beside those of `STFTConfig`:
        seen: bins that the networks see and mask, from 0 Hz on.
        block: frames that a network sees at once.
        widths: channels after each halving.
        activation: "relu" (leaky on the way down), or "elu" on both ways.
        estimate: magnitudes are estimated with a "sigmoid" for each source, or with the "softmax" over the sources.
        extension: masks above the bins that are seen: "zeros", or the "average" over the bins that are.
        dropout: in the first half of the way up, in training.
        dead_fill: what the networks see in bins above F / 2: False, the zeros that are there; "level" or "noise", see
            `sfi_zoo.models.parts.dead_features`.
    """

    sources: tuple[str, ...] = ("vocals", "accompaniment")
    n_fft: int = 4096
    hop_length: int = 1024
    channels: int = 2
    pad_mode: str = "constant"
    seen: int = 1024
    block: int = 512
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    activation: str = "relu"
    estimate: str = "sigmoid"
    extension: str = "zeros"
    dropout: float = 0.5
    dead_fill: bool | str = False

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_size(self, "seen")
        check_size(self, "block")
        if self.block > MOST_FRAMES:
            raise InputError(f"block must be {MOST_FRAMES} frames or less, got {self.block}")
        check_choice(self, "activation", ACTIVATIONS)
        check_choice(self, "estimate", ESTIMATES)
        check_choice(self, "extension", EXTENSIONS)
        check_choice(self, "dead_fill", (False, *FILLS))
        check_dropout(self)
        whole = all(isinstance(x, int) and not isinstance(x, bool) and x > 0 for x in self.widths)
        if not 0 < len(self.widths) <= 16 or not whole:
            raise InputError(f"widths must be 1 to 16 positive whole numbers, got {self.widths!r}")
        step = 2 ** len(self.widths)
        for name in ("seen", "block"):
            if getattr(self, name) % step:
                raise InputError(
                    f"{name} must be a multiple of 2^{len(self.widths)} ({step}), got {getattr(self, name)}"
                )
        if self.seen > self.bins:
            raise InputError(f"seen must be at most the number of bins ({self.bins}), got {self.seen}")


class UNet(nn.Module):
    """Scores of one source for each bin that is seen.

    Args:
        config: the settings.
    """

    def __init__(self, config: SpleeterConfig) -> None:
        super().__init__()
        self.dropout, elu = config.dropout, config.activation == "elu"
        self.down_activation: nn.Module = nn.ELU() if elu else nn.LeakyReLU(SLOPE)
        self.up_activation: nn.Module = nn.ELU() if elu else nn.ReLU()
        widths = config.widths
        self.downs = nn.ModuleList(
            nn.Conv2d(low, high, KERNEL, stride=2) for low, high in pairwise((config.channels, *widths))
        )
        self.down_norms = nn.ModuleList(_norm(width) for width in widths[:-1])
        outs = (*widths[-2::-1], 1)
        ins = (widths[-1], *(2 * width for width in widths[-2::-1]))
        # 2 n + 1 values out of n; the last one is cut off
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, KERNEL, stride=2, padding=1) for a, b in zip(ins, outs, strict=True)
        )
        self.up_norms = nn.ModuleList(_norm(width) for width in outs)
        self.last = nn.Conv2d(1, config.channels, 4, dilation=2, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Magnitudes (blocks, channels, frames, bins) -> scores of the same shape."""
        finer: list[Tensor] = []
        for number, down in enumerate(self.downs):
            if number:
                x = self.down_activation(self.down_norms[number - 1](x))
            x = down(functional.pad(x, (1, 2, 1, 2)))
            finer.append(x)
        x = finer.pop()
        for number, (up, norm) in enumerate(zip(self.ups, self.up_norms, strict=True)):
            if number:
                x = torch.cat([finer.pop(), x], dim=1)
            x = norm(self.up_activation(up(x)[..., :-1, :-1]))
            if number < len(self.ups) // 2:
                x = functional.dropout(x, self.dropout, self.training)
        scores: Tensor = self.last(x)
        return scores


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=NORM_FLOOR, momentum=0.01)


class Spleeter(STFTSeparator):
    """Spleeter: a `UNet` for each source, between STFT and its inverse."""

    architecture = "spleeter"
    config_class = SpleeterConfig
    config: SpleeterConfig

    def __init__(self, config: SpleeterConfig) -> None:
        super().__init__(config)
        self.networks = nn.ModuleList(UNet(config) for _ in config.sources)
        constant = config.dead_fill == "level"
        self.fill = DeadFill(config.seen, "magnitude", constant) if config.dead_fill else None

    @property
    def chunk_seconds(self) -> float:
        """As many frames as one block has."""
        return (self.config.block - 1) * self.config.hop_length / self.config.sample_rate

    def seen(self, values: Tensor) -> Tensor:
        """Magnitudes that the networks see of a latent's values: (items x channels, bins, frames)."""
        magnitudes = values.unflatten(1, (self.config.channels, -1))[:, :, : self.config.seen].abs()
        return magnitudes.flatten(0, 1)

    def fit_statistics(self, mixtures: Sequence[Tensor]) -> None:
        """Measures the levels of `dead_fill`.

        Args:
            mixtures: (channels, time) each, at F0; none of them silent.
        """
        if self.fill is not None:
            calibrate(self, mixtures)

    def predict_masks(self, latent: Latent) -> Tensor:
        """Masks, (items, sources, features, frames): they sum to one in the bins that are seen; zero for dead features.

        Raises:
            InputError: `dead_fill` without levels (see `calibrate`).
        """
        config, frames = self.config, latent.values.shape[-1]
        x = self.seen(latent.values).to(next(self.networks.parameters()).dtype)
        alive = latent.grid.alive[: config.seen]
        if self.fill is not None and not alive.all():
            x = self.fill(x, alive)
        x = functional.pad(x, (0, -frames % config.block))
        x = rearrange(x, "(i c) f (n t) -> (i n) c t f", c=config.channels, t=config.block)
        scores = torch.stack([network(x) for network in self.networks], dim=1)
        shares = scores.softmax(1) if config.estimate == "softmax" else scores.sigmoid()
        energies = (shares * x[:, None]).square()
        masks = (energies + RATIO_FLOOR / len(self.sources)) / (energies.sum(1, keepdim=True) + RATIO_FLOOR)
        masks = rearrange(masks, "(i n) s c t f -> i s c f (n t)", i=len(latent.values) or 1)[..., :frames]
        above = (0, 0, 0, config.bins - config.seen)
        if config.extension == "average":
            mean = masks.mean(3, keepdim=True).expand(-1, -1, -1, above[-1], -1)
            masks = torch.cat([masks, mean], dim=3)
        else:
            masks = functional.pad(masks, above)
        return masks.flatten(2, 3) * latent.grid.alive[:, None]
