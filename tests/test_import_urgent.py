"""BSRNN of the URGENT 2026 challenge's baseline, imported, against its formula written out here with its names of the weights.

The reference below is built on `torch.stft` and plain layers; nothing of it is shared with the package. It takes the transform as the
baseline does: windows and hops of n F / 48000 samples.
"""

import sys
import types

import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.layers.surgery import freeze
from sfi_zoo.metrics import score_model, synthetic_songs
from sfi_zoo.metrics.lee import mask_lee
from sfi_zoo.metrics.observation import observe
from sfi_zoo.metrics.sdr import si_sdr
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import masked
from sfi_zoo.models.parts.bands import band_edges
from sfi_zoo.training.objective import Objective
from sfi_zoo.training.recipe import LossConfig
from tests.signals import relative_error

BINS = [5] + [4] * 19 + [10] * 6 + [40] * 7 + [60]
OUTER = "se_model.bsrnn.bsrnn."
WIDTH = 12


class Reference(nn.Module):
    """m x + r on an STFT of 20 ms each 10 ms; norms over all frames, those of the recurrent layers over all bands too."""

    def __init__(self, width=WIDTH, layers=2, causal=False, speakers=1, bins=BINS, norm=nn.GroupNorm):
        super().__init__()
        self.bins, self.speakers = bins, speakers

        def head(size):
            last = nn.Conv1d(4 * width, 4 * size * speakers, 1)
            return nn.Sequential(
                norm(1, width, eps=1e-8), nn.Conv1d(width, 4 * width, 1), nn.Tanh(), last, nn.GLU(dim=1)
            )

        def rnns(both):
            return nn.ModuleList(
                nn.LSTM(width, 2 * width, batch_first=True, bidirectional=both) for _ in range(layers)
            )

        def linears(size):
            return nn.ModuleList(nn.Linear(size, width) for _ in range(layers))

        def norms():
            return nn.ModuleList(norm(1, width) for _ in range(layers))

        self.band_split = nn.ModuleDict(
            {
                "norm": nn.ModuleList(norm(1, 2 * size, eps=1e-8) for size in bins),
                "fc": nn.ModuleList(nn.Conv1d(2 * size, width, 1) for size in bins),
            }
        )
        self.norm_time, self.rnn_time, self.fc_time = (
            norms(),
            rnns(not causal),
            linears((2 if causal else 4) * width),
        )
        self.norm_freq, self.rnn_freq, self.fc_freq = norms(), rnns(True), linears(4 * width)
        self.mask_decoder = nn.ModuleDict(
            {name: nn.ModuleList(map(head, bins)) for name in ("mlp_mask", "mlp_residual")}
        )

    def spectra(self, waveform, rate):
        """(time,) -> mixture, masks and residuals: (bins,), (speakers, bins) x frames."""
        n = 960 * rate // 48000
        x = torch.stft(waveform, n, n // 2, window=torch.hann_window(n), return_complex=True)
        z, low = [], 0
        for i, size in enumerate(self.bins):
            if low >= len(x):
                break
            band = x[low : low + size]
            band = torch.cat([band, band.new_zeros(size - len(band), x.shape[1])])
            values = torch.stack([band.real, band.imag], 1).flatten(0, 1)  # (bin, part) x frames
            z.append(self.band_split["fc"][i](self.band_split["norm"][i](values[None])))
            low += size
        z = torch.stack(z, -1)  # 1, width, frames, bands
        for i in range(len(self.rnn_time)):
            y = self.norm_time[i](z)[0].permute(2, 1, 0)  # bands, frames, width
            z = z + self.fc_time[i](self.rnn_time[i](y)[0]).permute(2, 1, 0)
            y = self.norm_freq[i](z)[0].permute(1, 2, 0)  # frames, bands, width
            z = z + self.fc_freq[i](self.rnn_freq[i](y)[0]).permute(2, 0, 1)
        both = []
        for heads in self.mask_decoder.values():
            made = [heads[i](z[..., i])[0].unflatten(0, (self.speakers, -1, 2)) for i in range(z.shape[-1])]
            made = torch.cat(made, 1)[:, : len(x)].transpose(2, 3).contiguous()
            both.append(torch.view_as_complex(made))
        return x, *both

    def forward(self, waveform, rate):
        """(time,) -> (speakers, time)."""
        x, masks, residuals = self.spectra(waveform, rate)
        n = 960 * rate // 48000
        made = masks * x + residuals
        return torch.istft(made, n, n // 2, window=torch.hann_window(n), length=len(waveform))


def reference(**settings):
    torch.manual_seed(0)
    made = Reference(**settings).eval()
    for name, weight in made.named_parameters():
        if "norm" in name or ".0." in name:
            nn.init.uniform_(weight, 0.5, 1.5)
        if "mlp_residual" in name and ".3." in name:
            nn.init.normal_(weight)  # as strong as the masked mixture, about
    return made


def lightning(made, prefix=OUTER, **more):
    state = {prefix + key: value for key, value in made.state_dict().items()}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5",
        "state_dict": state | more,
        "optimizer_states": [],
    }


def imported(content, folder, **told):
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / "bsrnn.ckpt")
    return load(import_checkpoint(folder / "bsrnn.ckpt", folder / "out", **told))


