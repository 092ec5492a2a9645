"""Programs of tools/ run in the tests' process, and a voice of a known pitch for those that sing."""

from types import ModuleType

import numpy as np
import pytest

RATE = 32000


def said(
    program: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *words: object,
) -> str:
    """What the program prints with these arguments, or its message where it ends with an error."""
    monkeypatch.setattr("sys.argv", [str(program.__file__), *map(str, words)])
    try:
        program.main()
    except SystemExit as error:
        assert error.code != 0
        return capsys.readouterr().err
    return capsys.readouterr().out


def vowel(pitch: float, formant: float = 1000.0, seconds: float = 0.6) -> np.ndarray:
    """Pulses at `pitch` through a resonance at `formant`, both in Hz: (time,) at RATE."""
    from scipy.signal import lfilter

    pulses = np.zeros(round(seconds * RATE))
    pulses[:: round(RATE / pitch)] = 1.0
    radius, angle = np.exp(-np.pi * 120 / RATE), 2 * np.pi * formant / RATE
    x = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], pulses)
    return 0.3 * x / np.abs(x).max()
