"""Masks of foreign networks, looked at from outside: those that the network itself multiplies with, at every rate."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

import sfi_zoo
from sfi_zoo import InputError, at_sample_rate
from sfi_zoo.metrics import mask_lee, observe, predictor_lee, score_model, synthetic_songs
from sfi_zoo.models.foreign import ForeignConfig, ForeignSeparator
from tests.signals import band_limited, relative_error

F0 = 8000
SOURCES = ("vocals", "drums")


class Waveform(nn.Module):
    """A latent behind an activation, masks of a module."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.enc, self.act = nn.Conv1d(1, 16, 32, 16, padding=8, bias=False), nn.ReLU()
        self.mask = nn.Sequential(nn.Conv1d(16, 32, 3, padding=1), nn.Sigmoid(), nn.Unflatten(1, (2, 16)))
        self.dec = nn.ConvTranspose1d(16, 1, 32, 16, padding=8, bias=False)

    def masked(self, x):
        z = self.act(self.enc(x))
        return self.mask(z) * z[:, None]

    def forward(self, x):
        z = self.masked(x)
        return self.dec(z.flatten(0, 1)).unflatten(0, z.shape[:2])[:, :, 0]


class InFront(Waveform):
    """The same, with padding in front: it can only be wrapped."""

    def forward(self, x):
        return super().forward(functional.pad(x, (21, 0)))[..., : x.shape[-1]]


