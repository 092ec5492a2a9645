r"""Dual-path networks between SFI encoder and decoder: the frames are cut into overlapping segments, and layers run within and across them.

    frames -> norm, bottleneck -> segments (N, K, S) -> [within: along K, across: along S] x R -> PReLU, N for each source
           -> overlap-add -> tanh(.) sigmoid(.) -> features -> masks

Segments have so many frames, which are the same seconds at every sampling frequency.

Sources: Luo, Chen and Yoshioka, ICASSP 2020, arXiv:1910.06379 (recurrent: DPRNN); Chen, Mao and Liu, Interspeech 2020, arXiv:2007.13975
(attention, then recurrent: DPTNet); Subakan et al., ICASSP 2021, arXiv:2010.13154 (transformers: SepFormer).
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.models.filterbank import FilterbankConfig, FilterbankSeparator
from sfi_zoo.models.parts.config import check_choice, check_dropout, check_size
from sfi_zoo.models.parts.masks import MASKS, masks_from
from sfi_zoo.models.parts.norms import create_norm, over_alive
from sfi_zoo.models.parts.segments import joined, segmented

BLOCKS = ("transformer", "recurrent", "attention_recurrent")
RECURRENT: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
POSITION_BASE = 10000.0
LAYER_FLOOR = 1e-6


@dataclass(frozen=True)
class DualPathTasNetConfig(FilterbankConfig):
    """Everything that makes a dual-path network; `config.json` holds exactly these.

    Attributes, beside those of `FilterbankConfig`:
        block: "transformer" (SepFormer), "recurrent" (DPRNN) or "attention_recurrent" (DPTNet).
        bottleneck: channels of the network (N); None for the features, without a layer before.
        bottleneck_bias: the layer before has a bias.
        segment: frames of a segment (K).
        segment_hop: from one to the next.
        segment_padding: "half": half a segment of zeros at both ends and as many as fill the last one; "whole": a segment at both ends,
            what does not fill the last one is left out.
        averaged: overlapping segments are averaged, else added.
        pairs: R.
        within_layers: layers of a transformer, or of an RNN, within segments.
        across_layers: as many across.
        heads: of the attention.
        hidden: size within a layer: of the perceptron, or of the RNN per direction.
        positions: sines and cosines of the position are added before a transformer.
        norm_first: norms of a transformer's layers stand before attention and perceptron, else after.
        rnn: "lstm", "gru" or "rnn".
        bidirectional: the RNNs across segments see later ones too.
        norm: see `create_norm`: "global", "feature" or "frame".
        output: a last layer from the network's channels to the features.
        mask: "softmax" over the sources, "sigmoid", "relu" or "linear".
        dropout: in training.
    """

    block: str = "transformer"
    bottleneck: int | None = 64
    bottleneck_bias: bool = False
    segment: int = 100
    segment_hop: int = 50
    segment_padding: str = "half"
    averaged: bool = False
    pairs: int = 2
    within_layers: int = 1
    across_layers: int = 1
    heads: int = 4
    hidden: int = 128
    positions: bool = True
    norm_first: bool = True
    rnn: str = "lstm"
    bidirectional: bool = True
    norm: str = "global"
    output: bool = True
    mask: str = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_choice(self, "block", BLOCKS)
        check_choice(self, "segment_padding", ("half", "whole"))
        check_choice(self, "rnn", tuple(RECURRENT))
        check_choice(self, "norm", ("global", "feature", "frame"))
        check_choice(self, "mask", MASKS)
        for name in ("bottleneck_bias", "averaged", "positions", "norm_first", "bidirectional", "output"):
            check_choice(self, name, (False, True))
        for name in ("segment", "segment_hop", "pairs", "within_layers", "across_layers", "heads", "hidden"):
            check_size(self, name)
        if self.bottleneck is not None:
            check_size(self, "bottleneck")
        check_dropout(self)
        if self.segment_hop > self.segment:
            raise InputError(f"segment_hop must be at most segment ({self.segment}), got {self.segment_hop}")
        if self.segment_padding == "half" and self.segment != 2 * self.segment_hop:
            raise InputError(
                f"segment_padding='half' takes a segment of 2 segment_hop ({2 * self.segment_hop}), got {self.segment}"
            )
        if self.block != "recurrent" and self.width % self.heads:
            raise InputError(f"the channels ({self.width}) must be a multiple of heads ({self.heads})")
        if self.block == "transformer" and self.positions and self.width % 2:
            raise InputError(f"the channels must be even for positions, got {self.width}")
        if not self.output and self.width != self.features:
            raise InputError(
                f"without an output layer the channels must be the features ({self.features}), got {self.width}"
            )

    @property
    def width(self) -> int:
        """N."""
        return self.features if self.bottleneck is None else self.bottleneck


class SelfAttention(nn.Module):
    """Multi-head attention with biases: (items, steps, width) -> the same shape."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        parts = rearrange(self.queries_keys_values(x), "i k (p h n) -> p i h k n", p=3, h=self.heads)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], dropout_p=dropout)
        merged: Tensor = self.merge(rearrange(attended, "i h k n -> i k (h n)"))
        return merged


