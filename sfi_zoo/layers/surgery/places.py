"""What a call does with audio-rate samples: which calls can become SFI layers, which may stay, which stand in the way."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sfi_zoo.layers.surgery import operations as known
from sfi_zoo.layers.surgery.call_arguments import CONVOLUTIONS, TRANSFORMS, Convolution
from sfi_zoo.layers.surgery.call_sites import Site
from sfi_zoo.layers.surgery.probe import SAMPLES, Flow, holds_samples

CONVERTED, LEFT, DOUBTFUL, IN_THE_WAY = "converted", "left as it is", "doubtful", "in the way"
ANALYSIS, SYNTHESIS, FILTER, COUNT, INSIDE = "analysis", "synthesis", "filter", "count", "inside"
SHORTEST_HOP = 4  # samples: what is divided by fewer is no number of frames
NEGLIGIBLE = 1e-3  # growth per sample of an axis that does not grow


@dataclass(frozen=True)
class Place:
    """A place in a foreign model where audio-rate samples are touched.

    Attributes:
        verdict: "converted", "left as it is", "doubtful" (the check of the converted model decides) or "in the way".
        what: the call, with the numbers that matter.
        site: where it stands.
        why: the reason for the verdict.
        role: of a call that can be converted: "analysis", "synthesis", "filter" or "count"; of one that sees frames only: "inside".
        name: of the function.
        convolution: its numbers, where it is one.
        hidden: what it does may depend on the level, the band or the ends of a signal, so that a check does not see all of it.
        whole_hops: of a convolution that gives frames: the model pads what it takes to whole hops.
        beyond: of a count: how much more it is than the samples of the signal.
    """

    verdict: str
    what: str
    site: Site
    why: str
    role: str = ""
    name: str = ""
    convolution: Convolution | None = None
    hidden: bool = False
    whole_hops: bool = True
    beyond: int = 0

    def __str__(self) -> str:
        return f"{self.what} in {self.site}: {self.why}"


def places_of(flows: Iterable[Flow]) -> list[Place]:
    """All places where samples are touched and more is done with them than moving, scaling and adding."""
    found = dict.fromkeys(place for flow in flows if (place := place_of(flow)))
    return list(found)


def place_of(flow: Flow) -> Place | None:
    """What one call does; None where it sees no samples, or only moves, scales or adds them."""
    name = flow.call.name
    if name in CONVOLUTIONS:
        return _convolution(flow)
    if name in TRANSFORMS:
        return _transform(flow)
    if name in known.DIVISIONS and flow.call.inputs[0].number:
        return _count(flow)
    verdict = _verdict(flow)
    if verdict is None:
        return None
    kind, why, what, hidden = verdict
    return Place(kind, what or name, flow.call.site, why, name=name, hidden=hidden)


class _Verdict(NamedTuple):
    kind: str
    why: str
    what: str = ""
    hidden: bool = False


def _verdict(flow: Flow) -> _Verdict | None:
    """On a call that is no convolution or transform."""
    name = flow.call.name
    if flow.call.unflattened:
        return _Verdict(DOUBTFUL, known.BOUNDARIES["view"])
    inputs = flow.inputs()
    if name in known.LIKE_ANOTHER:  # the other tensor lends its dtype or its shape only
        inputs = inputs[:1]
    goes_in, comes_out = (any(map(holds_samples, sizes)) for sizes in (inputs, flow.outputs()))
    if not (goes_in or comes_out) or name in known.CREATE:
        return None
    if not comes_out:
        return _samples_lost(flow)
    return _samples_to_samples(flow, inputs) if goes_in else _samples_made(flow)


def _samples_lost(flow: Flow) -> _Verdict | None:
    """A call that takes samples and gives none."""
    name = flow.call.name
    if name in known.PLACES:
        return _Verdict(DOUBTFUL, "what it gives are places, which are counted in samples", hidden=True)
    if not any(size.signal for size in flow.call.outputs) or name in known.QUERIES:
        return None
    pieces = any(slope > NEGLIGIBLE for slopes in flow.outputs() for slope in slopes)
    if name in known.AVERAGES and not pieces:
        return _Verdict(LEFT, "an average over time is the same at every rate")
    if name in known.REDUCTIONS and not pieces:
        return _Verdict(DOUBTFUL, "what it takes together is counted in samples", hidden=True)
    return _Verdict(IN_THE_WAY, known.BOUNDARIES.get(name, "it makes frames, or cuts pieces, in samples"))


def _samples_made(flow: Flow) -> _Verdict | None:
    """A call that makes samples of something else."""
    name = flow.call.name
    if name in known.MOVE and _only_widened(flow):
        return None
    return _Verdict(IN_THE_WAY, known.BOUNDARIES.get(name, "it makes audio-rate samples of something else"))


def _samples_to_samples(flow: Flow, inputs: list[tuple[float, ...]]) -> _Verdict | None:
    """A call that takes samples and gives samples."""
    name = flow.call.name
    if any(map(holds_samples, flow.marks())):
        why = "truth values or places, one for each sample: a limit of the level, or a time that is counted in samples"
        return _Verdict(DOUBTFUL, why, hidden=True)
    if name in known.SHIFTS:
        return _Verdict(IN_THE_WAY, known.SHIFTS[name])
    if name in known.MATRIX:
        taps = _mixed_samples(flow, inputs)
        return _Verdict(IN_THE_WAY, f"a kernel of {taps} samples") if taps > 1 else None
    front = _front(flow, inputs)
    if front:
        why = "a time that is counted in samples is another one at another rate"
        return _Verdict(DOUBTFUL, why, front, hidden=True)
    return _sample_by_sample(name, inputs)


def _sample_by_sample(name: str, inputs: list[tuple[float, ...]]) -> _Verdict | None:
    """A call that does the same with every sample."""
    if name in known.PRODUCTS and sum(map(holds_samples, inputs)) > 1:
        return _Verdict(DOUBTFUL, "a product of two signals has frequencies that they have not", hidden=True)
    if name in known.LINEAR or name in known.MOVE:
        return None
    why = "what it does with samples is not known"
    if name in known.NONLINEAR:
        why = "a nonlinearity at audio rate makes frequencies that fold at the lower rate"
    return _Verdict(DOUBTFUL, why, hidden=True)


def _place(flow: Flow, verdict: str, why: str, role: str = "") -> Place:
    """The place of a convolution or a transform."""
    call = flow.call
    what = described(call.name, call.numbers, call.convolution)
    return Place(verdict, what, call.site, why, role, call.name, call.convolution)


def _transform(flow: Flow) -> Place:
    """The place of a call of `stft` or `istft`."""
    if not any(map(holds_samples, [*flow.inputs(), *flow.outputs()])):
        return _place(flow, LEFT, "it sees frames", INSIDE)
    if flow.call.transform and flow.call.transform.get("onesided") is False:
        return _place(flow, IN_THE_WAY, "a two-sided transform is not converted; take onesided=True")
    if flow.call.name == "stft":
        found = _place(flow, CONVERTED, WHY[ANALYSIS], ANALYSIS)
        arguments = flow.call.transform or {}
        beyond = arguments["n_fft"] - 2 * (arguments["n_fft"] // 2) * arguments["center"]
        return replace(found, whole_hops=_whole_hops(flow, beyond, arguments["hop_length"]))
    return _place(flow, CONVERTED, WHY[SYNTHESIS], SYNTHESIS)


def _convolution(flow: Flow) -> Place:
    """The place of a call of `conv1d` or `conv_transpose1d`."""
    numbers = flow.call.convolution
    inputs, outputs = flow.inputs(), flow.outputs()
    x, y = inputs[0], outputs[0]
    if flow.call.inputs[0].flattened:
        return _place(flow, LEFT, "it sees frames", INSIDE)
    if not (x and y):
        return _place(flow, IN_THE_WAY, "its sizes could not be followed")
    before, after = x[-1] >= SAMPLES, y[-1] >= SAMPLES
    by_itself = numbers is not None and numbers.kernel == numbers.stride == 1
    if by_itself or not (before or after):
        why = "it takes every sample for itself" if before else "it sees frames"
        return _place(flow, LEFT, why, INSIDE)
    if numbers is None or any(map(holds_samples, inputs[1:])):
        return _place(flow, IN_THE_WAY, "its kernel is as long as the signal")
    role = _role(flow.call.name, before, after, y[-1])
    if not role:
        return _place(flow, IN_THE_WAY, "it goes from samples to samples, or takes all of them at once")
    found = _place(flow, CONVERTED, WHY[role], role)
    padding = 0 if isinstance(numbers.padding, str) else 2 * numbers.padding
    whole = role != ANALYSIS or _whole_hops(flow, numbers.kernel - padding, numbers.stride)
    return replace(found, whole_hops=whole)


def _count(flow: Flow) -> Place:
    """A whole number divided by a hop: how many frames a signal of so many samples has."""
    call, longer = flow.call, flow.longer
    hop = call.numbers.get(1, call.numbers.get("other")) or (
        call.inputs[1].number if len(call.inputs) > 1 else 0
    )
    constant = len(call.inputs) < 2 or call.inputs[1].number == longer.inputs[1].number
    counts = flow.grown and longer.inputs[0].number - call.inputs[0].number == flow.grown
    if not (counts and constant and isinstance(hop, (int, float)) and hop >= SHORTEST_HOP):
        return _place(flow, LEFT, "it sees frames", INSIDE)
    return replace(_place(flow, CONVERTED, WHY[COUNT], COUNT), beyond=call.inputs[0].number - flow.samples)


WHY = {
    COUNT: "a number of samples becomes a number of frames",
    ANALYSIS: "samples become frames",
    SYNTHESIS: "frames become samples",
    FILTER: "a filter from samples to samples",
}


def _role(name: str, before: bool, after: bool, slope: float) -> str:
    """What a convolution does, where samples go in (`before`) or come out (`after`); "" where that cannot be converted."""
    if name == "conv_transpose1d":
        return SYNTHESIS if after and not before else ""
    if before and after:
        return FILTER
    return ANALYSIS if before and slope > NEGLIGIBLE else ""


def _whole_hops(flow: Flow, beyond: int, hop: int) -> bool:
    """Whether nothing is left over of the samples that become frames, though the signal holds no whole number of hops."""
    if flow.grown == flow.samples or not flow.grown:
        return True  # unknown
    return (flow.longer.inputs[0].shape[-1] - beyond) % hop == 0


def described(name: str, numbers: dict[Any, Any], call: Convolution | None) -> str:
    """A call in a few words."""
    if call is not None:
        return f"{name} with kernel {call.weight[-1]}, stride {call.stride}"
    what = "n_fft" if name in TRANSFORMS else "hop"
    number = numbers.get("n_fft", numbers.get("other", numbers.get(1)))
    return f"{name} with {what} {number}" if number is not None else name


def _only_widened(flow: Flow) -> bool:
    """What does not grow in time, repeated for all samples."""
    return not any(slope > NEGLIGIBLE for slopes in flow.inputs() for slope in slopes)


def _mixed_samples(flow: Flow, inputs: list[tuple[float, ...]]) -> int:
    """Samples of different instants that a product with a matrix, or a convolution in two dimensions, puts together."""
    if flow.call.name in known.MIX_LAST or not holds_samples(inputs[0]):
        return 1  # a matrix of fixed size cannot run over the axis of time
    kernel = flow.call.inputs[1].shape
    from_end = len(inputs[0]) - next(i for i, slope in enumerate(inputs[0]) if slope >= SAMPLES)
    return kernel[-from_end] if from_end <= len(kernel) - 2 else 1


def _front(flow: Flow, inputs: list[tuple[float, ...]]) -> str | None:
    """How many samples a call puts in front of a signal or takes away there, in words; None where it does not."""
    name, numbers = flow.call.name, flow.call.numbers
    count: Any = None
    words = ""
    if name == "pad":
        count, words = (
            _padded_in_front(numbers.get(1, numbers.get("pad")), inputs[0]),
            "pad by {} samples in front",
        )
    elif name in {"cat", "concat", "concatenate"}:
        count, words = _joined_in_front(flow, inputs), name + " with {} samples in front"
    elif name == "narrow":
        count, words = numbers.get(2, numbers.get("start")), "narrow from sample {} on"
    elif name == "__getitem__":
        count, words = _bounds(flow, inputs[0])[0], "a slice from sample {} on"
    elif name == "__setitem__":
        start, stop = _bounds(flow, inputs[0])
        count, words = start or stop, "an assignment up to, or from, sample {}"
    return words.format(count) if isinstance(count, int) and count else None


def _padded_in_front(pad: Any, slopes: tuple[float, ...]) -> int | None:
    """Samples that `functional.pad` puts in front of the axis of time."""
    axis = next((i for i, slope in enumerate(reversed(slopes)) if slope >= SAMPLES), 0)
    return pad[2 * axis] if isinstance(pad, (tuple, list)) and 2 * axis < len(pad) else None


def _joined_in_front(flow: Flow, inputs: list[tuple[float, ...]]) -> int | None:
    """Samples of fixed number that are joined in front of a signal."""
    axis = next((i for slopes in inputs for i, slope in enumerate(slopes) if slope >= SAMPLES), None)
    shape = flow.call.inputs[0].shape
    return shape[axis] if axis is not None and not holds_samples(inputs[0]) and axis < len(shape) else None


def _bounds(flow: Flow, slopes: tuple[float, ...]) -> tuple[int | None, int | None]:
    """Where a slice of the axis of time starts and ends; None where that moves with the length of the signal, or is its end."""
    short, long = (_slice(call.numbers.get(1), slopes) for call in (flow.call, flow.longer))
    if short is None or long is None:
        return None, None
    fixed = [
        a if isinstance(a, int) and a == b else None
        for a, b in ((short.start, long.start), (short.stop, long.stop))
    ]
    return fixed[0], fixed[1]


def _slice(index: Any, slopes: tuple[float, ...]) -> slice | None:
    """What is taken of the axis of time."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(item is not None and item is not Ellipsis for item in items)
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(slopes) - used)
    items = [item for item in items if item is not None]
    pairs = zip(items, slopes, strict=False)
    return next((item for item, slope in pairs if slope >= SAMPLES and isinstance(item, slice)), None)
