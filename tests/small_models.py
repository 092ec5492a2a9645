"""Small random separators and clips that the tests of the metrics share."""

import math

import torch

from sfi_zoo.models.conv_tasnet import ConvTasNet, ConvTasNetConfig


def small_tasnet(latent="linear", sample_rate=8000, **settings):
    """A Conv-TasNet of random float64 weights: 2 ms kernels, hop 1 ms, 24 features up to 0.44 of the rate, so that none dies at F0."""
    torch.manual_seed(0)
    milli = sample_rate // 1000
    config = ConvTasNetConfig(
        **{
            "sources": ("one", "two", "three"),
            "sample_rate": sample_rate,
            "features": 24,
            "kernel_size": 2 * milli,
            "stride": milli,
            "latent": latent,
            "bottleneck": 8,
            "hidden": 8,
            "layers": 2,
            "repeats": 1,
            "encoder_filters": {"frequency_range": (100.0, 0.44 * sample_rate)},
        }
        | settings
    )
    return ConvTasNet(config).double().eval()


def tones(sample_rate, seconds, low=100.0, high=1000.0, count=20):
    """The same signal at any rate: tones between `low` and `high` Hz under an envelope. (1, 1, time) float64."""
    n = torch.arange(round(sample_rate * seconds), dtype=torch.float64) / sample_rate
    generator = torch.Generator().manual_seed(3)
    f, phase = torch.rand(2, count, 1, generator=generator, dtype=torch.float64)
    waves = (2 * math.pi * (low + f * (high - low)) * n + 2 * math.pi * phase).cos().sum(0)
    return (waves / 5 * torch.sin(math.pi * n / seconds) ** 4)[None, None]
