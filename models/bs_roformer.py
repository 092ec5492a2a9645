r"""Band-split transformer with rotary position embedding on the SFI STFT: attention along frames, and along bands, in turn.

Rotary position embedding turns the pairs of values of queries and keys by an angle that grows with their position p,

    (q_2j + i q_2j+1) exp(i p theta_j),   theta_j = 10000^(-2j/d),

so that attention depends on differences of positions alone. Positions are frames, which are the same seconds, and bands, which
are the same hertz, at every sampling frequency.

Sources: Lu, Wang, Kong and Hung, ICASSP 2024, arXiv:2309.02612; rotary embedding: Su et al., arXiv:2104.09864.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.models.parts.bands import EPSILON, BandSplitConfig, BandSplitSeparator, Norm
from sfi_zoo.models.parts.config import check_choice, check_dropout, check_size, later
from sfi_zoo.models.parts.dual_path import DualPath
from sfi_zoo.models.parts.norms import UnitNorm

ROTARY_BASE = 10000.0
AT_A_TIME = (
    4  # parts of the items that go through a perceptron one after another, where no gradients are kept
)
BLOCK_NORMS: dict[str, Norm] = {"rms": partial(nn.RMSNorm, eps=EPSILON), "unit": UnitNorm}


@dataclass(frozen=True)
class BSRoFormerConfig(BandSplitConfig):
    """Everything that makes a BS-RoFormer; `config.json` holds exactly these.

    The network of the paper, one source (93.4 M parameters):

        BSRoFormerConfig(("vocals",), 44100, 2048, 441, channels=2, bands="fine", width=384, layers=12, mask_hidden=1536, heads=8,
            dropout=0.1)

    Attributes, beside those of `BandSplitConfig`:
        layers: pairs of a transformer block along frames and one along bands (L).
        heads: of the attention; `width` is a multiple of 2 heads.
        expansion: hidden size of a block's perceptron over `width`.
        dropout: in attention and perceptrons, in training.
        head_size: of a head; None for width / heads.
        gates: each head is multiplied by a sigmoid of what the block sees.
        attention_bias: biases in the linear layers of the attention.
        frame_blocks: transformer blocks along frames in each pair.
        band_blocks: as many along bands.
        pair_norm: a norm after the blocks along an axis.
        final_norm: a norm after the last pair.
        dense: see `DualPath`.
        norm: "rms", or "unit", whose floor only silence reaches (see `UnitNorm`).
    """

    width: int = 64
    heads: int = 4
    expansion: int = 4
    dropout: float = 0.0
    head_size: int | None = later(None)
    gates: bool = later(False)
    attention_bias: bool = later(False)
    frame_blocks: int = later(1)
    band_blocks: int = later(1)
    pair_norm: bool = later(False)
    final_norm: bool = later(False)
    dense: bool = later(False)
    norm: str = later("rms")

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        for name in ("heads", "expansion", "frame_blocks", "band_blocks"):
            check_size(self, name)
        for name in ("gates", "attention_bias", "pair_norm", "final_norm", "dense"):
            check_choice(self, name, (False, True))
        check_choice(self, "norm", tuple(BLOCK_NORMS))
        if self.head_size is not None:
            check_size(self, "head_size")
            if self.head_size % 2:
                raise InputError(f"head_size must be even, got {self.head_size}")
        elif self.width % (2 * self.heads):
            raise InputError(f"width must be a multiple of 2 heads ({2 * self.heads}), got {self.width}")
        check_dropout(self)


def rotated(x: Tensor) -> Tensor:
    """Queries or keys (..., steps, size), each turned by its position 0 ... steps - 1.

    One product of complex numbers takes a fifth of the time of four real ones; compilers and half precision have no complex numbers.
    """
    steps, size = x.shape[-2:]
    theta = ROTARY_BASE ** (-torch.arange(0, size, 2, dtype=torch.float64, device=x.device) / size)
    angles = torch.arange(steps, dtype=torch.float64, device=x.device)[:, None] * theta
    if x.dtype in (torch.float32, torch.float64) and not (
        torch.compiler.is_compiling() or torch.jit.is_tracing()
    ):
        turns = torch.polar(torch.ones_like(angles), angles).to(x.dtype.to_complex())
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns).flatten(-2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def attention(queries: Tensor, keys: Tensor, values: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt d) V, (..., steps, d).

    Where a CPU is to keep gradients it is written out: torch's own is 3 to 16 times slower there for the short sequences and small heads of
    these networks.
    """
    if queries.device.type != "cpu" or not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return functional.dropout(scores.softmax(-1), dropout) @ values


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)), along one axis.

    Args: those of `BSRoFormerConfig`; norm makes a norm.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: int,
        dropout: float,
        *,
        head_size: int | None = None,
        gates: bool = False,
        bias: bool = False,
        norm: Norm = BLOCK_NORMS["rms"],
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        inner = width if head_size is None else heads * head_size
        self.norm_1 = norm(width)
        self.queries_keys_values = nn.Linear(width, 3 * inner, bias=bias)
        self.gates = nn.Linear(width, heads) if gates else None
        self.merge = nn.Linear(inner, width, bias=bias)
        self.perceptron = nn.Sequential(
            norm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(items, steps, width) -> the same shape."""
        x = x + self.attended(self.norm_1(x))
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return x + self.perceptron(x)
        # some items at a time: the hidden layer is `expansion` times as large as x, before and after the GELU
        return x + torch.cat([self.perceptron(some) for some in x.chunk(AT_A_TIME)])

    def attended(self, seen: Tensor) -> Tensor:
        """What the attention makes of what it sees, (items, steps, width)."""
        parts = self.queries_keys_values(seen)
        parts = rearrange(parts, "i k (p h n) -> p i h k n", p=3, h=self.heads)
        turned = rotated(parts[:2])
        attended = attention(turned[0], turned[1], parts[2], self.dropout if self.training else 0.0)
        del parts, turned  # five times as large as x
        if self.gates is not None:
            attended = attended * rearrange(self.gates(seen).sigmoid(), "i k h -> i h k 1")
        return self.merge(rearrange(attended, "i h k n -> i k (h n)"))


class BSRoFormer(BandSplitSeparator):
    """Band-split transformer: a `DualPath` of transformer blocks between band split and masks."""

    architecture = "bsroformer"
    config_class = BSRoFormerConfig
    config: BSRoFormerConfig

    def __init__(self, config: BSRoFormerConfig) -> None:
        norm = BLOCK_NORMS[config.norm]
        options: Any = {"head_size": config.head_size, "gates": config.gates, "bias": config.attention_bias}
        size = (config.width, config.heads, config.expansion, config.dropout)

        def blocks(count: int) -> nn.Module:
            made: list[nn.Module] = [TransformerBlock(*size, norm=norm, **options) for _ in range(count)]
            made += [norm(config.width)] * config.pair_norm
            return made[0] if len(made) == 1 else nn.Sequential(*made)

        network = DualPath(
            (blocks(config.frame_blocks) for _ in range(config.layers)),
            (blocks(config.band_blocks) for _ in range(config.layers)),
            norm(config.width) if config.final_norm else None,
            config.dense,
        )
        super().__init__(config, network, norm, mask_norm=False)
