"""For models that cannot be converted: the model runs at its own rate, between two resamplings."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from sfi_zoo.audio.resample import resampled_length
from sfi_zoo.audio.resampling import Resampler, create_resampler
from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate, primal
from sfi_zoo.layers.surgery.example_inputs import with_lengths
from sfi_zoo.layers.surgery.probe import Probe, holds_samples
from sfi_zoo.layers.surgery.report import Report


class ResampledModel(SampleRateAware):
    """A model that is run at F0 whatever the rate of its input, with the interface of the model.

        y = back(model(resample(x, F, F0)), F0, F)

    for every waveform that goes in and comes out. An output as long as the input is so again. Whole numbers among the arguments that are
    the length of a waveform are told the length at F0.

    Args:
        model: takes and gives waveforms at F0.
        sample_rate: F0 in Hz.
        seen: which of its inputs and outputs are waveforms.
        resampler: "resample" for "windowed_sinc", a name (see `sfi_zoo.audio.resampling`) or a `Resampler`.
        report: why it was not converted.

    Raises:
        InputError: the model could not be run, or the resampler is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        sample_rate: float,
        seen: Probe,
        resampler: str | Resampler = "resample",
        report: Report | None = None,
    ) -> None:
        super().__init__()
        if seen.inputs is None:
            raise InputError(f"{type(model).__name__} could not be run {seen.error}; give example_inputs")
        self.model = model
        self.trained_rate = primal(check_sample_rate(sample_rate))
        self.resampler = create_resampler("windowed_sinc" if resampler == "resample" else resampler)
        self.inputs = seen.inputs
        self.outputs = [
            max(range(len(slopes)), key=lambda i: slopes[i]) - len(slopes) if holds_samples(slopes) else None
            for slopes in seen.outputs
        ]
        self.report = report
        if report is not None:
            report.fallback = type(self.resampler).__name__
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives, waveforms at the stored rate.

        Raises:
            InputError: a gradient that the resampler has not, or arguments unlike those that the model was tried with.
        """
        rate, trained = self.current_rate, self.trained_rate
        if rate == trained:
            return self.model(*args, **kwargs)
        leaves, tree = pytree.tree_flatten((args, kwargs))
        lengths: dict[int, int] = {}
        for i, leaf in enumerate(leaves):
            axis = self._axis(i, leaf, tree)
            if axis is not None:
                leaves[i] = self.resampler(leaf.movedim(axis, -1), rate, trained).movedim(-1, axis)
                lengths[leaf.shape[axis]] = leaves[i].shape[axis]
        if not lengths:
            raise InputError(
                f"no waveform among the arguments of {type(self.model).__name__}; it was tried with other ones"
            )
        leaves = [with_lengths(leaf, lengths) for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(leaves, tree)
        output = self.model(*args, **kwargs)
        given, form = pytree.tree_flatten(output)
        back = {inner: outer for outer, inner in lengths.items()}
        axes = iter(self.outputs)
        given = [self._back(x, next(axes, None), back) if isinstance(x, Tensor) else x for x in given]
        return pytree.tree_unflatten(given, form)

    def _axis(self, i: int, leaf: Any, tree: Any) -> int | None:
        """The axis of time of an argument; None where it is no waveform."""
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.ndim:
            return None
        if tree == self.inputs.tree():
            axis = self.inputs.axes.get(i)
            return None if axis is None else min(axis, leaf.ndim - 1)
        return leaf.ndim - 1 if leaf.shape[-1] >= self.inputs.shortest else None

    def _back(self, y: Tensor, axis: int | None, lengths: dict[int, int]) -> Tensor:
        """An output at F, if it is a waveform."""
        if axis is None or not y.is_floating_point() or y.ndim < -axis:
            return y
        y = y.movedim(axis, -1)
        length = lengths.get(y.shape[-1], resampled_length(y.shape[-1], self.trained_rate, self.current_rate))
        y = self.resampler.way_back(y, self.trained_rate, self.current_rate)
        return functional.pad(y, (0, length - y.shape[-1])).movedim(-1, axis)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in {"model", "inputs"}:
                raise
        value = getattr(self.model, name)
        if callable(value) and not isinstance(value, nn.Module):
            raise AttributeError(
                f"{name} of {type(self.model).__name__} is not wrapped: only forward resamples; call .model.{name} for what it does at F0"
            )
        return value

    def extra_repr(self) -> str:
        """The trained rate."""
        return f"sample_rate={self.trained_rate}"
