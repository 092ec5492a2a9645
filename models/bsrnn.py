"""Band-split RNN on the SFI STFT: recurrent layers along the frames of each band, and along the bands of each frame, in turn.

Sources: Luo and Yu, TASLP 31:1893, 2023, arXiv:2209.15174; for any sampling frequency: Yu and Luo, ICASSP 2023.
"""

from dataclasses import dataclass
from functools import partial

from einops import rearrange
from torch import Tensor, nn

from sfi_zoo.models.parts.bands import EPSILON, BandSplitConfig, BandSplitSeparator
from sfi_zoo.models.parts.config import check_choice, check_size, later
from sfi_zoo.models.parts.dual_path import DualPath
from sfi_zoo.models.parts.norms import ItemNorm, create_norm

JOINT_EPSILON = 1e-5  # of norms over all bands, as published


@dataclass(frozen=True)
class BSRNNConfig(BandSplitConfig):
    """Everything that makes a BSRNN; `config.json` holds exactly these.

    The music network of the paper, one source ("V7", N = 128, 12 layers):

        BSRNNConfig(("vocals",), 44100, 2048, 512, bands="music", width=128, layers=12, hidden=256, mask_hidden=512)

    Attributes, beside those of `BandSplitConfig`:
        layers: pairs of an RNN along frames and one along bands.
        hidden: size of a recurrent layer, per direction.
        causal: RNNs along frames see no later frames, and their norms this frame only.
        norms: "steps": over the values of one step, in RNNs over all steps of a band or frame; "item": over all frames, in band split and
            masks of a band, in RNNs of all bands (also where they are causal).
    """

    hidden: int = 96
    causal: bool = False
    norms: str = later("steps")

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_size(self, "hidden")
        check_choice(self, "causal", (False, True))
        check_choice(self, "norms", ("steps", "item"))


class ResidualRNN(nn.Module):
    """x + linear(LSTM(norm(x))) along one axis.

    Args:
        width: size of x.
        hidden: of the LSTM, per direction.
        causal: one direction, and a norm over each step alone; else both directions, and a norm over all steps.
    """

    def __init__(self, width: int, hidden: int, causal: bool) -> None:
        super().__init__()
        self.norm = create_norm("frame" if causal else "global", 1, width)
        self.rnn = nn.LSTM(width, hidden, batch_first=True, bidirectional=not causal)
        self.linear = nn.Linear(hidden if causal else 2 * hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(items, steps, width) -> the same shape."""
        return x + self.linear(self.rnn(self.norm(x.transpose(1, 2)).transpose(1, 2))[0])


class JointRNN(nn.Module):
    """x + linear(LSTM(norm(x))) along frames or bands, the norm over all frames and bands.

    Args:
        width: size of x.
        hidden: of the LSTM, per direction.
        causal: one direction, else both.
        bands: along bands, else along frames.
    """

    def __init__(self, width: int, hidden: int, causal: bool, bands: bool) -> None:
        super().__init__()
        self.norm = ItemNorm(width, JOINT_EPSILON)
        self.rnn = nn.LSTM(width, hidden, batch_first=True, bidirectional=not causal)
        self.linear = nn.Linear(hidden if causal else 2 * hidden, width)
        self.bands = bands

    def forward(self, x: Tensor) -> Tensor:
        """(items, frames, bands, width) -> the same shape."""
        sequences = "(i k) b n" if self.bands else "(i b) k n"
        y = self.linear(self.rnn(rearrange(self.norm(x), f"i k b n -> {sequences}"))[0])
        return x + rearrange(y, f"{sequences} -> i k b n", i=len(x))


class BSRNN(BandSplitSeparator):
    """Band-split RNN: pairs of RNNs along frames and along bands, between band split and masks."""

    architecture = "bsrnn"
    config_class = BSRNNConfig
    config: BSRNNConfig

    def __init__(self, config: BSRNNConfig) -> None:
        size, pairs = (config.width, config.hidden), range(config.layers)
        if config.norms == "item":
            axes = ((config.causal, False), (False, True))
            joint = nn.Sequential(*(JointRNN(*size, *axis) for _ in pairs for axis in axes))
            super().__init__(config, joint, ItemNorm, mask_norm=True)
            return
        network = DualPath(
            (ResidualRNN(*size, config.causal) for _ in pairs), (ResidualRNN(*size, False) for _ in pairs)
        )
        super().__init__(config, network, partial(nn.LayerNorm, eps=EPSILON), mask_norm=True)
