"""What callers hand over: layouts and arrays; and figures of silence."""

import math
import warnings

import numpy as np
import pytest
import torch

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.metrics import si_sdr
from tests.tiny_separators import ARCHITECTURES, tiny

MODEL = tiny("convtasnet")
SAMPLES = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)


@pytest.mark.parametrize("shape", [(4000, 2), (65, 4000), (3, 2), (4000, 1)])
@pytest.mark.parametrize("kind", [torch.zeros, np.zeros])
def test_a_waveform_on_its_side_is_refused_with_the_way_out(shape: tuple[int, int], kind: type) -> None:
    with pytest.raises(InputError, match=rf"{shape[0]} channels of {shape[1]} samples.*waveform\.T"):
        MODEL.separate(kind(shape, dtype=kind(1).dtype), 8000)


@pytest.mark.parametrize("shape", [(64, 100), (2, 2), (2, 1), (1, 1)])
def test_many_channels_and_few_samples_are_separated(shape: tuple[int, int]) -> None:
    assert MODEL.separate(torch.ones(shape), 8000).shape == (2, *shape)


@pytest.mark.parametrize(
    "array",
    [
        SAMPLES[:, ::-1],
        SAMPLES[::-1],
        SAMPLES.astype(">f4"),
        np.asfortranarray(SAMPLES),
        np.ascontiguousarray(SAMPLES.T).T,
        SAMPLES.astype(np.float64)[:, ::2],
        SAMPLES.astype(">f8")[::-1, ::-2],
        SAMPLES[0],
    ],
    ids=["reversed", "swapped", "big-endian", "fortran", "transposed", "strided", "everything", "mono"],
)
def test_arrays_in_any_order_are_taken(array: np.ndarray) -> None:
    expected = MODEL.separate(torch.from_numpy(array.astype(array.dtype.newbyteorder("=")).copy()), 8000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(MODEL.separate(array, 8000), expected)  # type: ignore[arg-type]


def test_an_array_that_may_not_be_written_is_taken() -> None:
    array = SAMPLES.copy()
    array.flags.writeable = False
    assert torch.equal(MODEL.separate(array, 8000), MODEL.separate(torch.from_numpy(SAMPLES), 8000))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [[0.0, 1.0], np.array(["a"]), np.zeros((1, 9), complex), "song.wav", None])
def test_what_is_no_waveform_is_named(wrong: object) -> None:
    with pytest.raises(InputError, match="waveform must be a tensor or an array of real numbers"):
        MODEL.separate(wrong, 8000)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_called_with_an_array_names_it(name: str) -> None:
    with pytest.raises(InputError, match=r"got ndarray; torch\.from_numpy"):
        tiny(name)(SAMPLES[None], 8000)


def test_integer_samples_are_refused_by_their_type() -> None:
    with pytest.raises(InputError, match="int16"):
        MODEL.separate((SAMPLES * 1000).astype(np.int16), 8000)  # type: ignore[arg-type]


def test_si_sdr_of_silence() -> None:
    """10 log10 of 0: nothing of the reference is there; of a silent reference there is no ratio."""
    reference = torch.from_numpy(SAMPLES[0])
    silence = torch.zeros_like(reference)
    assert float(si_sdr(silence, reference)) == -math.inf
    assert math.isnan(si_sdr(reference, silence)) and math.isnan(si_sdr(silence, silence))
    both = si_sdr(torch.stack([silence, reference + 1]), torch.stack([reference, reference]))
    assert both[0] == -math.inf and math.isfinite(both[1])


def test_architectures_are_listed_beside_the_models() -> None:
    assert set(ARCHITECTURES) <= set(sfi_zoo.list_architectures())
    assert sfi_zoo.list_architectures("conv*") == ["convtasnet"]
