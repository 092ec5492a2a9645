"""What holds of every separator, and of what is around them, for all rates, shapes and lengths."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfi_zoo.audio.io import probe, read
from sfi_zoo.audio.resample import resample, resampled_length
from sfi_zoo.audio.writers import write
from sfi_zoo.separation.chunks import separate
from sfi_zoo.separation.options import SeparationOptions
from tests.half_separator import Half
from tests.tiny_separators import ARCHITECTURES, tiny

RATES = st.sampled_from([4000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 10_007])
MODELS = {name: tiny(name) for name in ARCHITECTURES}
some = settings(max_examples=25, deadline=None, derandomize=True)


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@some
@given(st.sampled_from(ARCHITECTURES), RATES, st.integers(1, 2), st.integers(1, 3), st.integers(1, 1200))
@torch.no_grad()
def test_every_item_of_a_batch_and_every_channel_is_separated_as_if_alone(
    name: str, rate: int, batch: int, channels: int, samples: int
) -> None:
    model, x = MODELS[name], noise(batch, channels, samples)
    stems = model(x, rate)
    assert stems.shape == (batch, 2, channels, samples) and torch.isfinite(stems).all()
    alone = model(x[-1:, -1:], rate)
    torch.testing.assert_close(
        stems[-1:, :, -1:], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()) + 1e-7
    )


@some
@given(st.sampled_from(ARCHITECTURES), RATES, st.integers(1, 2), st.integers(1, 1200))
@torch.no_grad()
def test_a_signal_of_one_chunk_is_one_pass(name: str, rate: int, channels: int, samples: int) -> None:
    model, x = MODELS[name], noise(channels, samples)
    torch.testing.assert_close(
        model.separate(x, rate, above="none"), model(x[None], rate)[0], rtol=1e-4, atol=1e-6
    )
    assert not model.separate(torch.zeros(channels, samples), rate).any()


@settings(some, max_examples=100)
@given(
    st.integers(1, 40_000),
    st.floats(0.1, 2),
    st.floats(0, 0.5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.floats(4000, 20_000),
)
def test_chunks_of_any_length_and_overlap_add_up_to_the_signal(
    samples: int, chunk: float, overlap: float, batch: int, channels: int, rate: float
) -> None:
    x = noise(
        min(channels, max(2, samples)), samples
    )  # more channels than samples are refused: they stand the other way round
    stems = separate(Half(), x, rate, SeparationOptions(chunk, overlap * chunk, batch))
    assert stems.shape == (4, *x.shape)
    torch.testing.assert_close(stems, torch.stack([share * x for share in Half.shares]), rtol=0, atol=1e-7)


@some
@given(
    st.sampled_from(
        [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_24"), ("aiff", "PCM_16")]
    ),
    st.integers(1, 5),
    st.integers(1, 5000),
    st.integers(4000, 65_535) | st.sampled_from([88_200, 96_000, 192_000]),
)
def test_a_file_gives_back_what_was_written(
    form: tuple[str, str], channels: int, samples: int, rate: int
) -> None:
    ending, subtype = form
    levels = np.random.default_rng(samples).integers(-(2**15), 2**15, (channels, samples))
    signal = (levels / 2**15).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{ending}"
        write(path, signal, rate, subtype)
        info = probe(path)
        again, found = read(path)
    assert (info.channels, info.frames, info.subtype, found) == (channels, samples, subtype, rate)
    np.testing.assert_array_equal(again.numpy(), signal)


@some
@given(st.integers(4000, 96_000), st.integers(4000, 96_000), st.integers(1, 3), st.integers(1, 4000))
def test_a_resampled_signal_is_as_long_as_foretold_and_linear(
    rate_in: int, rate_out: int, channels: int, samples: int
) -> None:
    x, y = noise(channels, samples).double(), noise(channels, samples).double().flip(-1)
    done = resample(x, rate_in, rate_out)
    assert done.shape == (channels, resampled_length(samples, rate_in, rate_out))
    torch.testing.assert_close(
        resample(2 * x - y, rate_in, rate_out), 2 * done - resample(y, rate_in, rate_out), rtol=0, atol=1e-9
    )
