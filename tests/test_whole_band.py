"""The band above the model's, and the ceiling: against FFTs of the whole signal, in blocks of any size."""

import math

import numpy as np
import pytest
import torch

from sfi_zoo.errors import InputError
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.separation.above import Above, band_edge
from sfi_zoo.separation.ceiling import Ceiling
from sfi_zoo.separation.chunks import separate
from sfi_zoo.separation.options import SeparationOptions
from tests.tiny_separators import ARCHITECTURES, tiny

F0 = 16000
RATES = (22050, 44100, 48000, 96000)


class Masked(torch.nn.Module):
    """Constant masks below F0 / 2, and nothing above, as a model with a brick wall there."""

    sources = ("one", "two", "three")
    sample_rate = F0
    frame_period = None
    masks = (0.5, 0.3, 0.2)

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        spectrum = torch.fft.rfft(waveform)
        f = torch.fft.rfftfreq(waveform.shape[-1], 1 / sample_rate)
        low = torch.fft.irfft(spectrum * (f < F0 / 2), n=waveform.shape[-1])
        return torch.stack([mask * low for mask in self.masks], 1)


def noise(rate: float, seconds: float = 2.0, channels: int = 1) -> torch.Tensor:
    return torch.randn(channels, round(rate * seconds), generator=torch.Generator().manual_seed(1))


def thirds(x: torch.Tensor, rate: float) -> np.ndarray:
    """Energy in thirds of an octave from 250 Hz to 0.98 F / 2."""
    edges = [250.0]
    while edges[-1] * 2 ** (1 / 3) < 0.49 * rate:
        edges.append(edges[-1] * 2 ** (1 / 3))
    power = np.abs(np.fft.rfft(x.double().numpy() * np.hanning(x.shape[-1]))) ** 2
    f = np.fft.rfftfreq(x.shape[-1], 1 / rate)
    return np.array(
        [power[..., (f >= a) & (f < b)].sum() for a, b in zip(edges, [*edges[1:], 0.49 * rate], strict=True)]
    )


def interior(x: torch.Tensor, rate: float) -> torch.Tensor:
    edge = round(0.05 * rate)
    return x[..., edge:-edge]


@pytest.mark.parametrize("above", ["masks", "equal"])
@pytest.mark.parametrize("rate", RATES)
def test_stems_add_up_to_the_mixture_in_every_third_of_an_octave(rate: int, above: str) -> None:
    signal = noise(rate)
    stems = separate(Masked(), signal, rate, SeparationOptions(above=above))
    ratio = 10 * np.log10(thirds(stems.sum(0), rate) / thirds(signal, rate))
    assert np.abs(ratio).max() < 0.1
    missing = separate(Masked(), signal, rate, SeparationOptions(above="none"))
    assert 10 * math.log10(thirds(missing.sum(0), rate)[-1] / thirds(signal, rate)[-1]) < -40


@pytest.mark.parametrize("rate", RATES)
def test_what_is_above_is_shared_as_the_masks_share_what_is_below(rate: int) -> None:
    signal = noise(rate)
    f = np.fft.rfftfreq(signal.shape[-1], 1 / rate)
    stems = separate(Masked(), signal, rate, SeparationOptions(above="masks")).numpy()
    high = np.fft.rfft(stems[:, 0])[:, f > 0.49 * F0]
    mixture = np.fft.rfft(signal[0].numpy())[f > 0.49 * F0]
    shares = (high * mixture.conj()).real.sum(1) / (np.abs(mixture) ** 2).sum()
    np.testing.assert_allclose(shares, Masked.masks, atol=0.01)


def test_shares_follow_the_masks_in_time() -> None:
    """One source has the first second, another the second one: so it is with what is above."""

    class Taking(Masked):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            low = super().forward(waveform, sample_rate).sum(1)
            first = (torch.arange(low.shape[-1]) < rate).to(low)
            return torch.stack([first * low, (1 - first) * low, 0 * low], 1)

    rate = 44100
    signal = noise(rate)
    stems = separate(Taking(), signal, rate)
    energies = stems[:, 0].square()
    assert energies[1, : rate - 1500].sum() < 1e-3 * energies[0].sum()
    assert energies[0, rate + 1500 :].sum() < 1e-3 * energies[1].sum()
    assert energies[2].sum() < 1e-3 * energies[0].sum()


