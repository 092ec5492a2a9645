"""Neural analog filters (NAF): responses that a small network computes from random Fourier features."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sfi_zoo.audio.rates import hertz
from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank, at_least_float32, widest

STATISTICS_POINTS = 640  # the published frequency grid


class _FeatureNetwork(AnalogFilterBank):
    """A multilayer perceptron over random Fourier features of one normalised coordinate.

    Parameters have the published names: `RFF_param` (angular frequencies of the features) and `implicit_filter` (1x1 convolutions,
    each but the last followed by GroupNorm(1) and ReLU).
    """

    def __init__(
        self,
        num_filters: int,
        outputs: int,
        channels: Sequence[int],
        num_features: int,
        feature_bandwidth: float,
        train_features: bool,
    ) -> None:
        super().__init__()
        sizes = {"num_filters": num_filters, "num_features": num_features}
        for name, size in (*sizes.items(), *(("channels", size) for size in channels)):
            if not isinstance(size, int) or size < 1:
                raise InputError(f"{name} must be positive and whole, got {size!r}")
        if not feature_bandwidth > 0:
            raise InputError(
                f"feature_bandwidth must be positive, in cycles per unit of the coordinate; got {feature_bandwidth}"
            )
        self.num_filters = num_filters
        features = torch.randn(num_features) * (2 * math.pi * feature_bandwidth)
        self.RFF_param = nn.Parameter(features, requires_grad=train_features)
        layers: list[nn.Module] = []
        width = 2 * num_features
        for hidden in channels:
            layers += [nn.Conv1d(width, hidden, 1), nn.GroupNorm(1, hidden), nn.ReLU()]
            width = hidden
        layers.append(nn.Conv1d(width, outputs, 1))
        for layer in layers:
            if isinstance(layer, nn.Conv1d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.implicit_filter = nn.Sequential(*layers)
        self.to(at_least_float32(features.dtype))

    def _features(self, x: Tensor) -> Tensor:
        """(M,) coordinates -> (2 R, M) features, in the published order of the variant."""
        raise NotImplementedError

    def _network(self, x: Tensor, grid: Tensor | None = None) -> Tensor:
        """(M,) coordinates -> (outputs, M), in the dtype of `x`.

        GroupNorm(1) takes mean and variance over all channels and all points together. As published these are the points asked for, so
        that a value depends on what else is asked, hence on the sampling frequency. With a `grid` they are the points of that grid, and
        every value is a function of its own coordinate.
        """
        count = len(x) if grid is None else len(grid)
        y = self._features(x if grid is None else torch.cat([grid, x]))
        for layer in self.implicit_filter:
            if isinstance(layer, nn.ReLU):
                y = y.relu()
                continue
            weight, bias = (p.to(y.dtype) for p in layer.parameters())
            if isinstance(layer, nn.GroupNorm):
                variance, mean = torch.var_mean(y[:, :count], correction=0)
                y = (y - mean) * (variance + layer.eps).rsqrt() * weight[:, None] + bias[:, None]
            else:
                y = weight[:, :, 0] @ y + bias[:, None]
        return y if grid is None else y[:, count:]

    def extra_repr(self) -> str:
        """The arguments that are not visible in the parameters."""
        return f"num_filters={self.num_filters}"


class NeuralAnalogFrequency(_FeatureNetwork):
    r"""Neural analog filters in frequency: a network N of the frequency gives the real and the imaginary part.

        H(omega) = N_c(x) + j N_{C + c}(x),  x = omega / (pi F0), 0 <= x <= 1;  H = 0 above F0 / 2

    Nothing above F0 / 2 is ever trained, so nothing is kept there. In the published layers the GroupNorm(1) inside takes its mean and
    variance over all points that are asked together, which makes the response depend on the grid, and so on the sampling frequency.
    Here they are those of the published grid at F0, 640 points on [0, pi F0], whatever is asked: the filter is the published one
    at F0, and the same at every other rate. `reference_response` is the published computation.

    Published parameters load as they are (`RFF_param`, `implicit_filter.*`, `max_ang_freq`).

    Source: Imamura, Nakamura, Yatabe, Saruwatari, APSIPA Trans. Signal Inf. Process. 13(1) e28, 2024.

    Args:
        num_filters: C.
        sample_rate: F0 in Hz, the trained rate; a layer fills it in.
        channels: widths of the hidden layers.
        num_features: R, the number of random frequencies (there are 2 R features).
        feature_bandwidth: standard deviation of the random frequencies at the start, in cycles over 0 ... F0 / 2.
        train_features: whether the random frequencies are trained.

    Raises:
        InputError: an argument that is not positive.
    """

    drops_dead = False
    layer_options: ClassVar[tuple[str, ...]] = ("sample_rate",)

    def __init__(
        self,
        num_filters: int,
        sample_rate: float,
        channels: Sequence[int] = (64, 64),
        num_features: int = 128,
        feature_bandwidth: float = 10.0,
        train_features: bool = True,
    ) -> None:
        super().__init__(
            num_filters, 2 * num_filters, channels, num_features, feature_bandwidth, train_features
        )
        self.max_omega = math.pi * hertz(sample_rate)

    def _features(self, x: Tensor) -> Tensor:
        angles = self.RFF_param.to(x.dtype)[:, None] * x
        return torch.cat([angles.cos(), angles.sin()])

    def _grid(self) -> Tensor:
        """The coordinates on which statistics are taken."""
        return torch.linspace(0, 1, STATISTICS_POINTS, dtype=torch.float64, device=self.RFF_param.device)

    def _below_limit(self, omega: Tensor) -> Tensor:
        """1 up to F0 / 2, then 0. As in the published layer float32 decides, so the point F0 / 2 of a grid is always in."""
        return (omega <= self.max_omega * (1 + torch.finfo(torch.float32).eps)).to(omega.dtype)

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        omega = omega.to(widest(omega, self.RFF_param))
        values = self._network(omega / self.max_omega, self._grid().to(omega.dtype))
        return torch.complex(*(values * self._below_limit(omega)).chunk(2))

    def reference_response(self, omega: Tensor) -> Tensor:
        """The published response: statistics over the asked points; cut at F0 / 2 in evaluation only."""
        omega = omega.to(widest(omega, self.RFF_param))
        values = self._network(omega / self.max_omega)
        return torch.complex(*(values if self.training else values * self._below_limit(omega)).chunk(2))

    def center_frequencies(self) -> Tensor:
        """(C,) Hz: where |H| peaks on the 640 points."""
        with torch.no_grad():
            grid = self._grid()
            peaks = self._network(grid).square().unflatten(0, (2, -1)).sum(0).argmax(dim=1)
            return grid[peaks] * (self.max_omega / (2 * math.pi))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        """Published states hold pi F0 as well; it must be ours."""
        limit = state_dict.pop(prefix + "max_ang_freq", None)
        if limit is not None and not math.isclose(float(limit), self.max_omega, rel_tol=1e-6):
            raise InputError(
                f"these filters were trained up to {float(limit) / (2 * math.pi):g} Hz; "
                f"build the bank with sample_rate={float(limit) / math.pi:g}, not {self.max_omega / math.pi:g}"
            )
        super()._load_from_state_dict(state_dict, prefix, *others)


class NeuralAnalogTime(_FeatureNetwork):
    r"""Neural analog filters in time: a network N of the time gives the kernel at F0; interpolated, it is the filter.

        g_c[n] = F0 N_c(x_n),  x_n = -t_n / t_{L0 - 1},  t_n = (n - (L0 - 1) / 2) / F0,  n = 0 ... L0 - 1
        h_c(t) = sum_n g_c[n] sinc(F0 (t - t_n)),   H_c(omega) = sum_n g_c[n] exp(-j omega t_n) / F0 up to F0 / 2, 0 above

    The sign of x makes taps, which are stored time-reversed, run from N(-1) to N(1): at F0 they are the published ones, in level too.
    Training at F0 sees the network at the x_n only; between them it is what the random features leave there, most of it far above
    F0 / 2. So it is not asked there: at other rates the kernel is interpolated (the published evaluation resamples it), nothing
    aliases, and the statistics of GroupNorm(1), taken over all points asked together, are the same at every rate.

    Source: Imamura, Nakamura, Yatabe, Saruwatari, APSIPA Trans. Signal Inf. Process. 13(1) e28, 2024.

    Args:
        num_filters: C.
        duration: kernel length T = L0 / F0 in seconds; a layer fills it in.
        sample_rate: F0 in Hz, the trained rate; a layer fills it in.
        channels: widths of the hidden layers.
        num_features: R, the number of random frequencies (there are 2 R features).
        feature_bandwidth: standard deviation of the random frequencies at the start, in cycles over T / 2.
        train_features: whether the random frequencies are trained.

    Raises:
        InputError: an argument that is not positive, or fewer than 2 samples in the kernel.
    """

    sampled = True
    drops_dead = False
    layer_options: ClassVar[tuple[str, ...]] = ("duration", "sample_rate")

    def __init__(
        self,
        num_filters: int,
        duration: float,
        sample_rate: float,
        channels: Sequence[int] = (64, 64),
        num_features: int = 128,
        feature_bandwidth: float = 10.0,
        train_features: bool = True,
    ) -> None:
        super().__init__(num_filters, num_filters, channels, num_features, feature_bandwidth, train_features)
        sample_rate = hertz(sample_rate)
        if not duration * sample_rate >= 1.5:
            raise InputError(
                f"the kernel must hold 2 samples or more; got duration {duration} s at sample_rate {sample_rate} Hz"
            )
        self.sample_rate, self.kernel_size = sample_rate, round(duration * sample_rate)
        last = self.implicit_filter[-1]
        assert isinstance(last, nn.Conv1d)
        with torch.no_grad():
            # the usual initial weights give taps of variance 1/6; now white noise leaves with the level it came with
            last.weight.mul_(math.sqrt(6 / self.kernel_size))

    def _features(self, x: Tensor) -> Tensor:
        angles = self.RFF_param.to(x.dtype)[:, None] * x
        return torch.cat([angles.sin(), angles.cos()])

    def _kernel(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """t_n in seconds, (L0,), and g_c[n] / F0, (C, L0)."""
        n = torch.arange(self.kernel_size, dtype=dtype, device=self.RFF_param.device)
        half = (self.kernel_size - 1) / 2
        return (n - half) / self.sample_rate, self._network((half - n) / half)

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t), see the class: (T,) seconds -> (C, T) per second."""
        instants, kernel = self._kernel(widest(t, self.RFF_param))
        return kernel @ torch.sinc(self.sample_rate * (t - instants[:, None])) * self.sample_rate

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        instants, kernel = self._kernel(widest(omega, self.RFF_param))
        angles = omega * instants[:, None]
        below = (omega <= math.pi * self.sample_rate).to(kernel.dtype)
        return torch.complex(kernel @ angles.cos() * below, -(kernel @ angles.sin()) * below)

    def center_frequencies(self) -> Tensor:
        """(C,) Hz: where |H| peaks on a grid sixteen times finer than 1 / T."""
        with torch.no_grad():
            points = 8 * self.kernel_size
            _, kernel = self._kernel(torch.float64)
            peaks = torch.fft.rfft(kernel, n=2 * points).abs().argmax(dim=1)
            return peaks.double() * (self.sample_rate / (2 * points))

    def reference_taps(self, num_taps: int, sample_rate: float) -> Tensor:
        """The published taps before time reversal: N at `num_taps` points from 1 to -1, normalised together."""
        x = torch.linspace(1, -1, num_taps, dtype=torch.float64, device=self.RFF_param.device)
        return self._network(x)
