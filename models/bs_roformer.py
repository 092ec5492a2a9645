r"""Band-split transformer with rotary position embedding on the SFI STFT: attention along frames, and along bands, in turn.

Rotary position embedding turns the pairs of values of queries and keys by an angle that grows with their position p,

    (q_2j + i q_2j+1) exp(i p theta_j),   theta_j = 10000^(-2j/d),

so that attention depends on differences of positions alone. Positions are frames, which are the same seconds, and bands, which
are the same hertz, at every sampling frequency.

Sources: Lu, Wang, Kong and Hung, ICASSP 2024, arXiv:2309.02612; rotary embedding: Su et al., arXiv:2104.09864.
"""

from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.models.parts.bands import EPSILON, BandSplitConfig, BandSplitSeparator
from sfi_zoo.models.parts.config import check_dropout, check_size
from sfi_zoo.models.parts.dual_path import DualPath

ROTARY_BASE = 10000.0


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
    """

    width: int = 64
    heads: int = 4
    expansion: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_size(self, "heads")
        check_size(self, "expansion")
        if self.width % (2 * self.heads):
            raise InputError(f"width must be a multiple of 2 heads ({2 * self.heads}), got {self.width}")
        check_dropout(self)


def rotated(x: Tensor) -> Tensor:
    """Queries or keys (..., steps, size), each turned by its position 0 ... steps - 1."""
    steps, size = x.shape[-2:]
    theta = ROTARY_BASE ** (-torch.arange(0, size, 2, dtype=torch.float64, device=x.device) / size)
    angles = torch.arange(steps, dtype=torch.float64, device=x.device)[:, None] * theta
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

    Args: those of `BSRoFormerConfig`.
    """

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_1 = nn.RMSNorm(width, eps=EPSILON)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.merge = nn.Linear(width, width, bias=False)
        self.perceptron = nn.Sequential(
            nn.RMSNorm(width, eps=EPSILON),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(items, steps, width) -> the same shape."""
        parts = self.queries_keys_values(self.norm_1(x))
        queries, keys, values = rearrange(parts, "i k (p h n) -> p i h k n", p=3, h=self.heads)
        attended = attention(rotated(queries), rotated(keys), values, self.dropout if self.training else 0.0)
        x = x + self.merge(rearrange(attended, "i h k n -> i k (h n)"))
        return x + self.perceptron(x)


class BSRoFormer(BandSplitSeparator):
    """Band-split transformer: a `DualPath` of transformer blocks between band split and masks."""

    architecture = "bsroformer"
    config_class = BSRoFormerConfig
    config: BSRoFormerConfig

    def __init__(self, config: BSRoFormerConfig) -> None:
        block = partial(TransformerBlock, config.width, config.heads, config.expansion, config.dropout)
        pairs = range(config.layers)
        network = DualPath((block() for _ in pairs), (block() for _ in pairs))
        super().__init__(config, network, partial(nn.RMSNorm, eps=EPSILON), mask_norm=False)