def test_hiss_that_the_mixture_does_not_have_takes_no_share() -> None:
    class Hissing(Masked):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            low = super().forward(waveform, sample_rate).sum(1)
            hiss = torch.randn(low.shape, generator=torch.Generator().manual_seed(5))
            return torch.stack([low, hiss, 0 * low], 1)

    rate = 44100
    signal = noise(rate, 4.0)
    weights = separate(Hissing(), signal, rate) - separate(
        Hissing(), signal, rate, SeparationOptions(above="none")
    )
    energies = weights[:, 0].square().sum(-1)
    assert energies[1] < 0.03 * energies[0]


def test_where_the_octave_below_is_silent_the_shares_are_equal() -> None:
    rate = 44100
    tone = torch.sin(2 * math.pi * 17000 * torch.arange(2 * rate, dtype=torch.float64) / rate)[None].float()
    stems = interior(separate(Masked(), tone, rate), rate)
    torch.testing.assert_close(stems, interior(tone, rate)[None].expand_as(stems) / 3, atol=2e-3, rtol=0)


@pytest.mark.parametrize("above", ["masks", "equal", "none"])
@pytest.mark.parametrize("ceiling", [False, True])
def test_chunks_and_blocks_do_not_show(above: str, ceiling: bool) -> None:
    """-80 dB at most, at every sample, of a noise that begins where a chunk ends."""

    class Local(Masked):
        """Shares that change in time, of a short filter: what chunks cannot alter."""

        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            kernel = torch.hann_window(33, periodic=False)[None, None] / 16
            smooth = torch.nn.functional.conv1d(waveform.transpose(0, 1), kernel, padding=16).transpose(0, 1)
            return torch.stack([smooth, 0.3 * waveform, 0.1 * waveform.abs()], 1)

    rate = 44100
    signal = noise(rate, 3.3)
    whole = separate(Local(), signal, rate, SeparationOptions(12.0, above=above, ceiling=ceiling))
    chunks = separate(Local(), signal, rate, SeparationOptions(0.7, 0.2, above=above, ceiling=ceiling))
    assert (chunks - whole).abs().max() < 1e-4 * whole.abs().max()


@pytest.mark.parametrize("samples", [1, 7, 255, 256, 257, 5000, 30001])
def test_every_length_comes_out_as_it_went_in(samples: int) -> None:
    rate = 44100
    signal = noise(rate)[:, :samples]
    options = SeparationOptions(ceiling=True, consistency="energy")
    stems = separate(Masked(), signal, rate, options)
    assert stems.shape == (3, 1, samples)
    torch.testing.assert_close(stems.sum(0), signal, atol=1e-6, rtol=1e-6)


def test_a_tone_above_the_band_that_begins_in_a_chunk_stays_one_tone() -> None:
    rate = 44100
    t = torch.arange(3 * rate, dtype=torch.float64) / rate
    tone = torch.sin(2 * math.pi * 17000 * t) * (t > 1.234)
    signal = (0.1 * tone + 0.05 * noise(rate, 3.0)[0])[None].float()
    stems = separate(Masked(), signal, rate, SeparationOptions(0.7, 0.2))
    after = slice(round(1.3 * rate), round(2.9 * rate))
    ideal = 0.5 * 0.1 * tone[after].float()
    power = (
        np.abs(
            np.fft.rfft(
                (stems[0, 0, after] - 0.5 * 0.05 * noise(rate, 3.0)[0, after]).numpy()
                * np.hanning(len(ideal))
            )
        )
        ** 2
    )
    peak = int(power.argmax())
    assert abs(peak * rate / len(ideal) - 17000) < 2
    assert power[peak - 3 : peak + 4].sum() > 0.9 * power.sum()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("rate", [48000, 96000])
