"""Inference on top of chunks: batches, precision, fits to the mixture, two stems; against numpy, and for every architecture."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from sfi_zoo.data.synthetic import song
from sfi_zoo.errors import InputError
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.separation.chunks import separate, separate_blocks
from sfi_zoo.separation.consistency import Finish, MixtureFit
from sfi_zoo.separation.options import CONSISTENCIES, SeparationOptions
from tests.test_chunks import RATE, Toy, noise
from tests.tiny_separators import ARCHITECTURES, tiny


class Shares(torch.nn.Module):
    """Three sources that do not sum to the mixture: shares of it, each with something of its own."""

    sources = ("one", "two", "three")
    sample_rate = RATE
    frame_period = None

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        bent = [waveform, waveform.abs(), waveform**3]
        return torch.stack([share * x for share, x in zip((0.4, 0.2, -0.3), bent, strict=True)], 1)


def finished_by_numpy(stems: np.ndarray, x: np.ndarray, rescale: bool, consistency: str | None) -> np.ndarray:
    """The formulas, channel by channel, on the whole signal."""
    out = np.empty_like(stems)
    for c in range(stems.shape[1]):
        s = stems[:, c]
        if rescale:
            s = s * np.linalg.lstsq(s.T, x[c], rcond=None)[0][:, None]
        energy = (s**2).sum(1)
        weights = {
            None: np.zeros(len(s)),
            "equal": np.full(len(s), 1 / len(s)),
            "energy": energy / energy.sum(),
        }
        out[:, c] = s + weights[consistency][:, None] * (x[c] - s.sum(0))
    return out


@pytest.mark.parametrize("consistency", [None, "equal", "energy"])
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_fits_to_the_mixture_are_the_formulas(on_disk: bool, rescale: bool, consistency: str | None) -> None:
    signal, model = 0.5 * noise(3.3).double(), Shares()
    stems = model(signal[None], RATE)[0].numpy()
    options = SeparationOptions(1.0, 0.2, rescale=rescale, consistency=consistency)
    if on_disk:
        blocks = separate_blocks(model, signal.float().split(5000, -1), RATE, options, channels=2)
        result = torch.cat(list(blocks), -1)
    else:
        result = separate(model, signal.float(), RATE, options)
    np.testing.assert_allclose(
        result, finished_by_numpy(stems, signal.numpy(), rescale, consistency), atol=1e-5
    )


@pytest.mark.parametrize("consistency", CONSISTENCIES)
def test_consistent_stems_sum_to_the_mixture(consistency: str) -> None:
    signal = noise(2.5)
    stems = separate(Shares(), signal, RATE, SeparationOptions(1.0, consistency=consistency))
    torch.testing.assert_close(stems.sum(0), signal, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{"consistency": "energy"}, {"rescale": True}])
def test_a_silent_channel_stays_silent(options: dict) -> None:
    signal = noise(1)
    signal[1] = 0
    assert not separate(Shares(), signal, RATE, SeparationOptions(**options))[:, 1].any()


def test_two_equal_estimates_share_their_gain() -> None:
    """Then the fit has many solutions; the shortest one treats both alike."""
    x = noise(1, 1)
    fit = MixtureFit()
    fit.update(torch.stack([x, x, 0 * x]), x)
    torch.testing.assert_close(fit.gains()[:, 0].float(), torch.tensor([0.5, 0.5, 0.0]), atol=1e-6, rtol=0)


def test_two_stems_are_one_source_and_the_sum_of_the_others() -> None:
    signal = noise(1)
    stems = separate(Shares(), signal, RATE)
    options = SeparationOptions(two_stems="two")
    two = separate(Shares(), signal, RATE, options)
    torch.testing.assert_close(two, torch.stack([stems[1], stems[0] + stems[2]]))
    assert Finish(Shares.sources, options).names == ("two", "rest")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"consistency": "loud"}, "equal, energy; got loud"),
        ({"two_stems": "piano"}, "piano: this model gives one, two, three"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"dtype": "int8"}, "got int8"),
        ({"dtype": torch.int8}, "got torch.int8"),
        ({"device": "nowhere"}, "device nowhere"),
        ({"device": "cuda:99"}, "device cuda:99"),
    ],
)
def test_an_option_that_is_not_there_is_refused(options: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        separate(Shares(), noise(0.1), RATE, SeparationOptions(**options))


@pytest.mark.parametrize("batch_size", [2, 3, 100])
def test_batches_hold_chunks_of_one_length_and_give_the_same(batch_size: int) -> None:
    class Batched(Toy):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            seen.append(tuple(waveform.shape))
            return super().forward(waveform, sample_rate)

    seen: list[tuple[int, ...]] = []
    signal = noise(7.77)
    options = SeparationOptions(1.0, 0.2)
    one_by_one = separate(Batched(), signal, RATE, options)
    calls = len(seen)
    seen.clear()
    batches = separate(Batched(), signal, RATE, dataclasses.replace(options, batch_size=batch_size))
    torch.testing.assert_close(batches, one_by_one)
    assert sum(shape[0] for shape in seen) == calls
    assert max(shape[0] for shape in seen) in {batch_size, calls, calls - 1}


def test_the_model_runs_in_inference_mode_with_the_threads_of_torch() -> None:
    class Looking(Toy):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            seen.append((torch.is_inference_mode_enabled(), self.training, torch.get_num_threads()))
            return super().forward(waveform, sample_rate)

    seen: list[tuple[bool, bool, int]] = []
    separate(Looking().train(), noise(0.1))
    assert seen == [(True, False, torch.get_num_threads())]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-5), ("float16", 5e-3), ("bfloat16", 5e-2)])
def test_another_precision_gives_nearly_the_same(name: str, dtype: str, error: float) -> None:
    model, signal = tiny(name), 0.1 * noise(0.5, 1)
    stems, other = model.separate(signal, RATE), model.separate(signal, RATE, dtype=dtype)
    assert other.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert 0 < (other - stems).norm() < error * stems.norm()
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_of_chunks_gives_what_chunks_do(name: str) -> None:
    model, signal = tiny(name), 0.1 * noise(1.7)
    options = {"chunk_seconds": 0.4, "overlap_seconds": 0.1}
    one_by_one = model.separate(signal, RATE, **options)
    torch.testing.assert_close(
        model.separate(signal, RATE, batch_size=3, **options), one_by_one, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("mode", ["native", "resample", "none"])
def test_every_option_is_there_in_every_mode(mode: str) -> None:
    model, signal = Adapted(tiny("convtasnet"), mode), 0.1 * noise(1.7)
    stems = model.separate(
        signal, RATE, chunk_seconds=0.5, batch_size=2, dtype="float64", consistency="energy", two_stems="a"
    )
    torch.testing.assert_close(stems.sum(0), signal.double(), atol=1e-6, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_gpu_gives_what_the_cpu_does(name: str, dtype: str | None) -> None:
    model, signal = tiny(name), 0.1 * noise(1.7)
    options = {"chunk_seconds": 0.5, "batch_size": 2}
    stems = model.separate(signal, RATE, **options)
    other = model.separate(signal, RATE, device="cuda", dtype=dtype, rescale=False, **options)
    assert other.device.type == "cpu" and next(model.parameters()).device.type == "cpu"
    assert (other - stems).norm() < (2e-3 if dtype is None else 5e-2) * stems.norm()
    there = model.separate(signal.cuda(), RATE, device="cuda", consistency="energy", rescale=True, **options)
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.sum(0).cpu(), signal, atol=1e-5, rtol=0)


# The masks of the finite network see 31 frames of 5 ms to either side and a kernel of 20 ms: 0.18 s.
FINITE = {"norm": "frame", "layers": 3, "repeats": 2, "latent": "relu"}


def chunked_error(model: torch.nn.Module, seconds: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Energies of chunked - whole, and of the whole, in windows of 1 / 20 s; chunks of 2 s that overlap by 1 s."""
    dtype = next(model.parameters()).dtype
    mixture = torch.from_numpy(sum(song(1, seconds, rate, 1).values())).to(dtype)
    whole = separate(model, mixture, rate, SeparationOptions(2 * seconds))
    chunks = separate(model, mixture, rate, SeparationOptions(2.0, 1.0))

    def energies(stems: torch.Tensor) -> np.ndarray:
        return np.array([x.double().square().sum() for x in stems.tensor_split(20 * seconds, -1)])

    return energies(chunks - whole), energies(whole)