def noise(rate, seconds=0.7, scale=0.1):
    """Loud bands and quiet ones."""
    torch.manual_seed(1)
    x = torch.randn(int(rate * seconds)).cumsum(0)
    return scale * (x - x.mean()) / x.std() + 1e-3 * torch.randn(len(x))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = reference()
    return made, imported(lightning(made), tmp_path_factory.mktemp("urgent"))


def test_the_bands_are_481_bins_and_those_of_the_paper(pair):
    assert sum(BINS) == 481
    assert pair[1].config.ranges == tuple(
        zip(*[[sum(BINS[:i]) for i in range(35)][k : 34 + k] for k in (0, 1)], strict=True)
    )
    assert band_edges("universal", 48000, 960) == band_edges(pair[1].config.bands, 48000, 960)


@pytest.mark.parametrize("rate", [48000, 44100, 32000, 24000, 16000, 8000])
def test_stems_masks_and_residuals_are_the_baselines_at_its_own_rates(rate, pair):
    made, model = pair
    x = noise(rate)
    with torch.no_grad():
        _, masks, residuals = made.spectra(x, rate)
        ours, added = model.predict(model.encode(x[None, None], rate))
        assert relative_error(ours[0, :, : masks.shape[1]], masks) < 1e-4
        assert relative_error(added[0, :, : masks.shape[1]], residuals) < 1e-4
        assert not ours[0, :, masks.shape[1] :].any()
        assert relative_error(model(x[None, None], rate)[0, :, 0], made(x, rate)) < 1e-4


@pytest.mark.parametrize(
    "settings",
    [{"causal": True}, {"speakers": 2}, {"width": 7, "layers": 3}, {"bins": [5, *[4] * 19, *[100] * 4]}],
    ids=["causal", "two", "sizes", "bands"],
)
def test_other_sizes_are_read_off_the_weights(settings, tmp_path):
    made = reference(**settings)
    model = imported(lightning(made), tmp_path)
    x = noise(48000)
    with torch.no_grad():
        assert relative_error(model(x[None, None], 48000)[0, :, 0], made(x, 48000)) < 1e-4
    assert len(model.sources) == settings.get("speakers", 1)


def test_a_model_of_one_source_gives_speech(pair):
    assert pair[1].sources == ("speech",)
    assert pair[1].trained_rate == 48000


