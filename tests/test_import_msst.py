"""RoFormers of Music-Source-Separation-Training, imported, against numbers of pymss-core (tests/golden/make_msst.py)."""

import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.yaml_data import Tagged, read_yaml
from sfi_zoo.models.parts.bands import mel_ranges
from tests.signals import relative_error

HERE = Path(__file__).parent / "golden"
VARIANTS = ["bs_two", "bs_mono", "mel_four", "mel_one"]


def noise(channels):
    """The mixture of make_msst.py."""
    n = torch.arange(3000, dtype=torch.float64)
    gain = 1e-5 * (n > 500) + (n > 1000)
    x = [(((n + 1) * 12.9898 + 78.233 * c).sin() * 43758.5453).frac() * gain for c in range(channels)]
    return torch.stack(x)[None].float()


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("msst")
    return {
        name: load(
            import_checkpoint(HERE / f"msst_{name}.pt", folder / name, config=HERE / f"msst_{name}.yaml")
        )
        for name in VARIANTS
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_an_imported_checkpoint_gives_the_packages_numbers(name, imported):
    golden = load_file(HERE / "msst.golden.safetensors")[name]
    model = imported[name]
    with torch.no_grad():
        ours = model(noise(model.config.channels))[0]
    assert relative_error(ours, golden) < 1e-5


def test_names_rates_and_chunks_are_those_of_the_yaml(imported):
    assert [imported[name].sources for name in VARIANTS] == [
        ("vocals", "drums"),
        ("vocals",),
        ("vocals", "drums", "bass", "other"),
        ("vocals",),
    ]
    assert [imported[name].sample_rate for name in VARIANTS] == [44100, 44100, 16000, 44100]
    assert {model.chunk_seconds for model in imported.values()} == {2.0}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("factor", [2, 1.5])
def test_it_is_sampling_frequency_independent(name, factor, imported):
    """Tones in every band: stems at F and at F0 agree where both have a sample, away from the ends, as well as a window of 128 samples lets
    them; run as if F were F0 the model gives something else.
    """
    model = imported[name]
    trained, higher = model.trained_rate, int(model.trained_rate * factor)
    step = math.gcd(trained, higher)

    def stems(f, told):
        t = torch.arange(f // 20, dtype=torch.float64) / f
        x = torch.stack([(2 * torch.pi * trained * k / 200 * t + k**2).sin() for k in range(1, 70)])
        x = torch.stack([x.sum(0), x[::3].sum(0) - x[1::3].sum(0)])[: model.config.channels] + 0.1
        with torch.no_grad():
            y = model(x[None].float(), told)[..., :: f // step]
        return y[..., step // 80 : -step // 80]

    assert relative_error(stems(higher, higher), stems(trained, trained)) < 0.02
    assert relative_error(stems(higher, trained), stems(trained, trained)) > 0.2


@pytest.mark.parametrize(
    ("count", "rate", "n_fft"), [(60, 44100, 2048), (10, 16000, 128), (6, 44100, 128), (48, 48000, 2048)]
)
def test_mel_bands_are_those_of_a_filter_bank(count, rate, n_fft):
    """Triangles written out, their edges by the inverse of the scale, found by bisection."""

    def mel(hz):
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000, 6.4)

    def inverse(wanted):
        low, high = 0.0, rate / 2
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if mel(middle) < wanted else (low, middle)
        return low

    edges = [inverse(mel(rate / 2) * i / (count + 1)) for i in range(count + 2)]
    for i, (first, end) in enumerate(mel_ranges(count, rate, n_fft)):
        inside = [b for b in range(n_fft // 2 + 1) if edges[i] < b * rate / n_fft < edges[i + 2] - 1e-9]
        inside += [0] * (i == 0) + [n_fft // 2] * (i == count - 1)
        assert (min(inside), max(inside) + 1) == (first, end)


def test_too_many_mel_bands_are_refused():
    with pytest.raises(InputError, match="without a bin"):
        mel_ranges(200, 44100, 512)


def test_zero_dc_and_dense_pairs_do_what_they_say(tmp_path):
    changes = (set_to(), set_to(zero_dc=True), set_to(skip_connection=True))
    files = [file(tmp_path / str(i), change) for i, change in enumerate(changes)]
    a, b, c = (load(import_checkpoint(path, path.parent / "out")) for path in files)
    latent = a.encode(noise(2))
    with torch.no_grad():
        masks, zero = (m.predict_masks(latent).unflatten(2, (2, 65)) for m in (a, b))
        split = a.split(torch.view_as_real(latent.values).unflatten(1, (2, 65)).permute(0, 3, 1, 2, 4), 6)
        x, given = split, []
        for frames, bands in zip(c.network.along_frames, c.network.along_bands, strict=True):
            x = x + sum(given)
            x = frames(x[0].transpose(0, 1)).transpose(0, 1)[None]
            x = bands(x[0])[None]
            given.append(x)
        assert torch.allclose(c.network(split), c.network.norm(x), atol=1e-5)
    assert not zero[:, :, :, 0].any()
    assert torch.equal(zero[:, :, :, 1:], masks[:, :, :, 1:])


# files ------------------------------------------------------------------------------------------------------------------


def file(folder, change=lambda values: None, alter=lambda state: state, name="bs_two"):
    folder.mkdir(exist_ok=True)
    values = read_yaml(HERE / f"msst_{name}.yaml")
    change(values)
    (folder / "config.yaml").write_text(yaml.dump(values))
    torch.save(alter(read_checkpoint(HERE / f"msst_{name}.pt")), folder / "model.ckpt")
    return folder / "model.ckpt"


def wrapped(*prefixes):
    return lambda state: {"".join(prefixes) + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "alter",
    [
        lambda state: {"state_dict": wrapped("model.")(state), "epoch": 3},
        lambda state: {"state": state},
        lambda state: {"model_state_dict": wrapped("module.", "_orig_mod.")(state), "optimizer": {"lr": 1}},
        wrapped("_orig_mod.", "module."),
    ],
    ids=["lightning", "state", "compiled", "parallel"],
)
def test_wrappers_are_taken_off(alter, imported, tmp_path):
    model = load(import_checkpoint(file(tmp_path, alter=alter), tmp_path / "out"))
    assert all(
        torch.equal(value, imported["bs_two"].state_dict()[key]) for key, value in model.state_dict().items()
    )


def set_to(**values):
    return lambda settings: settings["model"].update(values)


def without(key):
    return lambda state: {k: v for k, v in state.items() if k != key}


def learned(state):
    return {k: v * 1.1 if "rotary" in k else v for k, v in state.items()}


@pytest.mark.parametrize(
    ("change", "alter", "reason"),
    [
        (set_to(dim=16), None, r"shape .*band_split\.to_features\.0\.1\.weight \(8, 8\) \(want \(16, 8\)\)"),
        (set_to(depth=3), None, r"misses layers\.2\."),
        (set_to(freqs_per_bands=(2, 2, 4, 8, 16, 30)), None, "62 bins in all, and stft_n_fft=128 has 65"),
        (set_to(freqs_per_bands=(2, -2)), None, "not positive whole numbers"),
        (set_to(linear_transformer_depth=1), None, "linear_transformer_depth=1"),
        (set_to(dim=2**19, heads=2**10), None, "more than 1000000000 weights"),
        (set_to(dim=10**9), None, "more than any model has"),
        (set_to(stft_hop_length=100), None, "hop_length must be at most"),
        (set_to(magic=True), None, "has magic, which cannot"),
        (set_to(depth="two"), None, "depth='two', not int"),
        (lambda v: v.pop("model"), None, "has no model; of the types"),
        (lambda v: v["audio"].pop("sample_rate"), None, "does not say its sample rate"),
        (None, without("final_norm.gamma"), r"misses final_norm\.gamma"),
        (None, without("mask_estimators.1.to_freqs.5.0.2.bias"), r"misses mask_estimators\.1\.to_freqs\.5\.0\.2\.bias"),
        (None, learned, r"rotary_embed\.freqs are not the angles"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(change, alter, reason, tmp_path):
    path = file(tmp_path, change or (lambda v: None), alter or (lambda s: s))
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_second_file_is_asked_for(tmp_path):
    shutil.copy(HERE / "msst_bs_two.pt", tmp_path / "model.ckpt")
    with pytest.raises(InputError, match=r"second file is missing.*config="):
        import_checkpoint(tmp_path / "model.ckpt", tmp_path / "out")
    with pytest.raises(InputError, match="is no file"):
        import_checkpoint(tmp_path / "model.ckpt", tmp_path / "out", config=tmp_path / "none.yaml")


def test_another_type_says_which_can_come(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "audio: {chunk_size: 1}\ntraining: {model_type: htdemucs}\nhtdemucs: {depth: 4}\n"
    )
    torch.save({"encoder.0.weight": torch.zeros(2)}, tmp_path / "model.ckpt")
    with pytest.raises(InputError, match=r"bs_roformer and mel_band_roformer can be imported; .*htdemucs"):
        import_checkpoint(tmp_path / "model.ckpt", tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch owned']",
        "a: !!python/name:os.system",
        "a: !!python/module:os",
        "a: !!python/object/new:subprocess.Popen [[touch, owned]]",
        "!!python/object/apply:eval ['1']",
        "a: !new:os.system {x: 1}",
        "a: !!python/tuple 3",
        "a: [",
        "- 1",
        "a: &a [*a]",
        "x" * 2_000_000,
        "a: " + "[" * 3000 + "]" * 3000,
        "\n".join(["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]),
    ],
)  # fmt: skip
def test_a_hostile_yaml_is_refused_in_one_line(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


def test_tuples_numbers_and_tags_are_data(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "a: !!python/tuple [1, 2]\nb: 1e-4\nc: !ref <d>\ne: !new:os.system\n  f: 1\n"
    )
    values = read_yaml(tmp_path / "x.yaml", hyper=True)
    assert values == {
        "a": (1, 2),
        "b": 1e-4,
        "c": Tagged("ref", "<d>"),
        "e": Tagged("new:os.system", {"f": 1}),
    }
