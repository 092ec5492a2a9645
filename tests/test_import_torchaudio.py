"""`torchaudio.models.ConvTasNet`: state dicts, models and bundles, imported, against torchaudio's own model."""

import math

import pytest
import torch
from torch import nn

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.torchaudio_convtasnet import from_module
from tests.signals import band_limited, relative_error

torchaudio = pytest.importorskip("torchaudio")

SMALL = {
    "num_sources": 3,
    "enc_kernel_size": 16,
    "enc_num_feats": 12,
    "msk_num_feats": 6,
    "msk_num_hidden_feats": 8,
    "msk_num_layers": 3,
    "msk_num_stacks": 2,
}


def theirs(**options):
    """torchaudio's model with random weights, norms away from one and zero."""
    torch.manual_seed(0)
    model = torchaudio.models.ConvTasNet(**{**SMALL, **options}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def saved(model, tmp_path, change=lambda state: None):
    state = dict(model.state_dict())
    change(state)
    torch.save(state, tmp_path / "file.pt")
    return tmp_path / "file.pt"


def largest_difference(ours, original, x):
    with torch.no_grad():
        a, b = ours(x)[:, :, 0], original(x)
    assert a.shape == b.shape
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("length", [800, 803, 37, 9])
@pytest.mark.parametrize("kernel", [16, 21])
@pytest.mark.parametrize("mask", ["relu", "sigmoid"])
def test_an_imported_state_dict_gives_torchaudios_output(mask, kernel, length, tmp_path):
    original = theirs(msk_activate=mask, enc_kernel_size=kernel)
    folder = import_checkpoint(
        saved(original, tmp_path), tmp_path / "out", sample_rate=8000, mask=mask, layers=3
    )
    assert largest_difference(load(folder), original, torch.randn(2, 1, length)) < 1e-5


@pytest.mark.parametrize("options", [{"msk_activate": "relu"}, {"msk_num_layers": 1, "num_sources": 1}])
def test_a_model_says_all_but_its_sample_rate(options):
    original = theirs(**options)
    ours = from_module(original, 16000)
    assert ours.trained_rate == 16000
    assert largest_difference(ours, original, torch.randn(1, 1, 500)) < 1e-5


def test_another_module_is_not_a_model_of_torchaudios():
    with pytest.raises(InputError, match="Linear is not a torchaudio"):
        from_module(nn.Linear(2, 2), 8000)


@pytest.fixture
def pipeline_file(tmp_path, monkeypatch):
    """The file of CONVTASNET_BASE_LIBRI2MIX, with random weights, where torchaudio would download it."""
    torch.manual_seed(0)
    model = torchaudio.models.conv_tasnet_base(2).eval()
    path = tmp_path / "conv_tasnet_base_libri2mix.pt"
    torch.save(model.state_dict(), path)
    monkeypatch.setattr(torchaudio.utils, "_download_asset", lambda *_, **__: str(path))
    return path


def test_a_bundle_is_imported_by_its_name(pipeline_file, tmp_path):
    ours = load(import_checkpoint("torchaudio:CONVTASNET_BASE_LIBRI2MIX", tmp_path / "out"))
    bundle = torchaudio.pipelines.CONVTASNET_BASE_LIBRI2MIX
    assert ours.trained_rate == bundle.sample_rate
    assert largest_difference(ours, bundle.get_model(), torch.randn(1, 1, 1000)) < 1e-5


def test_the_file_of_a_bundle_needs_no_settings(pipeline_file, tmp_path):
    ours = load(import_checkpoint(pipeline_file, tmp_path / "out"))
    bundle = torchaudio.pipelines.CONVTASNET_BASE_LIBRI2MIX
    assert ours.trained_rate == bundle.sample_rate
    assert largest_difference(ours, bundle.get_model(), torch.randn(1, 1, 1000)) < 1e-5


def test_a_bundle_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="known: CONVTASNET_BASE_LIBRI2MIX"):
        import_checkpoint("torchaudio:CONVTASNET_LARGE", tmp_path / "out")
    with pytest.raises(InputError, match="says its sample_rate itself"):
        import_checkpoint("torchaudio:CONVTASNET_BASE_LIBRI2MIX", tmp_path / "out", sample_rate=8000)

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torchaudio.utils, "_download_asset", offline)
    with pytest.raises(InputError, match=r"cannot be downloaded \(no network\)"):
        import_checkpoint("torchaudio:CONVTASNET_BASE_LIBRI2MIX", tmp_path / "out")


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_an_imported_model_is_sampling_frequency_independent(rate):
    """A signal below 2950 Hz, float64: estimates at F and at 8 kHz agree to 1e-5 where both have a sample."""
    model = from_module(theirs(msk_activate="relu"), 8000).double()
    common = math.gcd(rate, 8000)
    with torch.no_grad():
        ours, trained = (model(band_limited(f), f)[..., :: f // common] for f in (rate, 8000))
    assert relative_error(ours, trained) < 1e-5


BLOCK = "mask_generator.conv_layers.1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop(f"{BLOCK}.skip_out.weight"), rf"misses {BLOCK}\.skip_out\.weight"),
        (lambda s: s.pop("encoder.weight"), r"misses encoder\.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown extra"),
        (lambda s: s.update({f"{BLOCK}.conv_layers.2.bias": torch.zeros(3)}), rf"{BLOCK}\.conv_layers\.2\.bias \(3,\) \(want \(8,\)\)"),
        (lambda s: s.update({"decoder.weight": torch.full((12, 1, 16), math.inf)}), r"not finite decoder\.weight"),
        (lambda s: s.update({"encoder.weight": torch.zeros(16)}), r"encoder\.weight \(16,\)"),
        (lambda s: s.update({"mask_generator.output_conv.weight": torch.zeros(35, 6, 1)}), "35 channels"),
        (lambda s: s.update({"decoder.weight": 3}), "dictionary of tensors"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(tmp_path, change, reason):
    file = saved(theirs(), tmp_path, change)
    with pytest.raises(InputError, match=reason):
        import_checkpoint(file, tmp_path / "out", sample_rate=8000, mask="relu", layers=3)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"mask": "relu", "layers": 3}, "does not say its sample rate; give sample_rate="),
        ({"sample_rate": 8000, "layers": 3}, "does not say its mask; give mask='relu'"),
        ({"sample_rate": 8000, "mask": "relu"}, "does not say its layers; give layers=N.*6 blocks"),
        ({"sample_rate": 8000, "mask": "relu", "layers": 4}, "layers=4 does not divide its 6 blocks"),
        ({"sample_rate": 8000, "mask": "tanh", "layers": 3}, "'tanh'"),
        ({"sample_rate": -1, "mask": "relu", "layers": 3}, "sample_rate must be a positive"),
        ({"sample_rate": 8000, "mask": "relu", "layers": 3, "sources": ["a", "b"]}, "3 sources, 2 names"),
    ],
)
def test_what_a_state_dict_does_not_say_has_to_be_given(tmp_path, told, reason):
    with pytest.raises(InputError, match=reason):
        import_checkpoint(saved(theirs(), tmp_path), tmp_path / "out", **told)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (nn.Linear(2, 2).state_dict(), "weight, bias"),
        ({}, "nothing"),
        ([1, 2], "a list"),
        ({str(i): torch.zeros(1) for i in range(9)}, r"0, 1, 2, 3, 4 \.\.\."),
    ],
)
def test_a_checkpoint_of_another_architecture_says_what_it_holds(tmp_path, content, held):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(
        InputError, match=f"holds {held}: not a checkpoint that can be imported; known: SFI Conv-TasNet"
    ):
        import_checkpoint(tmp_path / "file.pt", tmp_path / "out")
