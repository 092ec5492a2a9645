"""SuDoRM-RF with SFI encoder and decoder: successive downsampling and resampling of multi-resolution features.

A U-ConvBlock looks at the frames at Q time scales, each with half the frames of the one before, and adds them up again:

    x -> expand -> depthwise -> depthwise, stride 2 -> ... -> depthwise, stride 2
                       |               |                           |
                       + <-- twice --- + <-- twice --- ... --------+         -> norm, PReLU -> reduce -> + x

Sources: Tzinis, Wang and Smaragdis, MLSP 2020, arXiv:2007.06833 ("original"); Tzinis, Wang, Jiang and Smaragdis, Journal of Signal
Processing Systems 94:245, 2022, arXiv:2103.02644 ("improved"); as SFI network in arXiv:2309.12581.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.models.filterbank import FilterbankConfig, FilterbankSeparator
from sfi_zoo.models.parts.cheap_gradients import Depthwise, PReLU
from sfi_zoo.models.parts.config import check_choice, check_size, later
from sfi_zoo.models.parts.masks import MASKS, masks_from
from sfi_zoo.models.parts.norms import create_norm, over_alive
from sfi_zoo.models.parts.pointwise import Pointwise

VARIANTS = ("improved", "original")
KERNEL = 5  # of the depthwise convolutions


@dataclass(frozen=True)
class SuDoRMRFConfig(FilterbankConfig):
    """Everything that makes a SuDoRM-RF; `config.json` holds exactly these.

    The network of the MLSP paper, SuDoRM-RF 1.0x, with learned kernels at 8 kHz:

        SuDoRMRFConfig(("one", "two"), 8000, 512, 21, 10, latent="relu", filters="interpolated", padding=10, hidden=512,
            levels=5, variant="original")

    Attributes, beside those of `FilterbankConfig`:
        bottleneck: channels between blocks (C).
        hidden: channels within a block (C_U).
        blocks: U-ConvBlocks (B).
        levels: time scales of a block (Q), each with half the frames of the one before.
        variant: "improved" (a plain residual in a block; all masks from one 1x1 convolution), or "original" (two norms and a PReLU
            around the residual; masks from one convolution over the features for each source).
        mask: "softmax" over the sources (the original), "sigmoid", "relu" (the improved) or "linear".
        channel_slopes: the second PReLU of a block has a slope for each channel, as always in the original; else one for all of them.
    """

    bottleneck: int = 128
    hidden: int = 256
    blocks: int = 16
    levels: int = 5
    variant: str = "improved"
    mask: str = "softmax"
    channel_slopes: bool = later(False)

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_choice(self, "variant", VARIANTS)
        check_choice(self, "mask", MASKS)
        check_choice(self, "channel_slopes", (False, True))
        for name in ("bottleneck", "hidden", "blocks", "levels"):
            check_size(self, name)


class UConvBlock(nn.Module):
    """One block, see above: (items, bottleneck, frames) -> the same shape, any number of frames.

    Where the frames are no multiple of 2^(Q-1), a coarser scale reaches beyond the end of the finer one, and is cut there: no zeros are
    appended, which the norms would see.

    Args:
        bottleneck: channels of input and output.
        hidden: channels within.
        levels: Q.
        original: the block of the MLSP paper: PReLUs with a slope for each channel, out = PReLU(norm(norm(reduced) + x)).
        channel_slopes: the second PReLU has them in the other block too.
    """

    def __init__(
        self, bottleneck: int, hidden: int, levels: int, original: bool, channel_slopes: bool = False
    ) -> None:
        super().__init__()
        self.expand = Pointwise(bottleneck, hidden)
        self.norm_1 = create_norm("global", 1, hidden)
        self.prelu_1 = PReLU(hidden if original else 1)
        self.scales = nn.ModuleList(
            nn.Sequential(
                Depthwise(hidden, KERNEL, stride, padding=KERNEL // 2),
                create_norm("global", 1, hidden),
            )
            for stride in (1, *[2] * (levels - 1))
        )
        self.norm_2 = create_norm("global", 1, hidden)
        self.prelu_2 = PReLU(hidden if original or channel_slopes else 1)
        self.reduce = Pointwise(hidden, bottleneck)
        self.norm_3 = create_norm("global", 1, bottleneck) if original else nn.Identity()
        self.norm_4 = create_norm("global", 1, bottleneck) if original else nn.Identity()
        self.prelu_3 = PReLU(bottleneck) if original else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(items, bottleneck, frames) -> the same shape."""
        h = self.prelu_1(self.norm_1(self.expand(x)))
        finer = []
        for scale in self.scales:
            h = scale(h)
            finer.append(h)
        h = finer.pop()
        while finer:
            scale = finer.pop()
            h = scale + functional.interpolate(h, scale_factor=2)[..., : scale.shape[-1]]
        h = self.reduce(self.prelu_2(self.norm_2(h)))
        return self.prelu_3(self.norm_4(self.norm_3(h) + x))


