"""Short-time Fourier transform and its inverse at any sampling frequency.

Drop-ins for `torch.stft` and `torch.istft`: lengths are counted in samples of the trained rate F0 and kept as durations at every
other rate F. Frames sit at the same seconds, bins at the same hertz, and values have the same level, whatever F is.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.filters.windows import Window
from sfi_zoo.layers.chirp_z import chirp_z
from sfi_zoo.layers.fractional_fft import Plan, analyse, fractional_plan, synthesise
from sfi_zoo.layers.frame_pieces import NO_ENERGY, added, analysed, in_place
from sfi_zoo.layers.frame_tables import FrameTables
from sfi_zoo.layers.sample_rate import constant, derivative_of, primal
from sfi_zoo.layers.short_time import Frames, ShortTimeFourier, Whole

PAD_MODES = ("reflect", "constant", "replicate", "circular")
MAX_SLICES = 32  # strided additions, up to which they are quicker than one by index
CPU_FRAMES = 256  # frames at a time: what is computed of them stays in the cache


class SFISTFT(ShortTimeFourier):
    r"""Short-time Fourier transform that does not depend on the sampling frequency.

        X_k[m] = (F0 / F) sum_n x[n] w(n/F - t_k) exp(-j 2 pi m df (n/F - t_k)),   t_k = (k hop - p) / F0,   df = F0 / n_fft

    the Riemann sum of the analog transform. t_k is where frame k starts (p = n_fft // 2 with `center`), w the window as a
    function of time; at F0 it is `torch.stft`.

    At any real F the sum is exact, not interpolated: the window is evaluated at the instants of the samples in each frame, and the
    fraction of a sample by which a frame is off the grid is a phase of every bin. Where N = F / df is a whole number the sum is an FFT
    of length N, at the cost of `torch.stft` with the same numbers in samples; where it is not, an FFT of 1.5 N and a narrow matrix
    (`sfi_zoo.layers.fractional_fft`; on a CPU without gradients `sfi_zoo.layers.fractional_rows`): one to two and a half times its cost,
    three to six where the next whole N is a power of two.

    Args:
        n_fft: inverse of the distance between bins, in samples at F0.
        hop_length: distance between frames in samples at F0; n_fft // 4 if None.
        win_length: length of the window in samples at F0; n_fft if None. It sits in the middle of the frame, as in `torch.stft`.
        window: "hann", "hamming", "blackman", "rectangular", "sqrt_hann" (all periodic), or (win_length,) samples
            (see `sfi_zoo.filters.windows.create_window`).
        center: frame k is centred at k hop / F0 seconds; the signal is extended by n_fft // 2 samples of F0 on both sides.
        pad_mode: how: "reflect", "constant", "replicate" or "circular".
        normalized: multiply by n_fft^(-1/2).
        sample_rate: F0 in Hz.
        bins: "fixed": the n_fft // 2 + 1 bins of F0 at every rate, those above F / 2 zero (see `alive`), for networks with a fixed number
            of features. "nyquist": the bins up to F / 2, for networks that follow.
        stride_mode: "exact"; or what is published for convolutions, to compare with: "interpolate", a transform at every sample,
            interpolated by a windowed sinc, or "round", int() of the hop at F, which drifts.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    def __init__(
        self,
        n_fft: Whole,
        hop_length: Whole | None = None,
        win_length: Whole | None = None,
        window: str | Tensor | Window = "hann",
        center: bool = True,
        pad_mode: str = "reflect",
        normalized: bool = False,
        *,
        sample_rate: float,
        bins: str = "fixed",
        stride_mode: str = "exact",
    ) -> None:
        super().__init__(
            n_fft, hop_length, win_length, window, center, normalized, bins, stride_mode, sample_rate
        )
        if pad_mode not in PAD_MODES:
            raise InputError(f"pad_mode must be one of {PAD_MODES}, got {pad_mode!r}")
        self.pad_mode = pad_mode

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal.

        Args:
            x: (..., time), real. Half precision is computed in float32.
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A tensor is differentiated through.

        Returns:
            complex (..., features, frames), `num_features(sample_rate)` by `num_frames(time, sample_rate)`.

        Raises:
            InputError: not a real floating-point signal, one too short for a frame or for its padding, or a rate so low that a
                window holds less than two samples.
        """
        if not x.is_floating_point() or x.ndim < 1:
            raise InputError(
                f"input must be real floating point of shape (..., time), got {x.dtype} of shape {tuple(x.shape)}"
            )
        rate = self._rate(sample_rate)
        drift = derivative_of(rate)
        frames, left, right = self._plan(constant(x.shape[-1]), primal(rate), drift is not None)
        signal = x.reshape(-1, 1, x.shape[-1]).to(torch.promote_types(x.dtype, torch.float32))
        signal = functional.pad(signal, (left, right), self.pad_mode if self.center else "constant")[:, 0]
        level = self._scale / frames.ratio
        if drift is None and not frames.whole and not frames.between and in_place(signal):
            z = analysed(signal, frames, left, self.window, level)
            return functional.pad(z, (0, 0, 0, frames.features - frames.alive)).reshape(
                *x.shape[:-1], frames.features, frames.number
            )
        plan = plan_of(frames, signal) if drift is None and not frames.whole else None
        scale = level if plan is None else plan.correction * level
        tables = FrameTables(frames, self.window, drift, signal, scale)
        starts = frames.all_starts(signal.device) + (left - frames.margin)
        pieces = []
        for first, last in frames_at_a_time(frames.number, signal):
            segments = self._segments(signal, frames, starts, slice(first, last)) * tables.windows(
                first, last
            )
            if plan is not None:
                z = analyse(segments, plan)
            elif drift is None:
                z = torch.fft.rfft(segments)[..., : frames.alive]
            else:
                z = chirp_z(segments, frames.period * (1 + drift), frames.alive)
            phases = tables.phases(first, last)
            pieces.append(z if phases is None else z * phases)
        z = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
        if drift is not None:
            z = z / (1 + drift).to(signal.dtype)
        if frames.features > frames.alive:
            z = functional.pad(z, (0, frames.features - frames.alive))
        return z.transpose(-1, -2).reshape(*x.shape[:-1], frames.features, frames.number)

    def _segments(self, signal: Tensor, frames: Frames, starts: Tensor, some: slice) -> Tensor:
        """Samples under some of the frames, which start at `starts` in the padded signal: (batch, frames, taps)."""
        if len(frames.starts) == 1:
            return signal.unfold(-1, frames.taps, max(frames.step, 1))[:, some]
        segments = signal.unfold(-1, frames.taps + 2 * frames.margin, 1)[:, starts[some]]
        if frames.between:
            kernel = frames.interpolation(segments, some)
            segments = functional.conv1d(segments, kernel, groups=len(kernel))
        return segments

    @property
    def _scale(self) -> float:
        return float(self.n_fft) ** -0.5 if self.normalized else 1.0

    @torch.compiler.assume_constant_result
    def _plan(self, length: int, rate: float, each: bool) -> tuple[Frames, int, int]:
        """Where frames lie in a signal of `length` samples, and how far they reach beyond both of its ends."""
        count = self._num_frames(length, rate)
        if length < 1 or count < 1:
            raise InputError(
                f"{length} samples at {rate} Hz are shorter than a frame of {float(self.n_fft) / self.trained_rate:g} s"
            )
        frames = self._frames(count, rate, each)
        left = frames.margin - frames.starts[0]
        right = max(0, frames.last_start() + frames.taps + frames.margin - length)
        longest = {"reflect": length - 1, "circular": length}.get(self.pad_mode)
        if self.center and longest is not None and max(left, right) > longest:
            raise InputError(
                f"{length} samples at {rate} Hz are too short for pad_mode={self.pad_mode!r}, which takes {max(left, right)} from them; "
                "pad_mode='constant' takes any signal"
            )
        return frames, left, right


class SFIISTFT(ShortTimeFourier):
    r"""Inverse of `SFISTFT`: overlap-add, divided by the sum of the squared windows.

        y(t) = sum_k w(t - t_k) v_k(t - t_k) / sum_k w(t - t_k)^2,   v_k(t) = (1 / n_fft) Re sum_m c_m X_k[m] exp(j 2 pi m df t)

    at t = n/F, with c_0 = 1 and c_m = 2; the level of the output does not depend on F. At F0 it is `torch.istft`.

    Reconstruction is exact to rounding (2e-7 in float32, 1e-15 in float64), whole hops or not, where N = F / df is a whole number of
    samples and the bins reach F / 2; above F0 that takes bins="nyquist": fixed bins give the signal up to F0 / 2.

    Where N is not whole the exponentials of a frame are not quite orthogonal. The last bin m = floor(N / 2) then has c_m = 1 + N - 2 m,
    the trapezoidal rule on a circle of N bins, and what is left is an error in the last few bins below F / 2. Relative to the signal
    (n_fft 2048 at 32 kHz, hop 512, Hann): 1e-3 to 1e-2 for white noise, 1e-6 to 1e-4 for noise up to 0.9 F / 2, 1e-8 for 0.7 F / 2.

    Samples that no window reaches are zero (the first ones without `center`).

    Args: those of `SFISTFT`, but pad_mode; `win_length`, `window` and `hop_length` must be such that windows reach every instant.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    def __init__(
        self,
        n_fft: Whole,
        hop_length: Whole | None = None,
        win_length: Whole | None = None,
        window: str | Tensor | Window = "hann",
        center: bool = True,
        normalized: bool = False,
        *,
        sample_rate: float,
        bins: str = "fixed",
        stride_mode: str = "exact",
    ) -> None:
        super().__init__(
            n_fft, hop_length, win_length, window, center, normalized, bins, stride_mode, sample_rate
        )
        self._check_overlap()

    def _check_overlap(self) -> None:
        """Refuses windows whose squares sum to zero somewhere: nothing could be reconstructed there."""
        hop = float(self.hop_length) / float(self.win_length)
        offsets = torch.arange(64, dtype=torch.float64, device="cpu") * (hop / 64)
        u = offsets[:, None] + torch.arange(math.ceil(1 / hop), dtype=torch.float64, device="cpu") * hop
        energy = (self.window(u - 0.5).square() * (u < 1)).sum(1)
        if energy.min() < NO_ENERGY:
            raise InputError(
                f"windows of {self.win_length} samples every {self.hop_length} leave instants with no weight; take a shorter hop_length"
            )

    def forward(self, z: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise a signal.

        Args:
            z: complex (..., features, frames), as `SFISTFT` gives it at this rate.
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A tensor is differentiated through.
            length: samples wanted; by default ((frames - 1) hop + n_fft - 2 p) F / F0, rounded.

        Returns:
            (..., length).

        Raises:
            InputError: not complex, a number of features that is not that of the rate, no frame, a length that is not positive, or a rate
                so low that a window holds less than two samples.
        """
        rate = self._rate(sample_rate)
        drift = derivative_of(rate)
        if not z.is_complex() or z.ndim < 2 or z.shape[-1] < 1:
            raise InputError(
                f"input must be complex (..., features, frames), got {z.dtype} of shape {tuple(z.shape)}"
            )
        frames, whole_length = self._plan(constant(z.shape[-1]), primal(rate), drift is not None)
        length = whole_length if length is None else length
        if z.shape[-2] != frames.features or length < 1:
            raise InputError(
                f"at {rate} Hz input must have {frames.features} features (bins={self.bins!r}) and a positive length; "
                f"got {z.shape[-2]} and {length}"
            )
        bins = z.reshape(-1, *z.shape[-2:]).to(torch.promote_types(z.dtype, torch.complex64))
        bins = bins[:, : frames.alive].transpose(-1, -2)
        period = frames.period if drift is None else frames.period * (1 + drift)
        weights = bins.real.new_full((frames.alive,), 2.0)
        weights[0] = 1.0
        if frames.alive > frames.period // 2:
            weights[-1] = 1 + period - 2 * (frames.alive - 1)
        if drift is None and not frames.whole and not frames.between and in_place(bins):
            y = added(bins.mT, frames, self.window, weights / float(self.n_fft), length)
            y = y * float(self.n_fft) ** 0.5 if self.normalized else y
            return y.reshape(*z.shape[:-2], length)
        plan = plan_of(frames, bins.real) if drift is None and not frames.whole else None
        tables = FrameTables(frames, self.window, drift, bins.real)
        pieces, energies = [], []
        for first, last in frames_at_a_time(frames.number, bins):
            piece, phases = bins[:, first:last], tables.phases(first, last)
            if phases is not None:
                piece = piece * phases.conj()
            if plan is not None:
                segments = synthesise(piece * weights, plan) * (plan.correction / float(self.n_fft))
            elif drift is None:
                segments = torch.fft.irfft(piece, n=frames.taps) * frames.ratio
            else:
                segments = chirp_z((piece * weights).conj(), period, frames.taps).real / float(self.n_fft)
            window = tables.windows(first, last)
            pieces.append(segments * window)
            energies.append(window.square().expand(last - first, -1))
        segments, energy = (torch.cat(x, dim=-2) if len(x) > 1 else x[0] for x in (pieces, energies))
        energy = energy[None]
        if frames.between:
            spread = frames.interpolation(segments)
            segments, energy = (
                functional.conv_transpose1d(x, spread, groups=frames.number) for x in (segments, energy)
            )
            frames = frames.widened()
        y, energy = overlap_add(segments, frames, length), overlap_add(energy, frames, length)
        y = y / energy.clamp(min=NO_ENERGY)
        if self.normalized:
            y = y * float(self.n_fft) ** 0.5
        return y.reshape(*z.shape[:-2], length)

    @torch.compiler.assume_constant_result
    def _plan(self, count: int, rate: float, each: bool) -> tuple[Frames, int]:
        """Where `count` frames lie, and the length of the signal they came from."""
        samples = (count - 1) * self.hop_length + self.n_fft - 2 * self._padding
        return self._frames(count, rate, each), round(samples * self._ratio(rate))


def plan_of(frames: Frames, like: Tensor) -> Plan:
    """The transform of frames whose period is no whole number of samples."""
    return fractional_plan(frames.period, frames.taps, frames.alive, like.dtype, str(like.device))


def frames_at_a_time(count: int, like: Tensor) -> list[tuple[int, int]]:
    """First and last frame of each piece of the work. All at once where starting a kernel costs more than the cache gives, and where
    a graph is made, which would keep their number.
    """
    if like.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return [(0, count)]
    step = max(1, CPU_FRAMES // max(1, len(like)))
    return [(first, min(first + step, count)) for first in range(0, count, step)]


def overlap_add(segments: Tensor, frames: Frames, length: int) -> Tensor:
    """Segments (batch, frames, taps) added where they lie in a signal: (batch, length)."""
    first, rows, taps = frames.starts[0], len(frames.starts), frames.taps
    step = frames.step or taps
    y = segments.new_zeros(len(segments), max(length - first, frames.last_start() - first + taps) + step)
    # frames with the same delay are a whole number of samples apart: strided slices (which bloat a compiled graph)
    if rows <= MAX_SLICES and not torch.compiler.is_compiling():
        for j, start in enumerate(frames.starts):
            same_delay = segments[:, j::rows]
            for begin in range(0, taps, step):
                piece = same_delay[..., begin : begin + step]
                target = y[:, start - first + begin :][:, : piece.shape[1] * step].unflatten(-1, (-1, step))
                target[..., : piece.shape[-1]].add_(piece)
    else:
        index = (frames.all_starts(y.device) - first)[:, None] + torch.arange(taps, device=y.device)
        y = y.index_add(-1, index.flatten(), segments.flatten(1))
    return y[:, -first:][:, :length]