@pytest.mark.parametrize("rate", [11025, 22050, 96000])
def test_at_other_rates_the_masks_are_those_of_48000_hz(rate, pair):
    """Of a signal that both rates hold."""
    model = pair[1]

    def seen(f, mode="native"):
        times = torch.arange(f * 12 // 25) / f
        x = sum((2 * torch.pi * 110 * k * times + k).sin() for k in range(1, 33))
        return observe(Adapted(model, mode), x[None, None], f)

    trained = seen(48000)
    assert mask_lee(seen(rate), trained).decibels() < -40
    if rate < 48000:
        assert mask_lee(seen(rate, "none"), trained).decibels() > -3


# the residual in the contract ------------------------------------------------------------------------------------------


def test_the_residual_is_part_of_the_output_and_not_of_the_masks(pair):
    model = pair[1]
    x = noise(48000, scale=0.01)[None, None]
    with torch.no_grad():
        latent = model.encode(x, 48000)
        masks, residual = model.predict(latent)
        whole, part = (
            model.decode(masked(latent, masks).values, 48000, x.shape[-1], **r)
            for r in ({"residual": residual}, {})
        )
        assert torch.equal(masks, model.predict_masks(latent))
        assert torch.equal(whole.transpose(0, 1)[None].transpose(1, 2), model(x, 48000))
    assert relative_error(part, whole) > 0.1
    assert torch.equal(observe(model, x, 48000).masked, masks * latent.values[:, None])


@pytest.mark.parametrize(("kind", "factor"), [("equal", 1), ("samples", 3)])
def test_a_residual_is_as_strong_as_its_setting_says(kind, factor):
    model = sfi_zoo.create(
        "bsrnn", sources=("a",), sample_rate=48000, n_fft=960, hop_length=480, residual=kind
    ).eval()
    with torch.no_grad():
        latent = model.encode(noise(16000)[None, None], 16000)
        zero = torch.zeros_like(latent.values[:, None])
        residual = model.predict(latent)[1]
        assert torch.allclose(
            model.decode(zero, 16000, residual=residual), model.decode(residual * factor, 16000), atol=1e-7
        )


def test_every_adaptation_mode_has_the_residual(pair):
    model = pair[1]
    x = noise(48000)[None, None]
    for mode in ("native", "resample", "none"):
        adapted = Adapted(model, mode)
        with torch.no_grad():
            latent = adapted.encode(x, 44100)
            masks, residual = adapted.predict(latent)
            stems = adapted.decode(masked(latent, masks).values, 44100, x.shape[-1], residual)
            assert relative_error(stems, adapted(x, 44100)[:, :, 0]) < 1e-4, mode


def test_a_frozen_model_has_the_residual(pair):
    model = pair[1]
    x = noise(16000)[None, None]
    with torch.no_grad():
        assert relative_error(freeze(model, 16000)(x), model(x, 16000)) < 1e-5


def test_scores_are_those_of_the_output():
    model = sfi_zoo.create(
        "bsrnn", sources=("bass", "drums"), sample_rate=16000, n_fft=320, hop_length=160, residual="equal"
    ).eval()
    clip = synthetic_songs(model.sources, count=1, duration=1)[0]
    row = score_model(model, [8000], [clip], ["native"])[0]
    mixture, references = clip.at(8000)
    with torch.no_grad():
        stems = model(mixture[None], 8000)[0]
    assert row["si_sdr_db"] == pytest.approx(float(si_sdr(stems, references).mean()), abs=0.01)


def test_a_residual_is_trained():
    model = sfi_zoo.create(
        "bsrnn", sources=("a", "b"), sample_rate=16000, n_fft=320, hop_length=160, residual="equal"
    )
    targets = torch.randn(2, 2, 1, 8000)
    loss = Objective(model, LossConfig())(targets, torch.tensor([True, False]), 11025.0)
    loss.sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in model.residuals.parameters() if p.numel() > 1
    )


# files -----------------------------------------------------------------------------------------------------------------


