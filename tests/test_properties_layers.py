"""What holds of the layers for all shapes, rates and lengths."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sfi_zoo import SFIISTFT, SFISTFT, SFIConv1d, SFIConvTranspose1d
from tests.signals import relative_error

F0 = 16000
RATES = st.sampled_from([8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
some = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def convolutions(draw: st.DrawFn) -> SFIConv1d:
    """Any kernel, stride, padding, groups and channels; float64, no gradients."""
    groups, ins, outs = draw(st.sampled_from([1, 2])), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    kernel_size = draw(st.integers(8, 64))
    return (
        SFIConv1d(
            groups * ins,
            groups * outs,
            kernel_size,
            draw(st.integers(1, kernel_size)),
            draw(st.integers(0, kernel_size // 2)),
            groups=groups,
            sample_rate=F0,
            design=draw(st.sampled_from(["time", "frequency"])),
            taper=draw(st.sampled_from([0.0, 0.25, 1.0])),
        )
        .double()
        .eval()
        .requires_grad_(False)
    )


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@some
@given(convolutions(), RATES, st.integers(100, 900), st.integers(1, 3))
def test_a_convolution_is_linear_and_its_items_are_apart(
    layer: SFIConv1d, rate: int, length: int, batch: int
) -> None:
    x, y = noise(batch, layer.in_channels, length), noise(batch, layer.in_channels, length, seed=1)
    whole = layer(2 * x - 3 * y, rate)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(whole, 2 * layer(x, rate) - 3 * layer(y, rate), rtol=0, atol=1e-10)
    torch.testing.assert_close(layer(x, rate)[-1:], layer(x[-1:], rate), rtol=0, atol=1e-12)


@some
@given(convolutions(), RATES, st.integers(1, 8))
def test_as_many_frames_for_as_many_seconds_at_every_rate(layer: SFIConv1d, rate: int, pieces: int) -> None:
    frames = [layer(noise(1, layer.in_channels, pieces * f // 25), f).shape[-1] for f in (rate, F0)]
    assert abs(frames[0] - frames[1]) <= 1  # the last sample of a kernel may fall on either side of the end


@some
@given(convolutions(), RATES, st.integers(1, 3))
def test_a_delay_by_whole_frames_delays_the_latent(layer: SFIConv1d, rate: int, count: int) -> None:
    samples = count * layer.stride * rate
    while samples % F0:  # to a whole number of samples
        samples, count = samples + samples // count, count + 1
    delay = samples // F0
    assume(delay < 3000)
    x = noise(1, layer.in_channels, 600)
    margin = 4 * layer.kernel_size * rate // F0
    early = layer(torch.nn.functional.pad(x, (margin, margin + delay)), rate)
    late = layer(torch.nn.functional.pad(x, (margin + delay, margin)), rate)
    torch.testing.assert_close(late[..., count:], early[..., :-count], rtol=0, atol=1e-10)


@some
@given(convolutions(), RATES, st.integers(200, 900))
def test_the_transposed_layer_is_the_adjoint(layer: SFIConv1d, rate: int, length: int) -> None:
    """<A x, z> = <x, A* z>, up to the factor F / F0 of synthesis."""
    back = SFIConvTranspose1d(
        layer.out_channels,
        layer.in_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        groups=layer.groups,
        sample_rate=F0,
        filters=layer.filters,
        design=layer.design,
        taper=layer.taper,
    )
    x = noise(1, layer.in_channels, length)
    y = layer(x, rate)
    assume(y.shape[-1] > 0)
    z = noise(*y.shape, seed=1)
    again = back.eval()(z, rate, length=length)
    assert again.shape == x.shape
    one, other = (y * z).sum() * rate / F0, (again * x).sum()
    assert abs(one - other) <= 1e-9 * (y.norm() * z.norm() * rate / F0)


@some
@given(RATES, st.sampled_from([64, 100, 256]), st.integers(600, 2500), st.integers(1, 3))
def test_the_transform_and_its_inverse_give_the_signal_back(
    rate: int, n_fft: int, length: int, channels: int
) -> None:
    there = SFISTFT(n_fft, n_fft // 4, sample_rate=F0, bins="nyquist")
    back = SFIISTFT(n_fft, n_fft // 4, sample_rate=F0, bins="nyquist")
    x = noise(channels, length)
    again = back(there(x, rate), rate, length=length)
    assert again.shape == x.shape
    whole = n_fft * rate % F0 == 0  # else white noise suffers in the last few bins, see SFIISTFT
    assert relative_error(again, x) < (1e-9 if whole else 0.1)
