"""Adaptation modes as objects that a separator wears: what each of them computes, by hand, and that they are used like a model."""

import numpy as np
import pytest
import soxr
import torch

import sfi_zoo
from sfi_zoo import InputError, cli
from sfi_zoo.audio.resampling import RESAMPLER_TYPES, NoisyKernel, TrainableKernel, WindowedSinc
from sfi_zoo.models.adaptation import MODES, Adapted
from tests.half_separator import Half
from tests.signals import band_limited, relative_error

SMALL = {"features": 16, "kernel_size": 320, "stride": 80, "bottleneck": 8, "hidden": 8}


@pytest.fixture(scope="module", params=["convtasnet", "sudormrf"])
def model(request):
    torch.manual_seed(0)
    sizes = {"convtasnet": {"layers": 2, "repeats": 1}, "sudormrf": {"blocks": 2, "levels": 2}}
    return sfi_zoo.create(request.param, **SMALL, **sizes[request.param]).eval()


def waveform(length, channels=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, length, generator=generator) / 10


def by_soxr(x, rate_in, rate_out):
    """soxr itself, channel by channel."""
    y = [soxr.resample(row, rate_in, rate_out, quality="VHQ") for row in x.reshape(-1, x.shape[-1]).numpy()]
    return torch.from_numpy(np.stack(y)).unflatten(0, x.shape[:-1])


def test_native_is_the_model(model):
    x = waveform(2205)
    with torch.no_grad():
        assert torch.equal(Adapted(model, "native")(x, 11025), model(x, 11025))


def test_none_takes_every_signal_for_one_at_the_trained_rate(model):
    x = waveform(2205)
    with torch.no_grad():
        assert torch.equal(Adapted(model, "none")(x, 11025), model(x, 32000))


@pytest.mark.parametrize(("rate", "length"), [(8000, 1600), (44100, 4411)])
def test_resample_goes_to_the_trained_rate_and_back(model, rate, length):
    x = waveform(length)
    with torch.no_grad():
        y = by_soxr(model(by_soxr(x, rate, 32000), 32000), 32000, rate)
        ours = Adapted(model, "resample")(x, rate)
    assert ours.shape == (1, 4, 2, length)
    shared = min(length, y.shape[-1])
    assert torch.allclose(ours[..., :shared], y[..., :shared], atol=1e-6)


