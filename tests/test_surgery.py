"""Surgery: models of others, unchanged at their sampling frequency, at home at any other."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from sfi_zoo import InputError, SFIConv1d, at_sample_rate, make_sfi, sfi_layers
from tests.foreign_models import RATES, Tied, below, conv_tasnet, hdemucs, open_unmix, resampled
from tests.signals import band_limited, relative_error

LIMIT_HZ = 2950.0


# found --------------------------------------------------------------------------------------------------------------


def test_finds_encoder_and_decoder_of_conv_tasnet():
    assert list(sfi_layers(make_sfi(conv_tasnet(), 16000))) == ["encoder", "decoder"]


@pytest.mark.parametrize("channels", [1, 2])
def test_finds_layers_by_what_they_see_not_by_how_they_look(channels):
    """The attention has one input channel too, but it runs over channels."""
    assert list(sfi_layers(make_sfi(Tied(channels), 8000))) == ["analysis", "synthesis"]


def test_finds_stft_modules():
    assert list(sfi_layers(make_sfi(open_unmix(16000), 16000))) == ["stft.stft", "istft.istft"]


@pytest.mark.slow
def test_hdemucs_is_refused_with_the_reason():
    """It pads, cuts and counts frames in samples."""
    with pytest.raises(
        InputError, match=r"pad by \d+ samples in front in torchaudio.models._hdemucs.*fallback"
    ):
        make_sfi(hdemucs(), 44100)


def test_a_model_that_is_one_convolution_is_replaced_itself():
    assert isinstance(make_sfi(nn.Conv1d(1, 4, 16, 8), 16000), SFIConv1d)


def test_named_layers_are_the_only_ones_replaced():
    assert list(sfi_layers(make_sfi(Tied(), 8000, layers=["analysis"]))) == ["analysis"]


# the same at F0 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [4000, 4001, 4007])
def test_conv_tasnet_is_the_same_at_the_trained_rate(samples):
    model = conv_tasnet()
    x = torch.randn(2, 1, samples)
    with torch.no_grad():
        assert relative_error(make_sfi(model, 16000)(x), model(x)) < 1e-6


def test_open_unmix_is_the_same_at_the_trained_rate():
    model = open_unmix(16000)
    x = torch.randn(1, 2, 8000)
    with torch.no_grad():
        assert relative_error(make_sfi(model, 16000)(x), model(x)) < 1e-6


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 4, 15, 3, padding=4, dilation=2, groups=2),
        nn.Conv1d(1, 4, 16, padding="same"),
        nn.Conv1d(1, 4, 16, 4, padding=8, padding_mode="reflect"),
        nn.ConvTranspose1d(4, 2, 15, 3, padding=4, output_padding=1, groups=2),
        nn.ConvTranspose1d(4, 1, 7, 3, dilation=2),
    ],
    ids=str,
)
def test_every_argument_of_a_plain_layer_is_kept(layer):
    x = torch.randn(2, layer.in_channels, 200)
    with torch.no_grad():
        assert relative_error(make_sfi(layer, 16000, layers=[""])(x), layer(x)) < 1e-6


@pytest.mark.parametrize("name", ["Spectrogram", "InverseSpectrogram"])
@pytest.mark.parametrize(
    "options",
    [
        {"n_fft": 400},
        {"n_fft": 512, "win_length": 400, "hop_length": 100},
        {"n_fft": 400, "normalized": True},
        {"n_fft": 400, "normalized": "frame_length"},
        {"n_fft": 400, "pad_mode": "constant"},
        {"n_fft": 400, "power": 1.0},
        {"n_fft": 400, "power": None},
        {"n_fft": 400, "center": False, "window_fn": torch.hamming_window},
    ],
    ids=" ".join,
)
def test_torchaudio_transforms_are_the_same_at_the_trained_rate(name, options):
    torchaudio = pytest.importorskip("torchaudio")
    x = torch.randn(2, 4000)
    if name == "InverseSpectrogram":
        if "power" in options:
            pytest.skip("an inverse has no power")
        x = torchaudio.transforms.Spectrogram(**options, power=None)(x)
    transform = getattr(torchaudio.transforms, name)(**options)
    twin = make_sfi(nn.Sequential(transform), 16000)
    assert list(sfi_layers(twin))
    assert relative_error(twin(x), transform(x)) < 1e-6


# at other rates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_conv_tasnet_at_other_rates(rate):
    """The latent is that at F0, and so is the output, up to 0.9 of the lower Nyquist frequency (random kernels fill all of it)."""
    model = make_sfi(conv_tasnet().double(), 16000)
    with torch.no_grad():
        latent, output = model.encoder(band_limited(16000)), model(band_limited(16000))
        with at_sample_rate(model, rate):
            assert relative_error(model.encoder(band_limited(rate)), latent) < 1e-5
            estimate = model(band_limited(rate))
    limit = 0.45 * min(rate, 16000)
    expected = below(resampled(output, rate), limit, rate)
    assert relative_error(below(estimate, limit, rate), expected) < 1e-4


@pytest.mark.parametrize("rate", RATES)
def test_open_unmix_at_other_rates(rate):
    """Its first layer sees 100 of 129 bins; those above 4 kHz are silent at 8 kHz."""
    model = make_sfi(open_unmix(16000), 16000)
    x = {f: band_limited(f).float().repeat(1, 2, 1) for f in (rate, 16000)}
    with torch.no_grad():
        output = model(x[16000])
        with at_sample_rate(model, rate):
            estimate = model(x[rate])
    assert relative_error(estimate, resampled(output, rate)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_front_end_of_hdemucs_at_other_rates(rate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_sfi(hdemucs(), 44100, layers=["time_encoder.0.conv"])
    encoder = model.time_encoder[0]
    with torch.no_grad():
        latent = encoder(band_limited(44100).float().repeat(1, 2, 1))
        with at_sample_rate(model, rate):
            at_rate = encoder(band_limited(rate).float().repeat(1, 2, 1))
    # the model pads to whole hops in samples: a frame more or less of silence
    assert relative_error(at_rate[..., : latent.shape[-1]], latent) < 1e-5


@pytest.mark.parametrize("rate", (4000, *RATES, 44099))
@pytest.mark.parametrize("more", [0, 1, 5, 13])
def test_conv_tasnet_gives_as_many_samples_as_it_got(rate, more):
    """It pads to whole hops in samples of F0, and expects its decoder to give them back."""
    model = make_sfi(conv_tasnet(), 16000)
    x = torch.randn(1, 1, rate // 10 + more)
    with torch.no_grad(), at_sample_rate(model, rate):
        assert model(x).shape == (1, 2, x.shape[-1])


def test_frames_do_not_depend_on_the_rate():
    """A duration of whole hops has as many frames as at F0, whatever the model pads at F."""
    model = make_sfi(conv_tasnet(), 16000)
    for rate in RATES:
        with torch.no_grad(), at_sample_rate(model, rate):
            padded, _ = model._align_num_frames_with_strides(torch.zeros(1, 1, rate))
            assert model.encoder(padded).shape[-1] == 2001


# a model like any other ---------------------------------------------------------------------------------------------


def test_the_model_itself_is_not_touched():
    model = conv_tasnet().train()
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    state = torch.random.get_rng_state()
    make_sfi(model, 16000)
    assert type(model.encoder) is nn.Conv1d
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_modes_and_frozen_parameters_are_kept():
    model = conv_tasnet().train()
    model.encoder.weight.requires_grad_(False)
    twin = make_sfi(model, 16000)
    assert twin.encoder.training and not twin.encoder.filters.weight.requires_grad
    assert twin.decoder.filters.weight.requires_grad


def test_tied_kernels_stay_tied():
    model = make_sfi(Tied(), 8000)
    assert model.analysis.filters.weight is model.synthesis.filters.weight


def test_state_dict_round_trip():
    model, other = make_sfi(conv_tasnet(), 16000), make_sfi(conv_tasnet(), 16000)
    nn.init.normal_(model.encoder.filters.weight)
    other.load_state_dict(model.state_dict())
    x = torch.randn(1, 1, 4410)
    with torch.no_grad(), at_sample_rate(model, 44100), at_sample_rate(other, 44100):
        assert torch.equal(model(x), other(x))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_copies_work_on_their_own(duplicate):
    """The copy's decoder listens to the copy's encoder."""
    model = make_sfi(conv_tasnet(), 16000)
    twin = duplicate(model)
    x = torch.randn(1, 1, 4413)
    with torch.no_grad(), at_sample_rate(model, 44100), at_sample_rate(twin, 44100):
        assert torch.equal(twin(x), model(x))
    assert twin.encoder.shared is twin.decoder.shared is not model.encoder.shared


def test_it_can_be_trained_at_another_rate():
    model = make_sfi(conv_tasnet(), 16000).train()
    with at_sample_rate(model, 22050):
        model(torch.randn(1, 1, 2205)).square().mean().backward()
    assert model.encoder.filters.weight.grad.norm() > 0 and model.decoder.filters.weight.grad.norm() > 0


# bad input ----------------------------------------------------------------------------------------------------------


class Causal(nn.Conv1d):
    def forward(self, x):
        return super().forward(nn.functional.pad(x, (self.kernel_size[0] - 1, 0)))


class PaddedSTFT(nn.Module):
    def __init__(self):
        super().__init__()
        self.n_fft, self.hop_length = 256, 64
        self.register_buffer("window", torch.hann_window(256))

    def forward(self, x):
        return torch.stft(x.flatten(0, -2).cumsum(-1), 256, 64, window=self.window, return_complex=True)


def hooked():
    layer = nn.Conv1d(1, 4, 16, 8)
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Causal(1, 4, 16, 8), "computes something of its own"),
        (nn.LazyConv1d(4, 16, 8), "lazy"),
        (nn.Conv1d(1, 4, 16, 8, dtype=torch.complex64), "complex"),
        (nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 4, 16, 8)), "remove_parametrizations"),
        (hooked(), "hooks"),
        (nn.Linear(4, 4), "only Conv1d"),
        (PaddedSTFT(), "does not compute an STFT"),
    ],
    ids=["subclass", "lazy", "complex", "parametrized", "hooks", "linear", "other STFT"],
)
def test_layers_that_cannot_be_converted_are_named(layer, named):
    with pytest.raises(InputError, match=f"0.*{named}"):
        make_sfi(nn.Sequential(layer), 16000, layers=["0"])


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        (["encodr"], "did you mean one of: encoder"),
        (["front_end"], "no layer 'front_end'.*encoder"),
        (["mask_generator.input_conv"], "its stride is not a duration"),
    ],
)
def test_names_that_cannot_be_meant_are_named(layers, named):
    with pytest.raises(InputError, match=named):
        make_sfi(conv_tasnet(), 16000, layers=layers)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Linear(4, 4)), "has no Conv1d"),
        (
            nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, 4, -1)), nn.Conv1d(4, 4, 3)),
            "no convolution.*names out of: 2",
        ),
        (nn.Sequential(nn.Embedding(4, 4), nn.Conv1d(4, 4, 3)), "could not be run.*names out of: 1"),
    ],
    ids=["no convolution", "none sees the waveform", "cannot be run"],
)
def test_models_in_which_nothing_is_found_are_told_their_candidates(model, named):
    with pytest.raises(InputError, match=named):
        make_sfi(model, 16000)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), "fast"])
def test_impossible_rates_are_named(rate):
    with pytest.raises(InputError, match="sample_rate"):
        make_sfi(Tied(), rate)


def test_a_converted_model_is_not_converted_again():
    with pytest.raises(InputError, match="set_sample_rate"):
        make_sfi(make_sfi(Tied(), 8000), 8000)


def test_a_nonlinearity_at_audio_rate_is_named():
    class Halved(Tied):
        def forward(self, x):
            return super().forward(x).relu()

    with pytest.raises(InputError, match=r"not the same at other rates.*relu.*nonlinearity"):
        make_sfi(Halved(), 8000)
