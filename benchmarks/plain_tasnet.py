"""The peer of SFI Conv-TasNet: the same network with `nn.Conv1d` and `nn.ConvTranspose1d`."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.models.conv_tasnet import ConvTasNet


class PlainConvTasNet(nn.Module):
    """An SFI Conv-TasNet (`latent="relu"`) with plain layers of the same size: free taps, one sampling frequency.

    Args:
        model: sets all sizes; its mask predictor is copied, weights included.
        same_start: the taps start as those of `model` at F0; otherwise as PyTorch initialises them.
        overlap_add: compute the decoder by `overlap_add`; at some sizes `nn.ConvTranspose1d` is many times slower on a CPU.
    """

    def __init__(self, model: ConvTasNet, same_start: bool = False, overlap_add: bool = False) -> None:
        super().__init__()
        self.overlap_add = overlap_add
        config = model.config
        filters, length, hop = config.features, config.kernel_size, config.stride
        options = {"stride": hop, "padding": (length - hop) // 2, "bias": False}
        self.encoder = nn.Conv1d(1, filters, length, **options)
        self.decoder = nn.ConvTranspose1d(filters, 1, length, **options)
        self.masker = copy.deepcopy(model.masker)
        if same_start:
            with torch.no_grad():
                self.encoder.weight.copy_(taps_of(model.encoder))
                self.decoder.weight.copy_(taps_of(model.decoder))

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, 1, time) -> (batch, sources, 1, time), time a whole number of hops."""
        latent = self.encoder(waveform).relu()
        masked = (self.masker(latent) * latent[:, None]).flatten(0, 1)
        y = overlap_add(masked, self.decoder) if self.overlap_add else self.decoder(masked)
        return y.unflatten(0, (len(waveform), -1))


def overlap_add(z: Tensor, layer: nn.ConvTranspose1d) -> Tensor:
    """What `layer` (one output channel, no bias) computes, as a matrix product and a sum of overlapping frames."""
    (length,), (hop,), (padding,) = layer.kernel_size, layer.stride, layer.padding
    pieces = layer.weight[:, 0].T @ z  # (batch, taps, frames)
    span = (z.shape[-1] - 1) * hop + length
    y = functional.fold(pieces, (1, span), (1, length), stride=(1, hop))[:, :, 0]
    return y[..., padding : span - padding]


def taps_of(layer: nn.Module) -> Tensor:
    """The digital kernels of an SFI layer at its trained rate: (filters, 1, kernel_size)."""
    return layer.weights(layer.trained_rate)[0][0][:, None].detach()
