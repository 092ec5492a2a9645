"""A report in words: what surgery found in a model, and what it did."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sfi_zoo.layers.sample_rate import check_sample_rate
from sfi_zoo.layers.surgery.obstacles import check_model
from sfi_zoo.layers.surgery.places import CONVERTED, DOUBTFUL, IN_THE_WAY, LEFT, Place, places_of
from sfi_zoo.layers.surgery.probe import Probe, probe
from sfi_zoo.layers.surgery.self_check import Finding

ORDER = (CONVERTED, LEFT, DOUBTFUL, IN_THE_WAY)
MEANING = {
    CONVERTED: "converted",
    LEFT: "left as it is",
    DOUBTFUL: "left as it is, and the check decides",
    IN_THE_WAY: "in the way",
}


@dataclass
class Report:
    """What `explain` says of a model, and `.report` of a converted one.

    Attributes:
        model: its class.
        sample_rate: F0 in Hz.
        places: where audio-rate samples are touched, see `Place`.
        inputs: the shapes that it was run with; "" where it could not be run.
        error: why it could not be run, or not at a second length.
        layers: names of the modules that were replaced.
        findings: how the converted model compares with the plain one; empty where that was not checked.
        fallback: the resampler that stands in for a conversion; "" where none does.
    """

    model: str
    sample_rate: float
    places: list[Place] = field(default_factory=list)
    inputs: str = ""
    error: str = ""
    layers: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    fallback: str = ""

    def of(self, verdict: str) -> list[Place]:
        """The places with one verdict: "converted", "left as it is", "doubtful" or "in the way"."""
        return [place for place in self.places if place.verdict == verdict]

    @property
    def convertible(self) -> bool:
        """Whether something can be converted and nothing stands in the way; the check of the result may still fail."""
        return bool(self.of(CONVERTED)) and not self.of(IN_THE_WAY)

    def __str__(self) -> str:
        lines = [
            f"{self.model}, trained at {self.sample_rate:g} Hz, on {self.inputs or 'nothing: it could not be run'}"
        ]
        if self.error:
            lines.append(f"  {self.error}")
        if self.fallback:
            lines.append(
                f"  not converted; it runs at {self.sample_rate:g} Hz between two resamplings ({self.fallback})"
            )
        for verdict in ORDER:
            places = self.of(verdict)
            if places:
                lines.append(f"{MEANING[verdict]}:")
                lines += [f"  {place}" for place in places]
        if self.layers:
            lines.append(f"replaced by layers: {', '.join(self.layers)}")
        if self.findings:
            lines.append("checked against the plain model:")
            lines += [f"  {finding}" for finding in self.findings]
        return "\n".join(lines)


def explain(model: nn.Module, sample_rate: float, example_inputs: Any = None) -> Report:
    """What `make_sfi` would find in a model: every place where audio-rate samples are touched.

    The model runs on noise of two lengths. What grows by a number per sample holds samples, what grows by less holds frames; calls
    from the one to the other are converted, and what else is done with samples is left as it is, or stands in the way.

        >>> print(sfi_zoo.explain(model, 16000))

    Args:
        model: any model; it is not touched.
        sample_rate: F0 in Hz.
        example_inputs: what the model is called with, see `make_sfi`; found if None.

    Returns:
        The report; print it.

    Raises:
        InputError: an impossible rate, or a model whose calls cannot be followed (scripted, quantised, on several devices, ...).
    """
    check_sample_rate(sample_rate)
    check_model(model)
    return report_of(model, sample_rate, probe(model, sample_rate, example_inputs))


def report_of(model: nn.Module, sample_rate: float, seen: Probe) -> Report:
    """The report on what a probe has seen."""
    places = [place for place in places_of(seen.flows) if place.role != "inside" or place.verdict != LEFT]
    shape = seen.inputs.shape() if seen.inputs else ""
    return Report(type(model).__name__, sample_rate, places, shape, seen.error)
