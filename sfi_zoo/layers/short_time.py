"""Short-time Fourier geometry: windows, hops and bins kept in seconds and hertz, counted in samples at the rate that comes."""

import math
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from sfi_zoo.design import INTERPOLATION_WIDTH, FrameGrid, between_samples
from sfi_zoo.errors import InputError
from sfi_zoo.filters.windows import Window, create_window
from sfi_zoo.layers.geometry import STRIDE_MODES
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate, primal

Whole = int | Fraction
Layer = TypeVar("Layer", bound="ShortTimeFourier")
# durations are taken as fractions with at most this denominator: 0.02 is meant as 1/50, 2048 / 44100 as 512 / 11025
MAX_DENOMINATOR = 1_000_000


class Frames(NamedTuple):
    """Where frames lie at one sampling frequency. Frame k covers the samples in [p_k, p_k + N), N = n_fft F / F0.

    Lists hold the frames until delays repeat (all of them where they do not).

    Attributes:
        number: how many frames.
        taps: most samples that a frame covers, ceil(N).
        positions: p_k in samples.
        starts: ceil(p_k), the first sample.
        delays: ceil(p_k) - p_k.
        begins: first sample under the window, counted from the start.
        ends: first sample after it.
        step: samples from a frame to the next one with the same delay.
        period: N.
        whole: N is a whole number: bins are those of an ordinary transform of length N.
        window: start of the window in its frame, and its length, in samples.
        ratio: F / F0.
        features: number of bins.
        alive: number of bins up to F / 2.
        between: stride mode "interpolate": how far frames lie behind their position, in samples; their delays are those of frame 0.
    """

    number: int
    taps: int
    positions: tuple[float, ...]
    starts: tuple[int, ...]
    delays: tuple[float, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    step: int
    period: float
    whole: bool
    window: tuple[float, float]
    ratio: float
    features: int
    alive: int
    between: tuple[float, ...] = ()

    def all_starts(self, device: torch.device) -> Tensor:
        """First samples of all frames: (frames,) int64."""
        repeats = torch.arange(-(-self.number // len(self.starts)), device=device) * self.step
        return (repeats[:, None] + torch.tensor(self.starts, device=device)).flatten()[: self.number]

    @property
    def margin(self) -> int:
        """Samples that interpolation takes on both sides of a frame."""
        return INTERPOLATION_WIDTH if self.between else 0

    def interpolation(self, like: Tensor, some: slice = slice(None)) -> Tensor:
        """The kernels that move some of the frames, all unless told, to their positions: (frames, 1, 2 Z + 1)."""
        frames = torch.arange(self.number, device=like.device)[some] % len(self.between)
        between = torch.tensor(self.between, dtype=torch.float64, device=like.device)[frames]
        return between_samples(between).to(like.dtype)[:, None]

    def widened(self) -> "Frames":
        """The frames with the margin on both sides."""
        starts = tuple(start - self.margin for start in self.starts)
        return self._replace(starts=starts, taps=self.taps + 2 * self.margin)

    def last_start(self) -> int:
        """First sample of the last frame."""
        repeats, within = divmod(self.number - 1, len(self.starts))
        return self.starts[within] + repeats * self.step


class ShortTimeFourier(SampleRateAware):
    """What `SFISTFT` and `SFIISTFT` share; the arguments are theirs."""

    def __init__(
        self,
        n_fft: Whole,
        hop_length: Whole | None,
        win_length: Whole | None,
        window: str | Tensor | Window,
        center: bool,
        normalized: bool,
        bins: str,
        stride_mode: str,
        sample_rate: float,
    ) -> None:
        super().__init__()
        self.trained_rate = primal(check_sample_rate(sample_rate))
        n_fft = _positive("n_fft", n_fft)
        win_length = n_fft if win_length is None else _positive("win_length", win_length)
        hop_length = n_fft // 4 if hop_length is None else _positive("hop_length", hop_length)
        if not 0 < hop_length <= win_length <= n_fft or n_fft < 2:
            raise InputError(
                f"lengths must be 0 < hop_length <= win_length <= n_fft and n_fft >= 2, in samples at F0; "
                f"got {hop_length}, {win_length} and {n_fft}"
            )
        if isinstance(window, Tensor) and window.shape != (win_length,):
            raise InputError(
                f"a sampled window must have win_length {win_length} samples, got {tuple(window.shape)}"
            )
        if bins not in ("fixed", "nyquist"):
            raise InputError(f"bins must be 'fixed' or 'nyquist', got {bins!r}")
        if stride_mode not in STRIDE_MODES:
            raise InputError(f"stride_mode must be one of {STRIDE_MODES}, got {stride_mode!r}")
        self.n_fft, self.hop_length, self.win_length = n_fft, hop_length, win_length
        self.center, self.normalized, self.bins, self.stride_mode = center, normalized, bins, stride_mode
        self.window = create_window(window)
        self._window_name = window if isinstance(window, str) else "sampled"

    @classmethod
    def from_seconds(
        cls: type[Layer],
        window_seconds: float,
        hop_seconds: float,
        fft_seconds: float | None = None,
        *,
        sample_rate: float,
        **options: Any,
    ) -> Layer:
        """The layer with its lengths in seconds; they need not be whole numbers of samples, not even at F0.

        Args:
            window_seconds: length of the window.
            hop_seconds: distance between frames.
            fft_seconds: 1 / df, the inverse of the distance between bins; the length of the window if None.
            sample_rate: F0 in Hz: the level is that of `torch.stft` there, "fixed" bins are those up to F0 / 2.
            **options: the other arguments of the layer.

        Raises:
            InputError: as the layer itself.
        """
        fft_seconds = window_seconds if fft_seconds is None else fft_seconds
        rate = Fraction(primal(check_sample_rate(sample_rate)))
        lengths: list[Whole] = []
        for seconds in (fft_seconds, hop_seconds, window_seconds):
            if not (isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds > 0):
                raise InputError(f"durations must be positive and finite, in seconds; got {seconds!r}")
            samples = Fraction(seconds).limit_denominator(MAX_DENOMINATOR) * rate
            lengths.append(int(samples) if samples.denominator == 1 else samples)
        n_fft, hop_length, win_length = lengths
        return cls(n_fft, hop_length, win_length, sample_rate=sample_rate, **options)

    # where things are ----------------------------------------------------------------------------------------------

    def frame_grid(self, sample_rate: float | None = None) -> FrameGrid:
        """Positions of the centres of the windows in samples at `sample_rate`."""
        return self._grid(primal(self._rate(sample_rate)))

    def _grid(self, rate: float) -> FrameGrid:
        ratio = self._ratio(rate)
        return FrameGrid.of(
            (self._left + Fraction(self.win_length) / 2 - self._padding) * ratio, self._hop(ratio)
        )

    def frame_times(self, frames: int, sample_rate: float | None = None) -> Tensor:
        """Centres of the windows of the first `frames` frames in seconds: (frames,) float64. The same at every rate."""
        rate = primal(self._rate(sample_rate))
        return self._grid(rate).positions(frames) / rate

    def num_frames(self, length: int, sample_rate: float | None = None) -> int:
        """Frames that a signal of `length` samples gives: floor((T + 2 p - n_fft) / hop) + 1 in samples of F0.

        The duration is rounded to a whole number T of samples of F0, so resampled signals, which are rounded up or down, agree.
        """
        return self._num_frames(length, primal(self._rate(sample_rate)))

    def _num_frames(self, length: int, rate: float) -> int:
        ratio = self._ratio(rate)
        if self.stride_mode == "round":
            return math.floor((length + (2 * self._padding - self.n_fft) * ratio) / self._hop(ratio)) + 1
        duration = math.floor(length / ratio + Fraction(1, 2))
        return math.floor((duration + 2 * self._padding - self.n_fft) / Fraction(self.hop_length)) + 1

    def num_features(self, sample_rate: float | None = None) -> int:
        """Number of bins: those up to F0 / 2 with bins="fixed", up to F / 2 with "nyquist"."""
        rate = self.trained_rate if self.bins == "fixed" else primal(self._rate(sample_rate))
        return self._num_features(self._period(rate))

    def _num_features(self, period: Fraction) -> int:
        """Bins where N = F / df is `period` samples."""
        return math.floor((self.n_fft if self.bins == "fixed" else period) / 2) + 1

    def frequencies(self, sample_rate: float | None = None) -> Tensor:
        """m df, the frequencies of the bins: (features,) Hz, float64."""
        spacing = self.trained_rate / float(self.n_fft)
        return torch.arange(self.num_features(sample_rate), dtype=torch.float64) * spacing

    def alive(self, sample_rate: float | None = None) -> Tensor:
        """(features,) bool: bins up to F / 2. The others are zero."""
        period = self._period(primal(self._rate(sample_rate)))
        return torch.arange(self._num_features(period)) <= math.floor(period / 2)

    # counted in samples --------------------------------------------------------------------------------------------

    @property
    def _padding(self) -> int:
        """Samples at F0 before the signal, as `torch.stft` has them."""
        return int(self.n_fft // 2) if self.center else 0

    @property
    def _left(self) -> int:
        """Samples at F0 from the start of a frame to the start of its window."""
        return int((self.n_fft - self.win_length) // 2)

    def _ratio(self, rate: float) -> Fraction:
        """F / F0, exactly."""
        return Fraction(rate) / Fraction(self.trained_rate)

    def _hop(self, ratio: Fraction) -> Fraction:
        """Distance between frames at F = ratio F0, in samples; int() of it where strides are rounded.

        Raises:
            InputError: nothing is left of it.
        """
        hop = self.hop_length * ratio
        if self.stride_mode != "round":
            return Fraction(hop)
        if hop < 1:
            raise InputError(f"stride_mode='round' leaves no sample of a hop of {float(hop):g} samples")
        return Fraction(int(hop))

    def _period(self, rate: float) -> Fraction:
        """N = F / df, in samples."""
        return self.n_fft * self._ratio(rate)

    def _frames(self, count: int, rate: float, each: bool) -> Frames:
        """Where `count` frames lie; `each`: list all of them, though delays repeat."""
        ratio = self._ratio(rate)
        period, features = self.n_fft * ratio, self._num_features(self.n_fft * ratio)
        left, length, hop = self._left * ratio, self.win_length * ratio, self._hop(ratio)
        if each and self.stride_mode != "exact":
            raise InputError(
                f"stride_mode={self.stride_mode!r} has no derivative with respect to the sampling frequency; use 'exact'"
            )
        if length < 2:
            raise InputError(
                f"sample_rate {rate} Hz is too low: a window of {float(self.win_length) / self.trained_rate:g} s "
                "holds less than two samples"
            )
        rows = count if each else min(hop.denominator, count)
        # in units of 1 / unit samples all positions are whole numbers, which is exact and quick
        unit = math.lcm(hop.denominator, *((n * ratio).denominator for n in (1, self.n_fft, self.win_length)))
        before, opening, closing, apart = (
            int(n * unit) for n in (self._padding * ratio, left, left + length, hop)
        )
        positions = [k * apart - before for k in range(rows)]
        between: tuple[float, ...] = ()
        if self.stride_mode == "interpolate" and rows > 1:
            between = tuple((p - positions[0]) % unit / unit for p in positions)
            positions = [p - (p - positions[0]) % unit for p in positions]
        starts, opens, closes = ([-(-(p + x) // unit) for p in positions] for x in (0, opening, closing))
        return Frames(
            number=count,
            taps=math.ceil(period),
            positions=tuple(p / unit for p in positions),
            starts=tuple(starts),
            delays=tuple((s * unit - p) / unit for s, p in zip(starts, positions, strict=True)),
            begins=tuple(n - s for n, s in zip(opens, starts, strict=True)),
            ends=tuple(n - s for n, s in zip(closes, starts, strict=True)),
            step=int(hop * rows) if rows < count else 0,
            period=float(period),
            whole=period.denominator == 1,
            window=(float(left), float(length)),
            ratio=float(ratio),
            features=features,
            alive=min(features, math.floor(period / 2) + 1),
            between=between,
        )

    def extra_repr(self) -> str:
        """The arguments, as they were given."""
        return (
            f"n_fft={self.n_fft}, hop_length={self.hop_length}, win_length={self.win_length}, "
            f"window={self._window_name}, center={self.center}, normalized={self.normalized}, bins={self.bins}, "
            f"sample_rate={self.trained_rate}"
        )


def _positive(name: str, value: Whole) -> Whole:
    if isinstance(value, bool) or not isinstance(value, (int, Fraction)) or value <= 0:
        raise InputError(f"{name} must be a positive whole number of samples at F0, got {value!r}")
    return value
