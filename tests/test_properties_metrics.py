"""What holds of the metrics for all shapes and values, against numpy."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sfi_zoo.metrics import Observation, mask_lee, masked_latent_lee
from sfi_zoo.metrics.sdr import ratios_of, sdr, si_sdr
from sfi_zoo.models.base import Latent, LatentGrid

some = settings(max_examples=50, deadline=None, derandomize=True)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(8, 500))
LEVELS = st.floats(1e-3, 1e3)


def noise(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@some
@given(SHAPES, LEVELS, LEVELS, st.booleans())
def test_si_sdr_is_that_of_numpy_and_knows_no_level(
    shape: tuple[int, ...], a: float, b: float, negative: bool
) -> None:
    estimate, reference = noise(1, *shape), noise(2, *shape)
    e, s = estimate.numpy(), reference.numpy()
    target = (e * s).sum(-1, keepdims=True) / (s * s).sum(-1, keepdims=True) * s
    expected = 10 * np.log10((target**2).sum(-1) / ((e - target) ** 2).sum(-1))
    found = si_sdr(estimate, reference)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-8)
    scaled = si_sdr((-a if negative else a) * estimate, b * reference)
    torch.testing.assert_close(scaled, found, rtol=0, atol=1e-8)


@some
@given(SHAPES, st.floats(-60, 60))
def test_noise_beside_the_signal_has_the_ratio_it_was_made_with(shape: tuple[int, ...], level: float) -> None:
    """For noise orthogonal to the reference SDR and SI-SDR are the ratio of their powers."""
    reference, other = noise(1, *shape), noise(2, *shape)
    other = (
        other
        - (other * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True) * reference
    )
    other = (
        other
        * (reference.norm(dim=-1, keepdim=True) / other.norm(dim=-1, keepdim=True))
        * 10 ** (-level / 20)
    )
    expected = torch.full(shape[:-1], level, dtype=torch.float64)
    for metric in (sdr, si_sdr):
        torch.testing.assert_close(metric(reference + other, reference), expected, rtol=0, atol=1e-6)


@some
@given(SHAPES, LEVELS)
def test_ratios_from_inner_products_are_those_from_signals(shape: tuple[int, ...], level: float) -> None:
    estimate, reference = level * noise(1, *shape), noise(2, *shape)
    es, ss, ee = (
        (x * y).sum(-1) for x, y in ((estimate, reference), (reference, reference), (estimate, estimate))
    )
    found = ratios_of(es, ss, ee)
    torch.testing.assert_close(found["si_sdr"], si_sdr(estimate, reference), rtol=0, atol=1e-6)
    torch.testing.assert_close(found["sdr"], sdr(estimate, reference), rtol=0, atol=1e-6)


@st.composite
def observations(draw: st.DrawFn) -> tuple[Observation, Observation]:
    """One at F and one at F0, of masks and latents that have nothing to do with each other."""
    items, sources = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    features, frames = draw(st.integers(2, 12)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from([torch.float64, torch.complex128]))
    times, frequencies = torch.arange(frames) / 100, torch.linspace(100, 7900, features)
    pair = []
    for seed, rate in ((draw(st.integers(0, 99)), draw(st.sampled_from([4000, 8000, 32000]))), (100, 16000)):
        grid = LatentGrid(times, frequencies, frequencies < rate / 2)
        latent = Latent(noise(seed, items, features, frames, dtype=kind), grid)
        masks = noise(seed + 1, items, sources, features, frames)
        pair.append(Observation(latent, masks, float(rate)))
    return pair[0], pair[1]


@some
@given(observations(), LEVELS)
def test_lee_is_that_of_numpy_and_knows_no_level(pair: tuple[Observation, Observation], level: float) -> None:
    observed, trained = pair
    grid = trained.latent.grid
    limit = 0.9 * min(observed.sample_rate, trained.sample_rate) / 2
    kept = (grid.alive & observed.latent.grid.alive & (grid.frequencies < limit)).numpy()
    assume(kept.any())
    products = [(x.masks * x.latent.values[:, None]).numpy() for x in pair]
    masks = [x.masks.numpy() for x in pair]
    for metric, (a, b) in ((mask_lee, masks), (masked_latent_lee, products)):
        expected = (np.abs(a - b)[:, :, kept] ** 2).sum() / (np.abs(b)[:, :, kept] ** 2).sum()
        sums = metric(observed, trained)
        assert abs(sums.value() - expected) <= 1e-9 * expected
        assert abs(float(sums.by_source().sum()) - sums.value()) <= 1e-9 * expected
        louder = [Observation(x.latent, level * x.masks, x.sample_rate) for x in pair]
        assert abs(metric(*louder).value() - expected) <= 1e-9 * expected
        assert metric(trained, trained).value() == 0
        assert abs((sums + sums).value() - expected) <= 1e-9 * expected
