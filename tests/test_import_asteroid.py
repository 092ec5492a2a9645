"""asteroid's Conv-TasNet checkpoints, imported, against numbers from asteroid itself (tests/golden/make_asteroid.py)."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from tests.signals import band_limited, relative_error

HERE = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "shared" / "golden"
VARIANTS = ["global_relu", "no_skip_softmax", "causal_cumulative", "causal_frame", "batch_linear"]
needs_shared = pytest.mark.skipif(
    not (SHARED / "asteroid_convtasnet.bin").exists(), reason="no shared folder"
)


def largest_difference(ours, golden):
    assert ours.shape == golden.shape
    return float((ours - golden).abs().max() / golden.abs().max())


def differences(model, mixture, latent, estimate):
    with torch.no_grad():
        return (
            largest_difference(model.encode(mixture).values, latent),
            largest_difference(model(mixture)[:, :, 0], estimate),
        )


@pytest.mark.parametrize("name", VARIANTS)
def test_an_imported_checkpoint_gives_asteroids_numbers(name, tmp_path):
    golden = load_file(HERE / "asteroid.golden.safetensors")
    model = load(import_checkpoint(HERE / f"asteroid_{name}.bin", tmp_path / name))
    parts = (golden[f"{name}.{what}"] for what in ("mixture", "latent", "estimate"))
    assert max(differences(model, *parts)) < 1e-5


@needs_shared
def test_the_shared_checkpoint_gives_asteroids_numbers(tmp_path):
    golden = load_file(SHARED / "asteroid_convtasnet.golden.safetensors")
    model = load(import_checkpoint(SHARED / "asteroid_convtasnet.bin", tmp_path / "model"))
    assert max(differences(model, golden["mixture"], golden["latent"], golden["estimate"])) < 1e-5


@pytest.mark.parametrize(("name", "rate"), [("global_relu", 8000), ("causal_cumulative", 16000)])
def test_the_sample_rate_is_that_of_the_file(name, rate, tmp_path):
    model = load(import_checkpoint(HERE / f"asteroid_{name}.bin", tmp_path / "model"))
    assert model.trained_rate == rate


def test_sources_get_the_names_that_are_given(tmp_path):
    file = HERE / "asteroid_global_relu.bin"
    assert load(import_checkpoint(file, tmp_path / "a")).sources == ("source_1", "source_2")
    assert load(import_checkpoint(file, tmp_path / "b", sources=["one", "two"])).sources == ("one", "two")
    with pytest.raises(InputError, match="2 sources, 1 names"):
        import_checkpoint(file, tmp_path / "c", sources=["one"])


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_an_imported_model_is_sampling_frequency_independent(rate, tmp_path):
    """A signal below 2950 Hz, float64: estimates at F and at 8 kHz agree to 1e-5 where both have a sample."""
    model = load(import_checkpoint(HERE / "asteroid_global_relu.bin", tmp_path / "model")).double()
    common = math.gcd(rate, 8000)
    with torch.no_grad():
        ours, trained = (model(band_limited(f), f)[..., :: f // common] for f in (rate, 8000))
    assert relative_error(ours, trained) < 1e-5


@pytest.mark.parametrize("rate", [8000, 11025])
def test_latents_below_the_trained_rate_agree(rate, tmp_path):
    """Trained at 16 kHz; a signal below 2950 Hz, float64: 1e-5."""
    model = load(import_checkpoint(HERE / "asteroid_causal_cumulative.bin", tmp_path / "model")).double()
    with torch.no_grad():
        ours, trained = (model.encode(band_limited(f), f).values for f in (rate, 16000))
    assert relative_error(ours, trained) < 1e-5


def changed(tmp_path, change, name="global_relu"):
    content = read_checkpoint(HERE / f"asteroid_{name}.bin")
    change(content)
    torch.save(content, tmp_path / "file.bin")
    return tmp_path / "file.bin"


def replaced(key, value):
    return lambda content: content["state_dict"].update({key: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["state_dict"].pop("masker.TCN.1.skip_conv.weight"), r"misses masker\.TCN\.1\.skip_conv\.weight"),
        (lambda c: c["state_dict"].pop("decoder.filterbank._filters"), r"misses decoder\.filterbank\._filters"),
        (replaced("masker.extra", torch.zeros(2)), r"unknown masker\.extra"),
        (replaced("masker.norm_1.weight", torch.zeros(12)), r"unknown masker\.norm_1\.weight"),
        (replaced("masker.bottleneck.0.gamma", torch.zeros(3)), r"shape masker\.bottleneck\.0\.gamma \(3,\) \(want \(12,\)\)"),
        (replaced("masker.mask_net.1.bias", torch.full((24,), math.nan)), r"not finite masker\.mask_net\.1\.bias"),
        (replaced("masker.mask_net.1.bias", torch.zeros(24, dtype=torch.int64)), r"kind masker\.mask_net\.1\.bias"),
        (lambda c: c.update(state_dict=[1]), "not a dictionary of tensors"),
        (lambda c: c.update(model_name="DCUNet"), "'DCUNet'"),
        (lambda c: c["model_args"].update(fb_name="TorchSTFTFB"), "fb_name='TorchSTFTFB'"),
        (lambda c: c["model_args"].update(norm_type="gGN"), "norm_type='gGN'"),
        (lambda c: c["model_args"].update(mask_act="swish"), "mask_act='swish'"),
        (lambda c: c["model_args"].update(encoder_activation=["relu"]), "encoder_activation"),
        (lambda c: c["model_args"].update(out_chan=6), "out_chan=6"),
        (lambda c: c["model_args"].update(n_heads=4, glu=True), "glu, n_heads"),
        (lambda c: c["model_args"].update(n_filters="12"), "n_filters='12'"),
        (lambda c: c["model_args"].update(conv_kernel_size=4), "kernel must be odd"),
        (lambda c: c["model_args"].update(sample_rate=8000.5), r"sample_rate=8000\.5"),
        (lambda c: c["model_args"].pop("n_src"), "no n_src"),
        (lambda c: c.update(model_args=None), "model_args"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(tmp_path, change, reason):
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(changed(tmp_path, change), tmp_path / "out")
    assert "file.bin" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_network_of_asteroids_beside_conv_tasnet_comes_too(tmp_path):
    model = load(import_checkpoint(HERE / "asteroid_other.bin", tmp_path / "out"))
    assert (model.architecture, model.config.block) == ("dualpath", "recurrent")


@pytest.mark.parametrize("rate", [None, 8000])
def test_a_missing_sample_rate_has_to_be_given(rate, tmp_path):
    file = changed(tmp_path, lambda content: content["model_args"].update(sample_rate=rate))
    if rate is None:
        with pytest.raises(InputError, match="does not say its sample rate; give sample_rate="):
            import_checkpoint(file, tmp_path / "out")
        assert load(import_checkpoint(file, tmp_path / "out", sample_rate=16000)).trained_rate == 16000
    else:
        with pytest.raises(InputError, match="sample rate is 8000, not 16000"):
            import_checkpoint(file, tmp_path / "out", sample_rate=16000)


def test_the_versions_in_a_file_are_read_as_texts():
    versions = read_checkpoint(HERE / "asteroid_global_relu.bin")["infos"]["software_versions"]
    assert type(versions["torch_version"]) is str
    assert versions["asteroid_version"] == "0.7.0"


def test_a_version_made_of_something_else_is_refused(tmp_path):
    class Version:
        def __reduce__(self):
            return torch.torch_version.TorchVersion, (b"text", "rot13")

    torch.save({"version": Version()}, tmp_path / "file")
    with pytest.raises(InputError):
        read_checkpoint(tmp_path / "file")


def test_a_hub_id_of_asteroid_is_its_pytorch_model(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def give(repo, file, revision=None):
        asked.append((repo, file, revision))
        return str(HERE / "asteroid_global_relu.bin")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", give)
    folder = import_checkpoint("someone/ConvTasNet_Libri2Mix_sepclean_8k", tmp_path / "out")
    assert asked == [("someone/ConvTasNet_Libri2Mix_sepclean_8k", "pytorch_model.bin", None)]
    card = (folder / "README.md").read_text()
    assert "license: other" in card
    assert "https://huggingface.co/someone/ConvTasNet_Libri2Mix_sepclean_8k, pytorch_model.bin" in card
    with pytest.raises(InputError, match="--seed 42"):
        import_checkpoint("someone/ConvTasNet_Libri2Mix_sepclean_8k", tmp_path / "out", seed=42)


def test_the_card_tells_data_set_and_licence_where_the_file_does(tmp_path):
    infos = {"dataset": "Libri2Mix", "task": "sep_clean", "license_note": "under CC BY-SA 4.0\nby someone"}
    folder = import_checkpoint(changed(tmp_path, lambda c: c["infos"].update(infos)), tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert "Data set: Libri2Mix\nTask: sep_clean\nLicence: under CC BY-SA 4.0 by someone\n" in card
