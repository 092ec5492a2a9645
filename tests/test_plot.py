"""The picture of a bank: every line against a Fourier sum of the formulas."""

import io
import sys

import numpy as np
import pytest
import torch

from sfi_zoo import InputError, filters
from sfi_zoo.filters import ModulatedGaussian, MultiPhaseGammatone, SincBandpass

pytest.importorskip("matplotlib")

RATES, F0, LENGTH = (8000, 11025, 32000), 32000, 160
CENTERS, WIDTH = np.array([900.0, 2400.0, 3900.0, 5400.0]), 200.0


def bank_of_four():
    torch.manual_seed(0)
    return ModulatedGaussian(4, scale="linear", frequency_range=(900.0, 5400.0), bandwidth=WIDTH).double()


def lines(axis):
    return {
        line.get_label(): np.stack([np.asarray(line.get_xdata()), np.asarray(line.get_ydata())])
        for line in axis.lines
        if not line.get_label().startswith("_")
    }


def decibels(response):
    return 20 * np.log10(np.abs(response).clip(min=1e-9))


def test_solid_lines_are_the_analog_responses():
    bank = bank_of_four()
    shown = lines(filters.plot(bank, RATES).axes[0])
    for c, center in enumerate(CENTERS):
        f, level = shown[f"{c} analog"]
        turn = np.exp(1j * float(bank.phase[c].detach()))
        bumps = (np.exp(-((f - s * center) ** 2) / (2 * WIDTH**2)) for s in (1, -1))
        expected = decibels(next(bumps) * turn + next(bumps) / turn)
        seen = level > -80
        np.testing.assert_allclose(level[seen], expected[seen], atol=3e-3)
        assert f[0] == 0 and f[-1] == 16000


@pytest.mark.parametrize("rate", RATES)
def test_dashed_lines_are_the_responses_of_the_taps(rate):
    """sum_n h(t_n) w(t_n) / F exp(-2 pi j f t_n) with a Hann taper w, at the instants of the first frame; below F0 that of F0."""
    bank = bank_of_four()
    shown = lines(filters.plot(bank, RATES, taper=1.0).axes[0])
    center_of_kernel, duration = (LENGTH - 1) / 2 / F0, LENGTH / F0
    designed = max(rate, F0)
    t = center_of_kernel - np.arange(-LENGTH, 2 * LENGTH) / designed
    t = t[np.abs(t) <= duration / 2]
    for c in np.flatnonzero(rate / 2 > CENTERS):
        phi = float(bank.phase[c].detach())
        h = 2 * np.sqrt(2 * np.pi) * WIDTH * np.exp(-((2 * np.pi * WIDTH * t) ** 2) / 2)
        h = h * np.cos(2 * np.pi * CENTERS[c] * t + phi) * np.cos(np.pi * t / duration) ** 2
        f, level = shown[f"{c} at {rate} Hz"]
        expected = decibels(np.exp(-2j * np.pi * f[:, None] * t) @ h / designed)
        seen = (level > -80) & (
            (rate >= F0) | (f < 0.85 * rate / 2)
        )  # interpolation ends at the Nyquist frequency, not before
        assert seen.sum() > 90 and f[-1] == rate / 2
        # 3e-3 dB, and below F0 the error of taps that are closest to those of F0
        close = {"rtol": 3.5e-4, "atol": 1e-9 if rate >= F0 else 1e-6}
        np.testing.assert_allclose(10 ** (level[seen] / 20), 10 ** (expected[seen] / 20), **close)


def test_a_filter_has_no_line_where_it_is_dropped():
    shown = lines(filters.plot(bank_of_four(), RATES).axes[0])
    assert {name for name in shown if name.endswith("8000 Hz")} == {
        "0 at 8000 Hz",
        "1 at 8000 Hz",
        "2 at 8000 Hz",
    }
    assert "3 at 11025 Hz" in shown  # 5400 Hz lies below 5512.5


def test_about_eight_filters_are_shown_from_the_lowest_to_the_highest():
    bank = ModulatedGaussian(100)
    shown = lines(filters.plot(bank, [32000]).axes[0])
    indices = sorted(int(name.split()[0]) for name in shown if name.endswith("analog"))
    assert len(indices) == 8 and indices[0] == 0 and indices[-1] == 99


def test_chosen_filters_are_shown():
    shown = lines(filters.plot(bank_of_four(), [32000], filters=[2]).axes[0])
    assert set(shown) == {"2 analog", "2 at 32000 Hz"}


def test_impulse_responses_share_an_axis():
    """Taps times F lie on the analog response where the taper is flat: h(t) for t from 0, a causal bank."""
    bank = MultiPhaseGammatone(2, num_centers=1, frequency_range=(800.0, 900.0)).double()
    axes = filters.plot(bank, [16000], impulse=True).axes
    assert len(axes) == 2 and axes[1].get_xlabel() == "time in ms"
    shown = lines(axes[1])
    t, h = shown["0 at 16000 Hz"]
    flat = t <= 4.3
    erb = 24.7 + 800 / 9.265
    b = erb * 2 / np.pi  # that factor for order 2
    expected = 2 * (2 * np.pi * b) ** 2 * t * 1e-3 * np.exp(-2 * np.pi * b * t * 1e-3)
    expected = expected * np.cos(2 * np.pi * 0.8 * t)
    np.testing.assert_allclose(h[flat], expected[flat], atol=1e-4 * np.abs(h).max())
    t, h = shown["0 analog"]
    assert t[0] == 0 and t[-1] == pytest.approx(5)


def test_a_family_without_a_frequency_response_is_drawn_from_its_design():
    class Bare(ModulatedGaussian):
        frequency_response = filters.AnalogFilterBank.frequency_response

    torch.manual_seed(0)
    bare = Bare(1, scale="linear", frequency_range=(1000.0, 2000.0), bandwidth=WIDTH).double()
    f, level = lines(filters.plot(bare, [16000], duration=0.02).axes[0])["0 analog"]
    expected = decibels(np.exp(-((f - 1000) ** 2) / (2 * WIDTH**2)))
    seen = expected > -70
    np.testing.assert_allclose(level[seen], expected[seen], atol=1e-2)


def test_it_can_be_saved_without_a_display_and_leaves_the_bank_alone():
    bank = SincBandpass(4).train()
    file = io.BytesIO()
    filters.plot(bank, [16000], design="frequency").savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")
    assert bank.training and all(p.requires_grad for p in bank.parameters())


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        filters.plot(bank_of_four())


@pytest.mark.parametrize(
    ("options", "named"), [({"sample_rates": ()}, "sample_rates"), ({"filters": [1, 4]}, r"\[4\]")]
)
def test_bad_arguments_are_named(options, named):
    with pytest.raises(InputError, match=named):
        filters.plot(bank_of_four(), **options)