@pytest.mark.parametrize("rate", [8000, 22050])
def test_with_a_finite_receptive_field_chunks_are_the_whole(rate: int) -> None:
    """To the rounding of float64, -250 dB, in every 50 ms: there is no seam."""
    difference, stems = chunked_error(tiny("convtasnet", **FINITE).double(), 8, rate)
    assert difference.max() < 1e-25 * stems.mean()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_there_are_no_seams(name: str) -> None:
    """Where the receptive field is the whole signal (global norms, RNNs, attention), chunks differ from it; not more where they meet.

    An RNN forgets: its chunks differ next to their edges alone, by less than -60 dB.
    """
    difference, stems = chunked_error(tiny(name), 8, 8000)
    relative = difference / stems
    fading = np.zeros(len(relative), bool)
    for second in range(1, 7):  # two chunks share the second [k, k + 1), and fade in its middle
        fading[20 * second + 5 : 20 * second + 15] = True
    assert relative[fading].mean() <= max(1e-6, 1.2 * relative[20:-20][~fading[20:-20]].mean())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length() -> None:
    """20 s, then 2000 s of stereo at 8 kHz, 128 MB in and 256 MB out, in a process of its own."""
    code = """
import resource, torch
from sfi_zoo.separation.chunks import separate_blocks
from sfi_zoo.separation.options import SeparationOptions
from tests.test_chunks import Toy
def run(seconds, options):
    blocks = (torch.ones(2, 8000) for _ in range(seconds))
    for _ in separate_blocks(Toy(), blocks, 8000, options, channels=2):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for options in (SeparationOptions(), SeparationOptions(rescale=True, consistency="energy")):
    print(-(run(40, options) - run(2000, options)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    scale = 1024 if sys.platform == "darwin" else 1
    assert [int(line) // scale < 30_000 for line in done.stdout.split()] == [True, True], done.stdout


def test_importing_loads_nothing_heavy() -> None:
    """What takes seconds (torchaudio, matplotlib, the Hub, metrics) is loaded where it is used."""
    heavy = {
        "torchaudio",
        "matplotlib",
        "torchmetrics",
        "huggingface_hub",
        "scipy",
        "soundfile",
        "rich",
        "typer",
    }
    code = "import sys, torch; before = set(sys.modules); import sfi_zoo; print(*(set(sys.modules) - before))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    ).stdout.split()
    assert "sfi_zoo" in loaded
    assert not {name.split(".")[0] for name in loaded} & heavy
    assert len(loaded) < 30
