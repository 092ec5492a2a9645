"""The peer of SFI Conv-TasNet: the same network with `nn.Conv1d` and `nn.ConvTranspose1d`."""

import copy

import torch
from torch import Tensor, nn

from sfi_zoo.models.conv_tasnet import ConvTasNet


class PlainConvTasNet(nn.Module):
    """An SFI Conv-TasNet (`latent="relu"`) with plain layers of the same size: free taps, one sampling frequency.

    Args:
        model: sets all sizes; its mask predictor is copied, weights included.
        same_start: the taps start as those of `model` at F0; otherwise as PyTorch initialises them.
    """

    def __init__(self, model: ConvTasNet, same_start: bool = False) -> None:
        super().__init__()
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
        masked = self.masker(latent) * latent[:, None]
        return self.decoder(masked.flatten(0, 1)).unflatten(0, (len(waveform), -1))


def taps_of(layer: nn.Module) -> Tensor:
    """The digital kernels of an SFI layer at its trained rate: (filters, 1, kernel_size)."""
    return layer.weights(layer.trained_rate)[0][0][:, None].detach()