class Stereo(nn.Module):
    """`torch.stft` of two channels together, a mask for each of two sources."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("window", torch.hann_window(128))
        self.mask = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Sigmoid(), nn.Unflatten(1, (2, 2)))

    def forward(self, x):
        z = torch.stft(x.flatten(0, 1), 128, 32, window=self.window, return_complex=True).unflatten(
            0, x.shape[:2]
        )
        y = self.mask(z.abs()) * z[:, None]
        return torch.istft(y.flatten(0, 2), 128, 32, window=self.window, length=x.shape[-1]).unflatten(
            0, y.shape[:3]
        )


class OnWaveform(ForeignSeparator):
    architecture, masks, latent = "on_waveform", "mask", "act"

    def build(self, config):
        return Waveform()


class OnlyWrapped(OnWaveform):
    def build(self, config):
        return InFront()


class Together(ForeignSeparator):
    """Two channels heard together; a module gives (items, sources, channels, bins, frames)."""

    architecture, masks, channels = "together", "mask", 2
    example_inputs = torch.zeros(1, 2, F0)

    def build(self, config):
        return Stereo()


def built(kind):
    return kind(ForeignConfig(F0, SOURCES)).eval()


def sound(rate, channels=1):
    return band_limited(rate, 2400).float().expand(1, channels, -1)


@pytest.mark.parametrize("rate", [6000, F0, 11025])
def test_masks_are_those_of_the_network_at_every_rate(rate):
    model, seen = built(OnWaveform), []
    x = sound(rate)
    latent = model.encode(x, rate)
    masks = model.predict_masks(latent)
    handle = model.network.mask.register_forward_hook(lambda module, given, y: seen.append(y))
    with torch.no_grad(), at_sample_rate(model.network, rate):
        expected = model.network(x)
        z = model.network.act(model.network.enc(x))
    handle.remove()
    assert torch.equal(masks, seen[-1]) and torch.equal(latent.values, z)
    y = model.decode(masks * latent.values[:, None], rate, x.shape[-1])
    assert relative_error(y, expected) < 1e-6


def test_frames_are_at_the_same_seconds():
    model = built(OnWaveform)
    grids = [model.encode(sound(rate), rate).grid for rate in (F0, 11025)]
    n = min(len(g.times) for g in grids)
    assert torch.allclose(grids[0].times[:n], grids[1].times[:n], atol=1e-9)
    assert torch.equal(grids[0].frequencies, grids[1].frequencies)
    assert grids[0].times[1] - grids[0].times[0] == pytest.approx(16 / F0)


@pytest.mark.parametrize("kind", [OnWaveform, OnlyWrapped])
def test_lees_of_foreign_masks(kind):
    """Small where the layers, or the resampler, adapt the model; none for its predictor above F0; in every adaptation mode."""
    model = built(kind)
    trained, high = (observe(model, sound(rate), rate) for rate in (F0, 11025))
    assert mask_lee(high, trained).decibels() < -60
    assert predictor_lee(model.predict_masks, trained, 11025).value() == 0
    assert predictor_lee(model.predict_masks, trained, 4000).value() > 0
    songs = synthetic_songs(SOURCES, count=1, duration=0.5)
    rows = score_model(model, [6000], songs, ["native", "resample", "none"])
    lee = {row["mode"]: row["mask_lee_db"] for row in rows}
    assert lee["native"] < lee["none"] - 6 and lee["resample"] < lee["none"] - 6


@pytest.mark.parametrize("rate", [6000, F0, 11025])
def test_channels_that_are_heard_together_are_one_item(rate):
    model = built(Together)
    x = torch.cat([sound(rate), 0.5 * sound(rate).flip(-1)], 1)
    latent = model.encode(x, rate)
    masks = model.predict_masks(latent)
    assert masks.shape[:3] == (1, 2, 2 * 65) and latent.values.shape[1] == len(latent.grid.frequencies) == 130
    y = model.decode(masks * latent.values[:, None], rate, x.shape[-1])
    expected = model(x, rate)
    assert relative_error(y, expected[0].transpose(0, 1)) < 1e-5
    assert model(x[:, :1], rate).shape == (1, 2, 1, rate)


def test_masks_come_back_from_a_folder_and_a_pickle(tmp_path, monkeypatch):
    monkeypatch.setattr(sfi_zoo.models, "_REGISTERED", {})
    sfi_zoo.register(OnWaveform)
    model, x = built(OnWaveform), sound(11025)
    expected = observe(model, x, 11025).masks
    model.save_pretrained(tmp_path / "mine")
    assert torch.equal(observe(sfi_zoo.load(tmp_path / "mine").eval(), x, 11025).masks, expected)
    assert torch.equal(observe(pickle.loads(pickle.dumps(model)), x, 11025).masks, expected)


def test_gradients_reach_the_mask_network_and_the_encoder():
    model = built(OnWaveform)
    latent = model.encode(sound(11025), 11025)
    model.predict_masks(latent).square().sum().backward()
    assert model.network.mask[0].weight.grad.norm() > 0
    assert model.network.enc.filters.weight.grad.norm() > 0


class Without(OnWaveform):
    masks = None


class Misnamed(OnWaveform):
    masks = "masks"


class Subtracted(OnWaveform):
    """The second source is what is left of the mixture."""

    def build(self, config):
        class Left(Waveform):
            def forward(self, x):
                y = super().forward(x)[:, :1]
                return torch.cat([y, x - y], 1)

        return Left()


class BeforeTheActivation(OnWaveform):
    """The wrong latent."""

    latent = None


class OtherShape(OnWaveform):
    masks = "mask.0"


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (Without, "names no masks.*mask"),
        (Misnamed, "no module 'masks'; did you mean one of: mask"),
        (Subtracted, "differ from what Left gives"),
        (BeforeTheActivation, "differ from what Waveform gives.*latent = None"),
        (OtherShape, "differ from what Waveform gives"),
    ],
)
def test_hooks_that_are_wrong_are_told(kind, named):
    with pytest.raises(InputError, match=named) as error:
        built(kind).encode(sound(F0), F0)
    assert "\n" not in str(error.value)


def test_a_wrapped_network_without_frames_has_no_masks():
    class AtAudioRate(OnWaveform):
        masks, latent = "1", None

        def build(self, config):
            return nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 2, 1))

    with pytest.raises(InputError, match=r"no call makes frames of samples.*no masks"):
        built(AtAudioRate).encode(sound(F0), F0)