def test_every_architecture_gives_the_band_above(name: str, rate: int) -> None:
    model, signal = tiny(name), 0.1 * noise(rate, 1.0)
    edge = band_edge(model, rate)
    assert 0.9 * model.trained_rate / 2 < edge <= model.trained_rate / 2
    raw = separate(model, signal, rate, SeparationOptions(above="none"))
    stems = separate(model, signal, rate)
    f = torch.fft.rfftfreq(signal.shape[-1], 1 / rate)
    low, high = f < 0.88 * edge, (f > 0.97 * edge) & (f < 0.98 * rate / 2)

    def norm(x: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(x * torch.hann_window(x.shape[-1]))[..., band].norm()

    assert norm(stems.sum(0) - signal, high) < 0.01 * norm(signal, high)
    assert norm(stems - raw, low) < 0.01 * norm(raw, low)


@pytest.mark.parametrize(("mode", "edge"), [("native", 22050), ("resample", 22050), ("none", 24000)])
def test_the_band_edge_of_a_mode(mode: str, edge: float) -> None:
    assert band_edge(Adapted(tiny("bsrnn"), mode), 48000) == pytest.approx(edge, rel=1e-3)


def test_at_the_trained_rate_there_is_nothing_above_a_whole_band() -> None:
    assert not Above(F0 / 2, F0).active
    signal = noise(F0)
    raw = separate(Masked(), signal, F0, SeparationOptions(above="none"))
    assert torch.equal(separate(Masked(), signal, F0), raw)


def test_a_ceiling_takes_away_what_the_mixture_does_not_have() -> None:
    """A loud tone that leaks into the highs of the stems as hiss: they lose it, and keep the tone."""
    rate = 44100
    t = torch.arange(2 * rate) / rate
    tone = torch.sin(2 * math.pi * 200 * t)[None]
    hiss = 0.02 * noise(rate)
    pairs = [(torch.stack([0.7 * tone + hiss, 0.3 * tone]), tone)]
    stems = torch.cat([block for block, _ in Ceiling(rate).over(pairs)], -1)
    left = interior(stems - torch.stack([0.7 * tone, 0.3 * tone]), rate)
    assert left.norm() < 0.2 * interior(hiss, rate).norm()
    f = np.fft.rfftfreq(left.shape[-1], 1 / rate)
    energy, before = (
        np.abs(np.fft.rfft(x.numpy() * np.hanning(x.shape[-1]))) ** 2 for x in (left, interior(hiss, rate))
    )
    assert energy[..., f > 8000].sum() < 1e-4 * before[..., f > 8000].sum()


def test_a_ceiling_leaves_alone_what_is_below_it() -> None:
    signal = noise(44100)
    stems = torch.stack([0.5 * signal, 0.25 * signal])
    out = torch.cat([block for block, _ in Ceiling(44100).over([(stems, signal)])], -1)
    torch.testing.assert_close(out, stems, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("above", ["masks", "equal"])
def test_the_spectra_of_a_ceiling_share_what_is_above_as_well(rate: int, above: str) -> None:
    """Constant masks of white noise: what each stem gets above the band, and their sum, by an FFT of the whole signal."""
    signal = noise(rate)
    stems = separate(Masked(), signal, rate, SeparationOptions(above=above, ceiling=True)).numpy()[:, 0]
    ratio = 10 * np.log10(thirds(torch.from_numpy(stems.sum(0)), rate) / thirds(signal[0], rate))
    assert np.abs(ratio).max() < 0.1
    f = np.fft.rfftfreq(signal.shape[-1], 1 / rate)
    high, mixture = np.fft.rfft(stems)[:, f > 0.49 * F0], np.fft.rfft(signal[0].numpy())[f > 0.49 * F0]
    shares = (high * mixture.conj()).real.sum(1) / (np.abs(mixture) ** 2).sum()
    np.testing.assert_allclose(shares, Masked.masks if above == "masks" else [1 / 3] * 3, atol=0.01)


def test_the_spectra_of_a_ceiling_share_in_time_as_the_filters_do() -> None:
    """Masks that change every 50 ms: the two ways give nearly the same."""

    class Changing(Masked):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            low = super().forward(waveform, sample_rate).sum(1)
            mask = 0.5 + 0.4 * torch.sin(2 * math.pi * 10 * torch.arange(low.shape[-1]) / sample_rate)
            return torch.stack([mask * low, (1 - mask) * low, 0 * low], 1)

    rate = 44100
    signal = noise(rate)
    f = np.fft.rfftfreq(signal.shape[-1], 1 / rate)
    one, other = (
        np.fft.irfft(
            np.fft.rfft(separate(Changing(), signal, rate, SeparationOptions(ceiling=ceiling)).numpy())
            * (f > 0.55 * F0),
            n=signal.shape[-1],
        )
        for ceiling in (False, True)
    )
    assert np.linalg.norm(one - other) < 0.25 * np.linalg.norm(one)
    equal = np.mean(one, 0)
    assert np.linalg.norm(one - equal) > 0.5 * np.linalg.norm(one)  # an equal share would be told apart


def test_a_model_call_and_scores_have_no_band_above() -> None:
    """`forward` is what is scored."""
    model, signal = tiny("bsrnn"), 0.1 * noise(48000, 0.5)
    with torch.no_grad():
        raw = model(signal[None], 48000)[0]
    torch.testing.assert_close(model.separate(signal, 48000, above="none"), raw)
    assert not torch.allclose(model.separate(signal, 48000), raw)


def test_another_share_is_refused() -> None:
    with pytest.raises(InputError, match="above must be one of masks, equal, none; got loud"):
        SeparationOptions(above="loud")
