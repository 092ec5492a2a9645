"""Foreign networks as separators of the zoo: files, folders, weights by their own names."""

import copy

import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError, models
from sfi_zoo.models.foreign import ForeignSeparator
from tests.foreign_patterns import Functional, Net, Spectral, WaveNet
from tests.signals import band_limited, relative_error

KINDS = {"waveform": Net, "functional": Functional, "spectrogram": Spectral, "audio rate": WaveNet}


@pytest.fixture(params=KINDS)
def architecture(request, monkeypatch):
    """A class, registered for the length of a test."""
    monkeypatch.setattr(models, "_REGISTERED", {})

    @sfi_zoo.register
    class Mine(ForeignSeparator):
        architecture = "mine"

        def build(self, config):
            return Pair(KINDS[request.param]())

    return Mine


class Pair(nn.Module):
    """What a network keeps, and the rest."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        y = self.net(x)
        return torch.cat([y, x - y], 1)


def test_a_foreign_network_is_saved_and_loaded(architecture, tmp_path):
    model = sfi_zoo.create("mine", sample_rate=8000).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    model.save_pretrained(tmp_path / "mine")
    again = sfi_zoo.load(tmp_path / "mine").eval()
    x = band_limited(11025, 2400).float()
    with torch.no_grad():
        expected = model(x, 11025)
        assert expected.shape == (1, 2, 1, 11025)
        assert torch.equal(again(x, 11025), expected)
        stems = again.separate(x[0], 11025)
    assert stems.shape == (2, 1, 11025) and relative_error(stems, expected[0]) < 1e-5


def test_weights_come_under_their_own_names(architecture):
    model = sfi_zoo.create("mine", sample_rate=8000).eval()
    plain = model.build(model.config).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(1.1)
    model.load_foreign(plain.state_dict())
    x = band_limited(8000, 2400).float()
    with torch.no_grad():
        assert relative_error(model(x, 8000)[:, :, 0], plain(x)) < 1e-5
    with pytest.raises(InputError, match=r"not those of Mine: another"):
        model.load_foreign({**plain.state_dict(), "another": torch.zeros(1)})


@pytest.mark.parametrize("rate", [8000, 16000])
def test_frozen_it_is_a_module_on_waveforms_of_one_rate(architecture, rate):
    model = sfi_zoo.create("mine", sample_rate=8000).eval()
    frozen = sfi_zoo.freeze(model, rate)
    x = band_limited(rate, 2400).float()
    with torch.no_grad():
        expected = model(x, rate)
        assert relative_error(frozen(x), expected) < 1e-5
        assert relative_error(copy.deepcopy(frozen)(x), expected) < 1e-5
        program = torch.export.export(frozen, (x,)).module()
        assert relative_error(program(x), expected) < 1e-5
    assert not [name for name in frozen.state_dict() if not name.startswith("network.")]


def test_frozen_it_does_not_keep_the_network_that_is_not(architecture):
    model = sfi_zoo.create("mine", sample_rate=8000).eval()
    model._masked = masked = object()  # where masks are named it holds the network
    frozen = sfi_zoo.freeze(model, 8000)
    assert frozen._separator[0]._masked is None and model._masked is masked
