"""SuDoRM-RF of asteroid and its filter banks, imported, against numbers of the package (tests/golden/make_asteroid_banks.py)."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
from safetensors.torch import load_file

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.asteroid_filterbanks import analytic
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from tests.signals import band_limited, relative_error

HERE = Path(__file__).parent / "golden"
NAMES = sorted(file.stem.removeprefix("banks_") for file in HERE.glob("banks_*.pt"))
SUDO = [name for name in NAMES if name.startswith("sudo")]


def mixture():
    """Of make_asteroid_banks.py."""
    n = torch.arange(703, dtype=torch.float64)
    return ((0.02 * n**1.5).sin() * 0.5 + (0.9 * n).sin() * 0.1)[None, None].float()


@pytest.fixture(scope="module")
def golden():
    return load_file(HERE / "banks.golden.safetensors")


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("banks")
    return {name: load(import_checkpoint(HERE / f"banks_{name}.pt", folder / name)) for name in NAMES}


def test_each_bank_and_network_is_there():
    assert len(NAMES) == 11


@pytest.mark.parametrize("name", NAMES)
def test_an_imported_checkpoint_gives_the_packages_numbers(name, imported, golden):
    """Latents, masks and stems."""
    model = imported[name]
    with torch.no_grad():
        latent = model.encode(mixture())
        masks = model.predict_masks(latent)[0]
        stems = model(mixture())[0, :, 0]
    assert latent.values[0].shape == golden[f"{name}.latent"].shape
    assert relative_error(latent.values[0], golden[f"{name}.latent"]) < 1e-5
    assert relative_error(masks, golden[f"{name}.masks"]) < 1e-5
    assert relative_error(stems, golden[f"{name}.stems"]) < 1e-5


@pytest.mark.parametrize("rate", [11025, 12000])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_sampling_frequency_independent(name, rate, imported):
    """A signal below 2950 Hz, float64: estimates at F, or twice F where F0 is 16 kHz, and at F0 agree where both have a sample."""
    model = imported[name]
    twin = type(model)(model.config).eval().double()
    twin.load_state_dict(model.state_dict())
    trained = model.trained_rate
    rate = rate * trained // 8000
    common = math.gcd(trained, rate)
    with torch.no_grad():
        a, b = (twin(band_limited(f, seconds=0.4), f)[..., :: f // common] for f in (rate, trained))
        untreated = twin(band_limited(rate, seconds=0.4), trained)[..., :: rate // common]
    assert relative_error(a, b) < 1e-4
    assert relative_error(untreated, b) > 1e-2


@pytest.mark.parametrize("rate", [4000, 7350, 8000, 11025, 44100, 47999])
@pytest.mark.parametrize("name", ["sudo", "sudo_even"])
def test_a_signal_has_the_frames_of_a_whole_multiple_at_every_rate(name, rate, imported):
    """asteroid fills it up to M = lcm(L0 // 2, 2^depth) samples; by counting: K = floor((M n + 2 p - L0) / S0) + 1."""
    model = imported[name]
    config = model.config
    half = config.kernel_size // 2
    multiple = math.lcm(half, 2**config.levels)
    for length in (1, 99, 400, 1000, 1001):
        at_f0 = math.ceil(length * 8000 / rate / multiple) * multiple
        frames = (at_f0 + 2 * half - config.kernel_size) // half + 1
        assert model.encode(torch.zeros(1, 1, length), rate).values.shape[-1] == frames
        assert model(torch.zeros(1, 1, length), rate).shape[-1] == length


@pytest.mark.parametrize("length", [15, 16])
def test_the_partner_of_an_analytic_filter_is_its_hilbert_transform_or_the_filter_run_backwards(length):
    """With asteroid's code under torch up to 1.7, by scipy; under later ones, sample by sample."""
    w = torch.randn(3, length, dtype=torch.float64)
    wanted = scipy.signal.hilbert(w.numpy()).imag
    assert np.abs(analytic(w, reverse=False)[3:].numpy() - wanted).max() < 1e-12
    backwards = analytic(w, reverse=True)[3:]
    assert all(torch.equal(backwards[:, n], w[:, -n % length]) for n in range(length))


def changed(tmp_path, change, name="sudo"):
    content = read_checkpoint(HERE / f"banks_{name}.pt")
    change(content)
    torch.save(content, tmp_path / "file.pt")
    return tmp_path / "file.pt"


def torch_version(version):
    return lambda content: content["infos"]["software_versions"].update(torch_version=version)


def test_which_of_the_two_goes_by_the_torch_that_wrote_the_file(tmp_path):
    kernels = {}
    for version in ("1.7.1", "1.8.0", "2.11.0+cu130"):
        file = changed(tmp_path, torch_version(version), "conv_analytic")
        model = load(import_checkpoint(file, tmp_path / version))
        kernels[version] = model.encoder.filters.weight.detach().reshape(8, -1)
    w = kernels["1.7.1"][:4]
    assert relative_error(kernels["1.7.1"][4:], torch.from_numpy(scipy.signal.hilbert(w.numpy()).imag)) < 1e-6
    assert torch.equal(kernels["1.8.0"], kernels["2.11.0+cu130"])
    assert torch.equal(kernels["1.8.0"][4:], w.flip(-1).roll(1, -1))


def args(**values):
    return lambda content: content["model_args"].update(values)


def without(key):
    return lambda content: content["state_dict"].pop(key)


def held(**values):
    return lambda content: content["state_dict"].update({k.replace("__", "."): v for k, v in values.items()})


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("sudo", args(n_filters=7), "n_filters|even number"),
        ("sudo", args(upsampling_depth=40), "upsampling_depth=40"),
        ("sudo", args(kernel_size=1), "kernel_size=1"),
        ("sudo", args(encoder_activation="tanh"), "encoder_activation='tanh'"),
        ("sudo", args(stride=2), "stride=2, less than half"),
        ("sudo", args(magic=1), "magic"),
        ("sudo", args(num_blocks=3), r"misses masker\.sm\.2"),
        ("sudo", args(fb_name="mpgtf"), "fb_name='mpgtf', which cannot be imported"),
        ("sudo", held(encoder__encoder__filterbank___filters=torch.zeros(8, 1, 11)), "differ; asteroid keeps them the same"),
        ("sudo", held(masker__m__weight=torch.zeros(2, 3, 9, 1)), r"shape masker\.m\.weight \(2, 3, 9, 1\)"),
        ("sudo_improved", without("masker.sm.1.res_conv.bias"), r"misses masker\.sm\.1\.res_conv\.bias"),
        ("sudo_improved", lambda c: c.update(model_name="SuDORMRFNet"), "encoder_activation=None"),
        ("conv_stft", args(n_filters=21), "n_filters=21, which stft filters cannot have"),
        ("conv_stft", args(in_chan=20), r"in_chan=20, not the features \(22\)"),
        ("conv_stft", without("decoder.filterbank._filters"), r"misses decoder\.filterbank\._filters"),
        ("conv_sinc", args(kernel_size=20), "kernel_size=20; param_sinc filters are odd"),
        ("conv_sinc", args(min_low_hz=9000), "above half its sample rate"),
        ("conv_sinc", args(n_filters=10, in_chan=None, out_chan=None), r"low_hz_ \(4, 1\) \(want \(5, 1\)\)"),
        ("conv_sinc", without("encoder.filterbank.band_hz_"), r"misses encoder\.filterbank\.band_hz_"),
        ("conv_sinc", held(encoder__filterbank__low_hz_=torch.full((4, 1), math.nan)), r"not finite encoder\.filterbank\.low_hz_"),
        ("conv_analytic", torch_version(None), "depend on the torch that they were trained with"),
        ("conv_analytic", lambda c: c.pop("infos"), "depend on the torch that they were trained with"),
        ("conv_analytic", held(encoder__filterbank___filters=torch.zeros(4, 1, 16, dtype=torch.int64)), r"kernels|kind"),
        ("conv_analytic", held(encoder__filterbank___filters=torch.zeros(4, 0)), "shape|kernels"),
        ("dptnet_analytic", args(n_heads=3), r"n_filters \(8\) is no multiple of n_heads \(3\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(name, change, reason, tmp_path):
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(changed(tmp_path, change, name), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_older_files_lack_what_is_made_of_the_settings(tmp_path, imported):
    file = changed(tmp_path, without("encoder.filterbank.torch_window"), "conv_stft")
    model = load(import_checkpoint(file, tmp_path / "out"))
    assert all(torch.equal(v, imported["conv_stft"].state_dict()[k]) for k, v in model.state_dict().items())
