"""Running a model on chunks: without gradients, on a device and in a precision, several chunks at once."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.separation.above import band_edge
from sfi_zoo.separation.options import DTYPES

_KNOWN = {name: getattr(torch, name) for name in DTYPES}
_PERIOD = 0.02  # seconds over which a model without frames is shifted
_HALVES = (torch.bfloat16, torch.float16)


class Runner:
    """A model with the device and the precision in which it runs.

    float32 and float64 are the precision of all; with bfloat16 and float16 the model keeps its weights and runs under `torch.autocast`
    (a `Separator` has its encoder and decoder in full precision then, and only the masks in the lower one). Moving or converting makes a
    copy; your model is unchanged.

    Args:
        model: a separator.
        device: where to run; None for where the model is.
        dtype: float32, float64, bfloat16 or float16, also by name; None for what the model has.
        shifts: how many delays to average over.

    Raises:
        InputError: a device that is not there, or another dtype.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        shifts: int = 1,
    ) -> None:
        wanted = _KNOWN.get(dtype) if isinstance(dtype, str) else dtype
        if dtype is not None and wanted not in _KNOWN.values():
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype}")
        place = next(model.parameters(), torch.empty(0))
        target = place.device if device is None else _available(device)
        self._autocast = wanted if wanted in _HALVES and wanted != place.dtype else None
        stored = place.dtype if wanted is None or self._autocast else wanted
        if not _same_device(target, place.device) or stored != place.dtype:
            model = copy.deepcopy(model).to(target, stored)
        self.model, self._shifts = model, shifts
        self._like = torch.empty(0, device=target, dtype=stored)
        self.out_dtype = torch.promote_types(stored, torch.float32)

    def __call__(self, chunks: Sequence[Tensor], sample_rate: float) -> Tensor:
        """(channels, n) chunks of one length -> (chunks, sources, channels, n) on the CPU, float32 or float64.

        Raises:
            InputError: the model gives NaN or infinity.
        """
        batch = torch.stack(list(chunks))
        sources = len(self.model.sources)  # type: ignore[arg-type]
        stems = torch.zeros(len(batch), sources, *batch.shape[1:], dtype=self.out_dtype)
        heard = batch.flatten(1).any(1).cpu()  # silence is silence in every stem, at no cost
        if heard.any():
            device = self._like.device.type
            half = torch.autocast(device, self._autocast) if self._autocast else nullcontext()
            with torch.inference_mode(), half:
                estimates = self._mean(batch[heard.to(batch.device)].to(self._like), sample_rate)
            stems[heard] = estimates.to("cpu", self.out_dtype)
        if not bool(torch.isfinite(stems).all()):
            peak = float(batch.abs().max())
            raise InputError(
                f"the model returned non-finite samples for a signal with its peak at {peak:.4g}"
            )
        return stems

    def _mean(self, batch: Tensor, sample_rate: float) -> Tensor:
        """The mean of what the model gives for the batch delayed by k / shifts of a frame, k = 0 ... shifts - 1."""
        total = self.model(batch, sample_rate)
        period = getattr(self.model, "frame_period", None) or _PERIOD
        for k in range(1, self._shifts):
            delay = round(period * sample_rate * k / self._shifts)
            total = total + self.model(nn.functional.pad(batch, (delay, 0)), sample_rate)[..., delay:]
        return total / self._shifts if self._shifts > 1 else total

    def band_edge(self, sample_rate: float) -> float:
        """See `sfi_zoo.separation.above.band_edge`."""
        with self.evaluating(), torch.inference_mode():
            return band_edge(self.model, sample_rate)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Eval mode for a while; afterwards every submodule is in the mode it had.

        Only the flags are moved: `train()` drops what a layer has designed, and it would be designed again for each of many files.
        """
        training = [module for module in self.model.modules() if module.training]
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


def _available(device: torch.device | str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise InputError(f"device {device}: not available here") from error


def _same_device(a: torch.device, b: torch.device) -> bool:
    return a.type == b.type and (a.index is None or b.index is None or a.index == b.index)
