"""Conv-TasNet with SFI encoder and decoder: a mask network of dilated depthwise convolutions.

Sources: Luo and Mesgarani, IEEE/ACM TASLP 27:1256, 2019 (Conv-TasNet); Saito et al., IEEE/ACM TASLP 30:2928, 2022 (SFI Conv-TasNet,
the grouped network with a branch for each instrument).
"""

from dataclasses import dataclass

from torch import nn

from sfi_zoo.errors import InputError
from sfi_zoo.models.filterbank import FilterbankConfig, FilterbankSeparator
from sfi_zoo.models.parts.config import check_choice, check_size, later
from sfi_zoo.models.parts.masks import MASKS
from sfi_zoo.models.parts.norms import NORMS
from sfi_zoo.models.parts.tcn import MaskTCN


@dataclass(frozen=True)
class ConvTasNetConfig(FilterbankConfig):
    """Everything that makes a Conv-TasNet; `config.json` holds exactly these.

    The paper's network as most have trained it (learned kernels, gLN, one network for all sources), at 8 kHz:

        ConvTasNetConfig(("one", "two"), 8000, 512, 16, 8, latent="relu", filters="interpolated", padding=0, bottleneck=128,
            hidden=512, repeats=3, bias=True, residual_bias=True, dense_norms=False, mask="sigmoid")

    Attributes, beside those of `FilterbankConfig`:
        branches: 1 (shared trunk) or the number of sources (a network for each).
        bottleneck: channels between blocks (B), per branch.
        hidden: channels within a block (H), per branch.
        kernel: kernel of the depthwise convolutions (P), odd unless `causal`.
        layers: blocks per repeat (X), dilations 1, 2, ..., 2^(X-1).
        repeats: R.
        norm_groups: groups of each norm, per branch.
        residual_bias: biases in the residual and skip convolutions.
        norm: statistics of the norms: "global" (gLN), "feature", "frame", "cumulative" (cLN of the paper), "batch".
        dense_norms: a PReLU and a norm before and after the bottleneck and the last convolution, as in the published SFI Conv-TasNet.
        bias: biases in the other convolutions of the network.
        skip: channels of the skip outputs (Sc), per branch; None for `bottleneck`, 0 for no skip outputs.
        last_residual: the last block has a residual output, which nobody uses.
        causal: the network sees no later frames; needs the norm "frame", "cumulative" or "batch".
        mask: "softmax" over the sources, "sigmoid", "relu" or "linear".
    """

    branches: int = 1
    bottleneck: int = 128
    hidden: int = 256
    kernel: int = 3
    layers: int = 8
    repeats: int = 2
    norm_groups: int = 1
    residual_bias: bool = False
    norm: str = later("global")
    dense_norms: bool = later(True)
    bias: bool = later(False)
    skip: int | None = later(None)
    last_residual: bool = later(True)
    causal: bool = later(False)
    mask: str = later("softmax")

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_choice(self, "norm", NORMS)
        check_choice(self, "mask", MASKS)
        if self.branches not in (1, len(self.sources)):
            raise InputError(
                f"branches must be 1 or the number of sources ({len(self.sources)}), got {self.branches}"
            )
        for name in ("bottleneck", "hidden", "kernel", "layers", "repeats", "norm_groups"):
            check_size(self, name)
        check_size(self, "skip", optional=True)
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
        if self.causal and self.gate_db is not None:
            raise InputError(f"causal needs gate_db=None, got {self.gate_db}: the gate looks ahead")
        if not self.causal and self.kernel % 2 == 0:
            raise InputError(f"kernel must be odd unless causal, got {self.kernel}")


class ConvTasNet(FilterbankSeparator):
    """SFI Conv-TasNet: a `MaskTCN` between SFI encoder and decoder."""

    architecture = "convtasnet"
    config_class = ConvTasNetConfig
    config: ConvTasNetConfig
    masker: MaskTCN

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__(config)
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
    def first_norm(self) -> nn.Module | None:
        """That of the `MaskTCN`, unless every branch has its own."""
        return self.masker.norm_1 if self.config.branches == 1 else None
