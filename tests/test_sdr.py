"""SDR and BSSEval against independent computations. SI-SDR: `test_metrics.py`."""

import sys

import numpy as np
import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.metrics.sdr import bsseval, ratios_of, sdr, si_sdr

RATE = 8000


def estimated(seed=0, sources=2, channels=2, seconds=3, level=0.1):
    """References of noise, and estimates with so much noise of their own."""
    rng = np.random.default_rng(seed)
    references = rng.normal(size=(sources, channels, seconds * RATE))
    return references + level * rng.normal(size=references.shape), references


def as_tensors(*arrays):
    return [torch.from_numpy(x) for x in arrays]


def test_sdr_is_the_formula():
    estimate, reference = (x.reshape(2, -1) for x in estimated())
    expected = 10 * np.log10((reference**2).sum(1) / ((reference - estimate) ** 2).sum(1))
    np.testing.assert_allclose(sdr(*as_tensors(estimate, reference)), expected, rtol=1e-12)


def test_sdr_minds_the_level_and_si_sdr_does_not():
    estimate, reference = as_tensors(*(x[0, 0] for x in estimated(level=1e-3)))
    assert float(sdr(reference / 2, reference)) == pytest.approx(20 * np.log10(2), abs=1e-12)
    assert float(si_sdr(estimate / 2, reference)) == pytest.approx(
        float(si_sdr(estimate, reference)), abs=1e-6
    )


def test_torchmetrics_says_the_same():
    audio = pytest.importorskip("torchmetrics.functional.audio")
    pair = as_tensors(*(x[:, 0] for x in estimated()))
    torch.testing.assert_close(sdr(*pair), audio.signal_noise_ratio(*pair), rtol=1e-6, atol=0)
    expected = audio.scale_invariant_signal_distortion_ratio(*pair)
    torch.testing.assert_close(si_sdr(*pair), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("level", [10.0, 0.1, 1e-4, 1e-5])
def test_ratios_from_inner_products_are_the_same_up_to_100_db(level):
    e, s = as_tensors(*(x[:, 0] for x in estimated(level=level)))
    found = ratios_of((e * s).sum(1), (s * s).sum(1), (e * e).sum(1))
    torch.testing.assert_close(found["si_sdr"], si_sdr(e, s), rtol=0, atol=1e-4)
    torch.testing.assert_close(found["sdr"], sdr(e, s), rtol=0, atol=1e-4)


@pytest.mark.parametrize("measure", [sdr, si_sdr, lambda *pair: bsseval(*pair, RATE)])
def test_shapes_must_agree(measure):
    with pytest.raises(InputError, match="differ in shape"):
        measure(torch.zeros(2, 1, 5), torch.zeros(2, 1, 6))


def test_bsseval_is_the_median_over_frames_of_a_second():
    """Noise 20 dB below: so BSSEval has it, whose 512 taps fit a little. A broken second leaves the median alone."""
    _museval()
    estimates, references = estimated(seconds=5)
    estimates[..., 2 * RATE : 3 * RATE] = 1.0
    found = bsseval(*as_tensors(estimates, references), RATE)
    assert set(found) == {"sdr", "isr", "sir", "sar"}
    # the filters are those of the whole signal: the broken second costs a little everywhere
    assert found["sdr"] == pytest.approx([20, 20], abs=1.0)


def test_bsseval_is_that_of_museval():
    museval = _museval()
    estimates, references = estimated(seconds=4, level=0.3)
    expected = museval.metrics.bss_eval(
        references.transpose(0, 2, 1), estimates.transpose(0, 2, 1), RATE, RATE, compute_permutation=False
    )
    found = bsseval(*as_tensors(estimates, references), RATE)
    for name, values in zip(found, expected, strict=False):
        np.testing.assert_allclose(found[name], np.nanmedian(values, axis=1))


def test_without_museval_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "museval", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[musdb\]'"):
        bsseval(torch.zeros(1, 1, 8), torch.zeros(1, 1, 8), 4)


def _museval():
    try:
        import museval
    except (ImportError, RuntimeError) as missing:  # RuntimeError: no ffmpeg
        pytest.skip(str(missing))
    return museval