class FeatureConvolution(nn.Module):
    r"""Scores of a source as one convolution over the features, the mask layer of the MLSP paper.

        scores_sfk = bias_s + sum_j weight_sj x_(f + j - p)k,   j = 0 ... N,   p = ceil(N / 2)

    where x is zero outside of features 0 ... N - 1: a 1x1 convolution whose matrix is a Toeplitz matrix, and so it is computed.

    Args:
        features: N.
        sources: number of masks.
    """

    def __init__(self, features: int, sources: int) -> None:
        super().__init__()
        bound = (features + 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(sources, features + 1).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(sources).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(items, features, frames) -> (items, sources, features, frames)."""
        features = x.shape[1]
        half = features - features // 2
        # row f of the matrix is the padded weight from position features - f on: column g holds weight_(g - f + p)
        padded = functional.pad(self.weight, (features - half, half))
        matrix = padded.unfold(-1, features, 1)[:, 1 : features + 1].flip(1)
        return torch.einsum("sfg,igk->isfk", matrix, x) + self.bias[:, None, None]


class SuDoRMRFMasker(nn.Module):
    """Masks of all sources from real features by U-ConvBlocks.

    Args:
        config: the sizes.
    """

    def __init__(self, config: SuDoRMRFConfig) -> None:
        super().__init__()
        features, sources = config.features, len(config.sources)
        original = config.variant == "original"
        self.mask = config.mask
        self.norm = create_norm("global", 1, features)
        self.bottleneck = Pointwise(features, config.bottleneck)
        self.blocks = nn.Sequential(
            *(
                UConvBlock(config.bottleneck, config.hidden, config.levels, original, config.channel_slopes)
                for _ in range(config.blocks)
            )
        )
        if original:
            same = config.bottleneck == features
            self.widen: nn.Module = nn.Identity() if same else Pointwise(config.bottleneck, features)
            self.output: nn.Module = FeatureConvolution(features, sources)
        else:
            self.widen = PReLU()
            self.output = nn.Sequential(
                Pointwise(config.bottleneck, sources * features), nn.Unflatten(1, (sources, features))
            )

    def forward(self, x: Tensor, alive: Tensor | None = None) -> Tensor:
        """(items, features, frames) -> masks (items, sources, features, frames).

        With `alive`, (features,) bool, the first norm leaves the other features out of its statistics: see `over_alive`.
        """
        x = self.blocks(self.bottleneck(over_alive(self.norm, x, alive)))
        return masks_from(self.output(self.widen(x)), self.mask)


class SuDoRMRF(FilterbankSeparator):
    """SFI SuDoRM-RF: U-ConvBlocks between SFI encoder and decoder.

    One decoder serves all sources; the MLSP paper's has learned kernels for each. `filters="interpolated"` is the plain twin.
    """

    architecture = "sudormrf"
    config_class = SuDoRMRFConfig
    config: SuDoRMRFConfig
    masker: SuDoRMRFMasker

    def __init__(self, config: SuDoRMRFConfig) -> None:
        super().__init__(config)
        self.masker = SuDoRMRFMasker(config)

    @property
    def first_norm(self) -> nn.Module:
        """Of the `SuDoRMRFMasker`."""
        return self.masker.norm