class TransformerLayer(nn.Module):
    """Attention and a perceptron, each with a norm before it or after it: (items, steps, width) -> the same shape."""

    def __init__(self, config: DualPathTasNetConfig) -> None:
        super().__init__()
        width, self.norm_first = config.width, config.norm_first
        self.attention = SelfAttention(width, config.heads, config.dropout)
        self.perceptron = nn.Sequential(
            nn.Linear(width, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, width),
        )
        self.norm_1, self.norm_2 = (nn.LayerNorm(width, eps=LAYER_FLOOR) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.norm_first:
            x = x + self.attention(self.norm_1(x))
            return x + self.perceptron(self.norm_2(x))
        x = self.norm_1(x + self.attention(x))
        return self.norm_2(x + self.perceptron(x))


class Transformer(nn.Module):
    """Layers and a last norm, over values with their positions added: (items, steps, width) -> the same shape."""

    def __init__(self, config: DualPathTasNetConfig, layers: int) -> None:
        super().__init__()
        self.positions = config.positions
        self.layers = nn.Sequential(*(TransformerLayer(config) for _ in range(layers)))
        self.norm = nn.LayerNorm(config.width, eps=LAYER_FLOOR)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.positions:
            x = x + positions(x.shape[1], x.shape[2]).to(x)
        normed: Tensor = self.norm(self.layers(x))
        return normed


def positions(steps: int, width: int) -> Tensor:
    """Sines (even channels) and cosines (odd ones) of p 10000^(-2j/width): (steps, width) float64."""
    theta = POSITION_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(steps, dtype=torch.float64)[:, None] * theta
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class Recurrent(nn.Module):
    """An RNN and a linear layer: (items, steps, width) -> the same shape."""

    def __init__(self, config: DualPathTasNetConfig, layers: int, bidirectional: bool) -> None:
        super().__init__()
        dropout = config.dropout if layers > 1 else 0.0
        options = {"batch_first": True, "bidirectional": bidirectional, "dropout": dropout}
        self.rnn = RECURRENT[config.rnn](config.width, config.hidden, layers, **options)
        self.linear = nn.Linear(config.hidden * (2 if bidirectional else 1), config.width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.linear(self.rnn(x)[0])
        return y


class AttentionRecurrent(nn.Module):
    """norm(x + attention(x)), then norm(x + linear(relu(LSTM(x)))): (items, steps, width) -> the same shape."""

    def __init__(self, config: DualPathTasNetConfig, bidirectional: bool) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads, config.dropout)
        self.rnn = nn.LSTM(config.width, config.hidden, batch_first=True, bidirectional=bidirectional)
        self.linear = nn.Linear(config.hidden * (2 if bidirectional else 1), config.width)
        self.norm_1, self.norm_2 = (create_norm(config.norm, 1, config.width) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.norm_1((x + self.dropout(self.attention(x))).transpose(1, 2)).transpose(1, 2)
        x = x + self.dropout(self.linear(self.dropout(self.rnn(x)[0].relu())))
        y: Tensor = self.norm_2(x.transpose(1, 2)).transpose(1, 2)
        return y


class DualPathBlock(nn.Module):
    """Layers within segments, then across them: (items, N, K, S) -> the same shape.

    Transformers and RNNs have a norm over all, and a residual around them; the blocks of DPTNet have their own.
    """

    def __init__(self, config: DualPathTasNetConfig) -> None:
        super().__init__()
        match config.block:
            case "transformer":
                self.within: nn.Module = Transformer(config, config.within_layers)
                self.across: nn.Module = Transformer(config, config.across_layers)
            case "recurrent":
                self.within = Recurrent(config, config.within_layers, True)
                self.across = Recurrent(config, config.across_layers, config.bidirectional)
            case _:
                self.within = AttentionRecurrent(config, True)
                self.across = AttentionRecurrent(config, config.bidirectional)
        own = config.block == "attention_recurrent"
        self.within_norm = None if own else create_norm(config.norm, 1, config.width)
        self.across_norm = None if own else create_norm(config.norm, 1, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        items, size = x.shape[0], x.shape[-2:]
        y = rearrange(self.within(rearrange(x, "i n k s -> (i s) k n")), "(i s) k n -> i n k s", i=items)
        if self.within_norm is not None:
            y = x + self.within_norm(y.flatten(2)).unflatten(2, size)
        x = y
        y = rearrange(self.across(rearrange(x, "i n k s -> (i k) s n")), "(i k) s n -> i n k s", i=items)
        if self.across_norm is not None:
            y = x + self.across_norm(y.flatten(2)).unflatten(2, size)
        return y


class DualPathMasker(nn.Module):
    """Masks of all sources from real features by dual-path blocks.

    Args:
        config: the sizes.
    """

    def __init__(self, config: DualPathTasNetConfig) -> None:
        super().__init__()
        self.config = config
        width, sources = config.width, len(config.sources)
        self.norm = create_norm(config.norm, 1, config.features)
        narrow = config.bottleneck is not None
        self.bottleneck = (
            nn.Conv1d(config.features, width, 1, bias=config.bottleneck_bias) if narrow else None
        )
        self.blocks = nn.Sequential(*(DualPathBlock(config) for _ in range(config.pairs)))
        self.prelu = nn.PReLU()
        self.spread = nn.Conv1d(width, sources * width, 1)
        self.value, self.gate = nn.Conv1d(width, width, 1), nn.Conv1d(width, width, 1)
        self.output = nn.Conv1d(width, config.features, 1, bias=False) if config.output else None

    def forward(self, x: Tensor, alive: Tensor | None = None) -> Tensor:
        """(items, features, frames) -> masks (items, sources, features, frames); `alive` as in `over_alive`."""
        config, frames, sources = self.config, x.shape[-1], len(self.config.sources)
        x = over_alive(self.norm, x, alive)
        if self.bottleneck is not None:
            x = self.bottleneck(x)
        layout = (config.segment, config.segment_hop, config.segment_padding)
        x = self.prelu(self.blocks(segmented(x, *layout)))
        x = self.spread(x.flatten(2)).unflatten(2, x.shape[-2:])
        x = rearrange(x, "i (s n) k m -> (i s) n k m", s=sources)
        x = joined(x, frames, *layout[1:])
        if config.averaged:
            x = x * (config.segment_hop / config.segment)
        x = self.value(x).tanh() * self.gate(x).sigmoid()
        if self.output is not None:
            x = self.output(x)
        return masks_from(x.unflatten(0, (-1, sources)), config.mask)


class DualPathTasNet(FilterbankSeparator):
    """A `DualPathMasker` between SFI encoder and decoder: SepFormer, DPRNN and DPTNet."""

    architecture = "dualpath"
    config_class = DualPathTasNetConfig
    config: DualPathTasNetConfig
    masker: DualPathMasker

    def __init__(self, config: DualPathTasNetConfig) -> None:
        super().__init__(config)
        self.masker = DualPathMasker(config)

    @property
    def first_norm(self) -> nn.Module:
        """Of the `DualPathMasker`."""
        return self.masker.norm