def test_what_lightning_and_the_baseline_put_beside_the_weights_is_left_out(pair, tmp_path, monkeypatch):
    """Its settings are an object of a class of its own, which is not imported; an early version has a linear layer that it does not use."""
    module = types.ModuleType("baseline_code.config")
    module.Config = type("Config", (), {"__module__": "baseline_code.config", "__qualname__": "Config"})
    monkeypatch.setitem(sys.modules, "baseline_code", types.ModuleType("baseline_code"))
    monkeypatch.setitem(sys.modules, "baseline_code.config", module)
    cfg = module.Config()
    cfg.model_configs = {"num_channel": WIDTH}
    unused = {"nn.weight": torch.zeros(100, 100), "nn.bias": torch.zeros(100)}
    callbacks = {
        "ModelCheckpoint": {
            "best_model_score": torch.tensor(0.3),
            "best_k_models": {"a.ckpt": torch.tensor(0.3)},
        }
    }
    content = lightning(pair[0], **unused) | {"hyper_parameters": {"cfg": cfg}, "callbacks": callbacks}
    model = imported(content, tmp_path)
    assert all(torch.equal(value, pair[1].state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.bsrnn.bsrnn.", "model.bsrnn.bsrnn.", "bsrnn."])
def test_bare_and_wrapped_state_dicts_are_taken(prefix, pair, tmp_path):
    model = imported({prefix + key: value for key, value in pair[0].state_dict().items()}, tmp_path)
    assert all(torch.equal(value, pair[1].state_dict()[key]) for key, value in model.state_dict().items())


class ChannelNorm(nn.Module):
    def __init__(self, _groups, channels, eps=0.0):
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, channels, 1)) for _ in range(2))


def without(name):
    return lambda state: {k: v for k, v in state.items() if not k.endswith(name)}


def shaped(name, *shape):
    """Claims a size without values."""
    return lambda state: state | {OUTER + name: torch.empty(shape)}


def wider(state):
    return {
        k: v.repeat(2, *[1] * (v.ndim - 1)) if k.endswith("fc_time.1.weight") else v for k, v in state.items()
    }


@pytest.mark.parametrize(
    ("settings", "prefix", "alter", "reason"),
    [
        ({}, "separator.bsrnn.", dict, "its BSRNN is at separator.bsrnn., not at se_model"),
        ({}, "dnn.", dict, "generative: it predicts no masks"),
        ({"norm": ChannelNorm}, OUTER, dict, r"norms are of the kind cLN or cfLN.*GN, which can be imported"),
        ({"norm": lambda _, channels, eps=0: nn.BatchNorm1d(channels)}, OUTER, dict, "norms are of the kind BN"),
        ({"bins": [5, 4, 4]}, OUTER, dict, "bands have 13 bins in all, those of the baseline 481"),
        ({}, OUTER, without("mlp_residual.3.1.bias"), r"misses mask_decoder\.mlp_residual\.3\.1\.bias"),
        ({}, OUTER, without("rnn_time.0.weight_hh_l0"), r"misses rnn_time\.0\.weight_hh_l0"),
        ({}, OUTER, wider, r"shape fc_time\.1\.weight \(24, 48\) \(want \(12, 48\)\)"),
        ({}, OUTER, shaped("mask_decoder.mlp_mask.0.3.weight", 2**40, 0, 1), "of 54975581388 sources"),
        ({}, OUTER, shaped("band_split.fc.0.weight", 12, 0, 1), "have 476 bins in all"),
        ({"bins": [481]}, OUTER, shaped("band_split.fc.1.weight", 12, 0, 1), "band 1 has no bin"),
        ({}, OUTER, shaped("rnn_time.0.weight_hh_l0", 2**40, 0), "hidden must be a positive whole number"),
        ({}, OUTER, lambda state: state | {"extra.weight": torch.zeros(2)}, r"has unknown extra\.weight"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(settings, prefix, alter, reason, tmp_path):
    content = lightning(Reference(**settings), prefix)
    content["state_dict"] = alter(content["state_dict"])
    with pytest.raises(InputError, match=reason) as caught:
        imported(content, tmp_path)
    assert "\n" not in str(caught.value)


def test_the_published_size_has_38_million_weights():
    """196 channels, 6 layers; "~ 38M", as the baseline's settings say."""
    made = Reference(196, 6)
    model = sfi_zoo.create(
        "bsrnn", sources=("speech",), sample_rate=48000, n_fft=960, hop_length=480, width=196, layers=6, hidden=392,
        mask_hidden=784, norms="item", residual="samples",
    )  # fmt: skip
    assert [sum(p.numel() for p in m.parameters()) for m in (made, model)] == [37_800_844] * 2