def test_the_way_back_adds_no_noise(model):
    """What a noisy kernel adds is for the model; estimates come back by the windowed sinc alone."""
    x, noisy, sinc = waveform(1600), NoisyKernel(sigma=0.01), WindowedSinc()
    with torch.no_grad():
        expected = sinc(model(noisy(x, 8000, 32000), 32000), 32000, 8000)
        assert torch.allclose(Adapted(model, "resample", noisy)(x, 8000), expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resampler", sorted(RESAMPLER_TYPES))
def test_every_resampler_by_name(model, mode, resampler):
    if resampler == "torchaudio":
        pytest.importorskip("torchaudio")
    with torch.no_grad():
        y = Adapted(model, mode, resampler)(waveform(1000), 16000)
    assert y.shape == (1, 4, 2, 1000)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rate", "length"), [(192000, 1), (4000, 1), (44100, 3001)])
def test_forward_is_latent_masks_output(model, mode, rate, length):
    """The parts that metrics look at are those of the whole, down to a signal of one sample."""
    adapted, x = Adapted(model, mode), waveform(length)
    with torch.no_grad():
        latent = adapted.encode(x, rate)
        y = adapted.decode(adapted.predict_masks(latent) * latent.values[:, None], rate, length)
        assert torch.allclose(y.transpose(0, 1)[None], adapted(x, rate), atol=1e-6)


def test_frames_and_features_are_in_true_seconds_and_hertz(model):
    x = waveform(16000)
    grids = {mode: Adapted(model, mode).latent(x, 16000).grid for mode in MODES}
    assert torch.allclose(grids["native"].times, grids["resample"].times)
    assert torch.allclose(grids["none"].times.diff(), torch.tensor(80 / 16000, dtype=torch.float64))
    assert grids["none"].alive.all() and not grids["native"].alive.all()


def test_a_trainable_resampler_is_trained_through_the_model(model):
    adapted = Adapted(model, "resample", TrainableKernel())
    adapted(waveform(800), 16000).square().sum().backward()
    gradient = dict(adapted.named_parameters())["resampler.deviation"].grad
    assert torch.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize("resampler", ["soxr", "windowed_sinc"])
def test_chunks_show_no_seams(resampler):
    """A separator that scales its input: three chunks, resampled there and back, give the scaled signal everywhere."""
    x = band_limited(11025, 2950, seconds=4.0)[0].float()
    y = Adapted(Half(), "resample", resampler).separate(x, 11025, chunk_seconds=1.6, overlap_seconds=0.4)
    expected = torch.tensor(Half.shares)[:, None, None] * x
    assert relative_error(y, expected) < 1e-4
    assert float((y - expected).abs().max()) < 1e-3 * float(expected.abs().max())


@pytest.mark.parametrize("mode", MODES)
def test_separate_in_one_chunk_is_forward(model, mode):
    adapted, x, seen = Adapted(model, mode), waveform(8000), []
    y = adapted.separate(x[0], 16000, above="none", progress=lambda done, total: seen.append((done, total)))
    with torch.no_grad():
        assert torch.equal(y, adapted(x, 16000)[0])
    assert seen == [(0.5, 0.5)]
    assert (adapted.sources, adapted.trained_rate) == (model.sources, 32000)


def test_metrics_know_the_same_modes():
    from sfi_zoo.models import adaptation

    assert (adaptation.Adapted, adaptation.MODES) == (Adapted, MODES)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("magic",), "unknown mode 'magic'; known: native, resample, none"),
        (("resample", "linear"), "unknown resampler 'linear'.*soxr"),
        (("resample", 3), "unknown resampler 3"),
    ],
)
def test_modes_and_resamplers_that_are_not_known_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        Adapted(Half(), *arguments)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("x", "rate", "named"),
    [
        (torch.zeros(100), 8000, r"\(100,\)"),
        (torch.zeros(1, 1, 0), 8000, r"\(1, 1, 0\)"),
        (torch.zeros(1, 1, 100), 3000, "3000"),
        (torch.zeros(1, 1, 100, dtype=torch.int16), 8000, "int16"),
    ],
)
def test_bad_input_is_named(model, mode, x, rate, named):
    with pytest.raises(InputError, match=named):
        Adapted(model, mode)(x, rate)


def test_soxr_says_that_it_has_no_gradient(model):
    with pytest.raises(InputError, match="WindowedSinc"):
        Adapted(model, "resample", "soxr")(waveform(800), 16000)


def test_an_adapted_model_is_not_saved(model, tmp_path):
    with pytest.raises(InputError, match="save its `model`"):
        Adapted(model, "resample").save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# the command line -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hub_of_half")
@pytest.mark.parametrize(
    "options", [["--mode", "resample", "--resampler", "windowed_sinc"], ["--mode", "none"]]
)
def test_the_command_line_separates_in_a_mode(options, folder):
    import soundfile

    x = band_limited(11025)[0, 0].numpy() / 2
    soundfile.write("song.wav", x, 11025, "FLOAT")
    assert cli.main(["separate", "song.wav", "-m", "half", "-o", "out", *options]) == 0
    y, rate = soundfile.read("out/song/vocals.wav")
    assert rate == 11025
    np.testing.assert_allclose(y, x / 2, atol=1e-4)


@pytest.mark.usefixtures("hub_of_half", "folder")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--mode", "magic"], "unknown mode 'magic'"),
        (["--mode", "resample", "--resampler", "linear"], "unknown resampler 'linear'"),
        (["--resampler", "soxr"], "--resampler soxr: only --mode resample"),
    ],
)
def test_mistakes_there_are_one_line(options, named, capsys):
    assert cli.main(["separate", "song.wav", "-m", "half", *options]) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
