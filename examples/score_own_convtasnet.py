"""Makes torchaudio's Conv-TasNet independent of the sampling frequency, without retraining, and scores it.

    python examples/score_own_convtasnet.py [WEIGHTS]

WEIGHTS is a state dict that you have trained at 16 kHz, as safetensors; without, they are random: LEE need no trained model, SI-SDR do.
"""

import sys

import torch
import torchaudio
from safetensors.torch import load_file
from torch import Tensor, nn

import sfi_zoo
from sfi_zoo.metrics import score_model, synthetic_songs
from sfi_zoo.models.base import Latent, LatentGrid, Separator, to_items

RATE = 16000
SIZES = {"enc_num_feats": 64, "msk_num_feats": 32, "msk_num_hidden_feats": 64, "msk_num_layers": 4}


class Adapter(Separator):
    """What the metrics ask of a model: encode, predict masks, decode.

    Args:
        network: torchaudio's Conv-TasNet, after surgery.
    """

    sources = ("vocals", "drums", "bass", "other")
    sample_rate = RATE

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def frame_period(self) -> float:
        """Seconds between frames."""
        return self.network.enc_stride / RATE

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """Frames and features, with their places in seconds and Hz."""
        rate, encoder = self.check_rate(sample_rate), self.network.encoder
        values = encoder(to_items(waveform), rate)
        times = encoder.frame_times(values.shape[-1], rate)
        return Latent(values, LatentGrid(times, encoder.filters.center_frequencies(), encoder.alive(rate)))

    def predict_masks(self, latent: Latent) -> Tensor:
        """Of (items, sources, features, frames)."""
        return self.network.mask_generator(latent.values)

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Back to (items, sources, time)."""
        stems = self.network.decoder(latents.flatten(0, 1), self.check_rate(sample_rate), length)
        return stems.unflatten(0, latents.shape[:2]).squeeze(2)


def main() -> None:
    """Convert, check, score."""
    torch.manual_seed(0)
    network = torchaudio.models.ConvTasNet(num_sources=4, msk_num_stacks=1, **SIZES).eval()
    if len(sys.argv) > 1:
        network.load_state_dict(load_file(sys.argv[1]))
    converted = sfi_zoo.make_sfi(network, RATE)
    print("replaced:", ", ".join(sfi_zoo.sfi_layers(converted)))
    x = torch.randn(1, 1, RATE)
    with torch.no_grad():
        print(f"change at {RATE} Hz: {(converted(x) - network(x)).abs().max():.1e}")
    model = Adapter(converted)
    songs = synthetic_songs(model.sources, count=1, duration=2)
    for row in score_model(model, [8000, 44100], songs, ["native", "none"]):
        print(f"{row['mode']:7} {row['sample_rate']:6g} Hz: mask LEE {row['mask_lee_db']:6.1f} dB")


if __name__ == "__main__":
    main()
