"""Open-Unmix, imported: against numbers made by the package openunmix, and the package itself where it is installed."""

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from tests.signals import band_limited, relative_error

GOLDEN = Path(__file__).parent / "golden"
TARGETS = ("vocals", "drums", "bass", "other")
SMALL = {"nb_bins": 129, "nb_channels": 2, "hidden_size": 12, "nb_layers": 2, "max_bin": 100}


@pytest.fixture
def golden_file(tmp_path):
    torch.save(load_file(GOLDEN / "openunmix.state.safetensors"), tmp_path / "vocals.pth")
    return tmp_path / "vocals.pth"


def test_an_imported_target_gives_the_golden_numbers(golden_file, tmp_path):
    golden = load_file(GOLDEN / "openunmix.golden.safetensors")
    model = load(import_checkpoint(golden_file, tmp_path / "out", sample_rate=8000, sources=["vocals"]))
    assert model.config.n_fft == 256
    assert model.config.seen_bins == 100
    with torch.no_grad():
        masked = model.targets[0](golden["magnitude"]) * golden["magnitude"]
    assert relative_error(masked, golden["masked"]) < 1e-5


@pytest.fixture
def openunmix():
    return pytest.importorskip("openunmix")


def target(**options):
    """openunmix's network with random weights and statistics."""
    from openunmix.model import OpenUnmix

    network = OpenUnmix(**SMALL | options).eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value + 0.1 * torch.rand_like(value))
    return network


def separator(names=TARGETS, n_fft=256, rate=8000.0, **options):
    from openunmix.model import Separator

    torch.manual_seed(0)
    channels = options.get("nb_channels", 2)
    targets = OrderedDict((name, target(nb_bins=n_fft // 2 + 1, **options)) for name in names)
    return Separator(
        targets, niter=0, sample_rate=rate, n_fft=n_fft, n_hop=n_fft // 4, nb_channels=channels
    ).eval()


def folder_of(theirs, folder, suffix="", settings=None):
    folder.mkdir()
    for name, network in theirs.target_models.items():
        torch.save(network.state_dict(), folder / f"{name}{suffix}.pth")
    if settings:
        (folder / "separator.json").write_text(json.dumps(settings))
    return folder


def saved(content, tmp_path):
    torch.save(content, tmp_path / "file.pth")
    return tmp_path / "file.pth"


def assert_same(ours, theirs, x):
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)) < 1e-5


@pytest.mark.parametrize(
    "options", [{}, {"unidirectional": True}, {"nb_layers": 1, "max_bin": None}, {"nb_channels": 1}]
)
def test_a_separator_state_gives_openunmixs_output(openunmix, options, tmp_path):
    theirs = separator(**options)
    ours = load(import_checkpoint(saved(theirs.state_dict(), tmp_path), tmp_path / "out"))
    assert ours.sources == TARGETS
    assert ours.trained_rate == 8000
    assert_same(ours, theirs, torch.randn(2, options.get("nb_channels", 2), 5000))


def test_softmask_is_the_mask_ratio(openunmix, tmp_path):
    theirs = separator()
    theirs.softmask = True
    ours = load(import_checkpoint(saved(theirs.state_dict(), tmp_path), tmp_path / "out", mask="ratio"))
    assert_same(ours, theirs, torch.randn(1, 2, 5000))


@pytest.mark.parametrize("suffix", ["", "-0a1b2c3d", "_765e4ba3"])
def test_a_folder_of_targets_gives_openunmixs_output(openunmix, suffix, tmp_path):
    theirs = separator(("speech", *reversed(TARGETS)))
    folder = folder_of(theirs, tmp_path / "in", suffix)
    ours = load(import_checkpoint(folder, tmp_path / "out", sample_rate=8000))
    assert ours.sources == (*TARGETS, "speech")
    x = torch.randn(1, 2, 5000)
    with torch.no_grad():
        assert relative_error(ours(x)[:, [4, 3, 2, 1, 0]], theirs(x)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [512, 1024])
def test_the_layouts_of_umxhq_and_umxl_give_openunmixs_output(openunmix, hidden, tmp_path):
    """All four targets at their size, with the buffers that the released files have beside, and a file of settings."""
    theirs = separator(TARGETS, 4096, 44100.0, hidden_size=hidden, nb_layers=3, max_bin=1487)
    settings = {"sample_rate": 44100, "nfft": 4096, "nhop": 1024, "nb_channels": 2}
    folder = folder_of(theirs, tmp_path / "in", "-0a1b2c3d", settings)
    beside = {"sample_rate": torch.tensor(44100.0)} | {
        f"{name}.window": torch.hann_window(4096) for name in ("stft", "transform.0")
    }
    for file in folder.glob("*.pth"):
        torch.save(torch.load(file) | beside, file)
    ours = load(import_checkpoint(folder, tmp_path / "out"))
    assert (ours.config.n_fft, ours.config.hop_length, ours.sample_rate) == (4096, 1024, 44100)
    assert_same(ours, theirs, torch.randn(1, 2, 44100))


def test_some_targets_can_be_taken_in_another_order(openunmix, tmp_path):
    theirs = separator()
    file = saved(theirs.state_dict(), tmp_path)
    ours = load(import_checkpoint(file, tmp_path / "out", sources=["bass", "vocals"]))
    x = torch.randn(1, 2, 3000)
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)[:, [2, 0]]) < 1e-5


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_an_imported_model_is_sampling_frequency_independent(openunmix, rate, tmp_path):
    """A signal below 2 kHz, float64: masks at F and at 8 kHz agree."""
    theirs = separator(nb_channels=1, hidden_size=8)
    model = load(import_checkpoint(saved(theirs.state_dict(), tmp_path), tmp_path / "out")).double()
    with torch.no_grad():
        masks = [model.predict_masks(model.encode(band_limited(f, 2000), f)) for f in (rate, 8000)]
    assert relative_error(*masks) < 1e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("fc2.weight"), r"misses fc2\.weight"),
        (lambda s: s.pop("output_mean"), "misses output_mean"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown extra"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), r"bn1\.bias \(3,\) \(want \(24,\)\)"),
        (lambda s: s.update({"fc3.weight": torch.full((258, 24), torch.nan)}), r"not finite fc3\.weight"),
        (lambda s: s.update({"fc1.weight": torch.zeros(24)}), r"fc1\.weight.*number of axes"),
        (lambda s: s.update({"bn3.weight": torch.zeros(257)}), r"bn3\.weight.*does not fit 129 bins"),
        (lambda s: s.update({"input_mean": torch.zeros(130)}), "does not fit 129 bins"),
        (lambda s: s.update({"bn1.bias": 3}), "not a dictionary of tensors"),
        (lambda s: s.update({"sample_rate": torch.tensor(8000.5)}), r"sample_rate is 8000\.5, not a whole"),
        (lambda s: s.update({"sample_rate": torch.tensor(44100)}), "sample rate is 44100, not 8000"),
    ],
)
def test_tensors_that_do_not_fit_are_named(golden_file, tmp_path, change, reason):
    state = torch.load(golden_file)
    change(state)
    with pytest.raises(InputError, match=reason):
        import_checkpoint(saved(state, tmp_path), tmp_path / "out", sample_rate=8000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({}, "does not say its sample rate; give sample_rate=44100"),
        ({"sample_rate": 8000, "sources": ["a", "b"]}, "1 sources, 2 names"),
        ({"sample_rate": 8000, "layers": 3}, "layers is 2, not 3"),
        ({"sample_rate": 8000, "mask": "sigmoid"}, "mask must be one of relu, ratio; got 'sigmoid'"),
    ],
)
def test_what_the_user_says_has_to_fit(golden_file, tmp_path, told, reason):
    with pytest.raises(InputError, match=reason):
        import_checkpoint(golden_file, tmp_path / "out", **told)


