"""Sampling-frequency-independent (SFI) convolution and transposed convolution.

Both are drop-ins for `nn.Conv1d` and `nn.ConvTranspose1d`: kernel size, stride and padding are counted in samples of the trained
rate F0 and kept as durations at every other rate F. Frame k sits at

    tau_k = ((L0 - 1) / 2 - padding + k S0) / F0 seconds

whatever F is, so a latent at F and one at F0 can be laid side by side.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sfi_zoo.design import FrameGrid
from sfi_zoo.errors import InputError
from sfi_zoo.layers.designed import DesignedConv


class SFIConv1d(DesignedConv):
    """Convolution with analog filters: one set of parameters, any sampling frequency.

        z_k = sum_n x[n] h(tau_k - n/F) / F   ~   integral x(t) h(tau_k - t) dt

    Frames sit at the same seconds and features have the same level at every rate. A hop that is not a whole number of samples is
    exact: see `FrameGrid`. In evaluation mode the designed weights are cached per rate; the cost is that of `nn.Conv1d`
    with the same numbers in samples at F, for every real F whose hop has at most 32 phases.

    Source: Saito et al., IEEE/ACM TASLP 30:2928, 2022; exact strides and the taper are ours.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: L0, in samples at F0.
        stride: S0, in samples at F0.
        padding: zeros on both sides in samples at F0, or "centered" for (L0 - S0) / 2.
        groups: as in `nn.Conv1d`.
        bias: add a trained constant to each output channel.
        sample_rate: F0 in Hz, the trained rate.
        filters: a family name (see `sfi_zoo.filters.FILTER_FAMILIES`) or a bank of out_channels * in_channels / groups filters.
        filter_options: arguments of the family.
        design: "time" (impulse invariance) or "frequency" (least squares; no aliasing of a filter's upper part).
        flavour: "native", or "reference" to reproduce the published layers.
        taper: fraction of the kernel that the compact taper takes, 0 to 1; not used by "reference".
        frequency_points: grid size of the reference frequency-domain design.
        hilbert: reference only: the second half of the kernels are the discrete Hilbert pairs of the first.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    _transposed = False

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal.

        Args:
            x: (batch, in_channels, time) or (in_channels, time).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted.

        Returns:
            (batch, out_channels, frames) or (out_channels, frames), frames = `num_frames(time, sample_rate)`.

        Raises:
            InputError: wrong number of channels, or a signal shorter than the kernel.
        """
        if x.ndim == 2:
            return self.forward(x[None], sample_rate)[0]
        rate = self._rate(sample_rate)
        if x.ndim != 3 or x.shape[1] != self.in_channels:
            raise InputError(f"input must be (batch, {self.in_channels}, time), got {tuple(x.shape)}")
        frames = self.num_frames(x.shape[-1], rate)
        if frames < 1:
            raise InputError(
                f"{x.shape[-1]} samples at {rate} Hz are shorter than the kernel of {self.duration * 1e3:g} ms less padding"
            )
        grid = self.frame_grid(rate)
        weights, first = self.weights(rate)
        taps = weights.shape[-1]
        left = max(0, -(grid.start(0) + first))
        right = max(0, grid.start(frames - 1) + first + taps - x.shape[-1])
        x = functional.pad(x, (left, right))
        kernels = weights.reshape(len(weights), self.out_channels, self.in_channels // self.groups, taps)
        if grid.interpolated:
            y = self._interpolated(x, kernels, grid, frames, first + left)
        else:
            y = self._phased(x, kernels, grid, frames, first + left)
        return y if self.bias is None else y + self.bias[:, None]

    def _phased(self, x: Tensor, kernels: Tensor, grid: FrameGrid, frames: int, shift: int) -> Tensor:
        """One ordinary strided convolution per phase, interleaved."""
        phases, taps = len(kernels), kernels.shape[-1]
        stride = int(grid.hop * phases)
        outputs = []
        for j in range(min(phases, frames)):
            count = -(-(frames - j) // phases)
            begin = grid.start(j) + shift
            segment = x[..., begin : begin + (count - 1) * stride + taps]
            outputs.append(functional.conv1d(segment, kernels[j], stride=stride, groups=self.groups))
        if phases == 1:
            return outputs[0]
        longest = outputs[0].shape[-1]
        padded = [functional.pad(y, (0, longest - y.shape[-1])) for y in outputs]
        return torch.stack(padded, dim=-1).flatten(-2)[..., :frames]

    def _interpolated(self, x: Tensor, kernels: Tensor, grid: FrameGrid, frames: int, shift: int) -> Tensor:
        """All nodes at every frame's integer position, combined by Lagrange weights in the delay."""
        taps = kernels.shape[-1]
        starts = grid.starts(frames, x.device) + shift
        segments = x.unfold(-1, taps, 1)[:, :, starts]  # (batch, in_channels, frames, taps)
        segments = segments.unflatten(1, (self.groups, -1))
        grouped = kernels.unflatten(1, (self.groups, -1))
        lagrange = grid.lagrange(frames, x.dtype, x.device)
        y = x.new_zeros(x.shape[0], self.groups, self.out_channels // self.groups, frames)
        for node, kernel in enumerate(grouped):
            y = y + torch.einsum("bgifl,goil->bgof", segments, kernel) * lagrange[:, node]
        return y.flatten(1, 2)


class SFIConvTranspose1d(DesignedConv):
    """Transposed convolution with analog filters: synthesis at any sampling frequency.

        y[n] = sum_k z_k g(tau_k - n/F) / F0

    the exact adjoint of `SFIConv1d` with the same filters, times F / F0: the level of the output does not depend on F. Cost and caching
    as there.

    Source: Saito et al., IEEE/ACM TASLP 30:2928, 2022; exact strides and the taper are ours.

    Args: those of `SFIConv1d`; filters: out_channels / groups * in_channels of them.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    _transposed = True

    def forward(self, z: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise a signal.

        Args:
            z: (batch, in_channels, frames) or (in_channels, frames).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted.
            length: samples wanted; by default what `nn.ConvTranspose1d` gives, ((K - 1) S0 - 2 p + L0) F / F0, rounded.

        Returns:
            (batch, out_channels, length) or (out_channels, length).

        Raises:
            InputError: wrong number of channels, or a length that is not positive.
        """
        if z.ndim == 2:
            return self.forward(z[None], sample_rate, length)[0]
        rate = self._rate(sample_rate)
        if z.ndim != 3 or z.shape[1] != self.in_channels:
            raise InputError(f"input must be (batch, {self.in_channels}, frames), got {tuple(z.shape)}")
        frames = z.shape[-1]
        if length is None:
            length = self._default_length(frames, rate)
        if length < 1:
            raise InputError(f"length must be positive, got {length}")
        grid = self.frame_grid(rate)
        weights, first = self.weights(rate)
        taps = weights.shape[-1]
        left = max(0, -(grid.start(0) + first))
        total = max(left + length, left + grid.start(frames - 1) + first + taps)
        kernels = weights.reshape(len(weights), self.in_channels, self.out_channels // self.groups, taps)
        if grid.interpolated:
            y = self._interpolated(z, kernels, grid, first + left, total)
        else:
            y = self._phased(z, kernels, grid, first + left, total)
        y = y[..., left : left + length]
        return y if self.bias is None else y + self.bias[:, None]

    def _default_length(self, frames: int, rate: float) -> int:
        if self.flavour == "reference":
            kernel, stride, padding = self._reference_geometry(rate)
            return (frames - 1) * stride - 2 * padding + kernel
        samples = (frames - 1) * self.stride - 2 * self._padding() + self.kernel_size
        return round(samples * self._ratio(rate))

    def _frames_of(self, z: Tensor, kernel: Tensor) -> Tensor:
        """Each frame's contribution: (batch, in, frames), (in, out / groups, taps) -> (batch, out, taps, frames)."""
        z = z.unflatten(1, (self.groups, -1))
        kernel = kernel.unflatten(0, (self.groups, -1)).flatten(
            2
        )  # (groups, in / groups, out / groups * taps)
        pieces = torch.matmul(kernel.transpose(1, 2), z)  # (batch, groups, out / groups * taps, frames)
        return pieces.reshape(z.shape[0], self.out_channels, -1, z.shape[-1])

    def _phased(self, z: Tensor, kernels: Tensor, grid: FrameGrid, shift: int, total: int) -> Tensor:
        """Overlap-add of every phase at its own whole stride."""
        phases, taps, frames = len(kernels), kernels.shape[-1], z.shape[-1]
        stride = int(grid.hop * phases)
        y = z.new_zeros(z.shape[0], self.out_channels, total)
        for j in range(min(phases, frames)):
            pieces = self._frames_of(z[..., j::phases], kernels[j])
            span = (pieces.shape[-1] - 1) * stride + taps
            added = functional.fold(pieces.flatten(1, 2), (1, span), (1, taps), stride=(1, stride))[:, :, 0]
            begin = grid.start(j) + shift
            y[..., begin : begin + span] += added
        return y

    def _interpolated(self, z: Tensor, kernels: Tensor, grid: FrameGrid, shift: int, total: int) -> Tensor:
        """The adjoint of the interpolated analysis."""
        frames, taps = z.shape[-1], kernels.shape[-1]
        lagrange = grid.lagrange(frames, z.dtype, z.device)
        pieces = self._frames_of(z * lagrange[:, 0], kernels[0])
        for node in range(1, len(kernels)):
            pieces = pieces + self._frames_of(z * lagrange[:, node], kernels[node])
        index = (grid.starts(frames, z.device) + shift) + torch.arange(taps, device=z.device)[:, None]
        y = z.new_zeros(z.shape[0], self.out_channels, total)
        return y.index_add(-1, index.flatten(), pieces.flatten(2))
