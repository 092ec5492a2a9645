"""Which sample rates and waveforms a separator accepts, checked in one place."""

import torch

from sfi_zoo.audio.rates import plain_number
from sfi_zoo.errors import InputError

MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 192_000


def check_sample_rate(sample_rate: float, subject: str = "sample_rate") -> float:
    """Check that separators work at a sample rate (Hz), and return it as a plain number.

    Args:
        sample_rate: in Hz, need not be an integer; see `sfi_zoo.audio.rates.hertz`.
        subject: what the error names, a file for instance.

    Raises:
        InputError: no number, not finite, or outside `MIN_SAMPLE_RATE` .. `MAX_SAMPLE_RATE`.
    """
    rate = plain_number(sample_rate, subject)
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        allowed = f"{MIN_SAMPLE_RATE}..{MAX_SAMPLE_RATE} Hz"
        raise InputError(f"{subject}: a sample rate of {rate:.10g} Hz is outside {allowed}")
    return rate


def check_finite(
    waveform: torch.Tensor, sample_rate: float, offset: int = 0, subject: str = "waveform"
) -> None:
    """Refuse NaN and infinity, saying where the first one is.

    Args:
        waveform: (channels, time).
        sample_rate: in Hz, turns the position into seconds.
        offset: position of the first sample of `waveform` in the whole signal, in samples.
        subject: what the error names, a file for instance.

    Raises:
        InputError: a sample is not finite.
    """
    finite = torch.isfinite(waveform)
    if bool(finite.all()):
        return
    position = int((~finite).any(0).to(torch.uint8).argmax())
    channel = int((~finite[:, position]).to(torch.uint8).argmax())
    value = float(waveform[channel, position])
    seconds = (offset + position) / sample_rate
    raise InputError(f"{subject}: not a finite sample ({value}) at {seconds:.3f} s, channel {channel + 1}")