def spoilt(name, content):
    def spoil(folder):
        if isinstance(content, str):
            (folder / name).write_text(content)
        else:
            torch.save(content, folder / name)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoilt("separator.json", "{"), r"separator\.json is not JSON"),
        (spoilt("separator.json", "[]"), r"separator\.json is not a dictionary"),
        (spoilt("separator.json", '{"nfft": 512}'), r"separator\.json does not fit weights for nfft=256"),
        (spoilt("separator.json", '{"nhop": "1"}'), "nhop='1'"),
        (spoilt("other.pth", {"weight": torch.zeros(1)}), r"other\.pth is not a target"),
        (spoilt("vocals-01234567.pth", {"fc1.weight": 1, "input_mean": 1}), "more than one file for vocals"),
        (spoilt("drums.pth", {"fc1.weight": torch.zeros(1), "input_mean": torch.zeros(1)}), "misses drums"),
        (spoilt("drums.pth", "text"), r"drums\.pth: "),
        (lambda folder: (folder / "vocals.pth").unlink(), "without target files"),
    ],
)
def test_a_folder_that_does_not_fit_says_why(golden_file, tmp_path, spoil, reason):
    (tmp_path / "in").mkdir()
    golden_file.rename(tmp_path / "in" / "vocals.pth")
    spoil(tmp_path / "in")
    with pytest.raises(InputError, match=reason):
        import_checkpoint(tmp_path / "in", tmp_path / "out", sample_rate=8000)


def test_a_target_that_a_separator_does_not_have_is_named(golden_file, tmp_path):
    (tmp_path / "in").mkdir()
    golden_file.rename(tmp_path / "in" / "vocals.pth")
    with pytest.raises(InputError, match="it has no drums; it has vocals"):
        import_checkpoint(tmp_path / "in", tmp_path / "out", sample_rate=8000, sources=["drums"])
