"""Latent and masks of a foreign network, seen from outside while it runs: what LEEs look at."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.audio.resample import resampled_length
from sfi_zoo.errors import InputError
from sfi_zoo.layers import SFISTFT, at_sample_rate
from sfi_zoo.layers.surgery.converted import ConvertedSTFT
from sfi_zoo.layers.surgery.places import ANALYSIS, SYNTHESIS
from sfi_zoo.layers.surgery.redirected import Taps
from sfi_zoo.layers.surgery.taps import Reached, at_its_rate, foreign_model, tapped
from sfi_zoo.layers.surgery.wrapped import ResampledModel
from sfi_zoo.models.base import Latent, LatentGrid
from sfi_zoo.wording import shortened

Estimate = Callable[[nn.Module, Tensor], Tensor]
SECONDS = 0.5  # of the signals that run through a network while what is inside is replaced
SAME = 1e-4  # relative error of the synthesis of masks x latent against the output of the network
MOST_LENGTHS = 64


class MaskedNetwork:
    """A foreign network as encoder, mask predictor and decoder, without a change in its code.

    The network is run, and its inside looked at: z is what the first transform from samples to frames gives, or a named module; the masks
    M(z) are what another module gives when z is put in that place; the decoder is the network's first transform from frames to samples.

    That is a guess at what the network does, so it is checked once: at F0 the synthesis of M(z) z has to be the network's output.

    Args:
        network: of `make_sfi`. Between two resamplings the latent is that of the resampled signal.
        estimate: network and (batch, channels, time) -> (batch, sources, channels, time).
        sources: their number.
        latent: the module that gives z; None for the transform itself.
        masks: the module that gives M(z); or network, z -> M(z).
        sample_rate: F0 in Hz.
        channels: that the network hears together, one item; their features lie behind one another.

    Raises:
        InputError: no module has such a name.
    """

    def __init__(
        self,
        network: nn.Module,
        estimate: Estimate,
        sources: int,
        latent: str | None,
        masks: str | Callable[[nn.Module, Tensor], Tensor],
        sample_rate: float,
        channels: int = 1,
    ) -> None:
        self.network, self.estimate, self.sources = network, estimate, sources
        self.latent, self.masks, self.trained_rate = latent, masks, sample_rate
        self.channels, self.checked = channels, False
        self._lengths: dict[int, int] = {}  # frames: samples at F0 that gave them
        for name in (latent, masks):
            if isinstance(name, str):
                check_module_name(foreign_model(network), name)

    def encode(self, waveform: Tensor, rate: float) -> Latent:
        """(batch, channels, time) at F -> z.

        Raises:
            InputError: no frames were found, or masks x latent are not what the network makes its output of.
        """
        if not self.checked:
            self._check(waveform)
        return self._encode(waveform, rate)

    def predict_masks(self, latent: Latent) -> Tensor:
        """z -> M(z), (items, sources, features, frames).

        Raises:
            InputError: what is named gives another shape.
        """
        items, features, frames = latent.values.shape
        if not isinstance(self.masks, str):
            masks = self.masks(foreign_model(self.network), latent.values)
        else:
            masks = self._named_masks(latent.values)
        wanted = (items, self.sources, features, frames)
        size = items * self.sources * features * frames
        if masks.shape[0] != items or masks.shape[-1] != frames or masks.numel() != size:
            raise InputError(
                f"the masks have the shape {tuple(masks.shape)}, not (items, sources, features, frames) = {wanted}; write masks as a "
                "method, (self, network, latent) -> masks, that brings them there"
            )
        return masks.reshape(wanted)

    def decode(self, latents: Tensor, rate: float, length: int | None) -> Tensor:
        """(items, sources, features, frames) -> (items x channels, sources, time) at F."""
        items, sources, _, frames = latents.shape
        trained_rate = self.trained_rate
        samples = self._lengths.get(frames, round(SECONDS * trained_rate))
        inner, own = (trained_rate, None) if self._wrapped else (rate, length)
        if length is not None and self._wrapped:
            own = max(1, resampled_length(length, rate, trained_rate))
        count = own or round(samples * inner / trained_rate)

        def goes_in(role: str, x: Tensor) -> Tensor:
            if role != SYNTHESIS:
                return x
            return latents.reshape(-1, *[1] * (x.ndim - 3), x.shape[-2], frames)

        def comes_out(role: str, layer: nn.Module, y: Tensor) -> Tensor:
            if role == SYNTHESIS:
                raise Reached(y)
            return y

        x = _noise((1, self.channels, count), latents.real)
        y = self._run(x, inner, Taps(goes_in, comes_out), {}, "no call makes samples of frames")
        y = y.reshape(items, sources, -1, y.shape[-1]).transpose(1, 2).flatten(0, 1)
        if own is not None:
            y = functional.pad(y, (0, own - y.shape[-1]))
        if not self._wrapped or rate == trained_rate:
            return y
        resampler: Any = self.network.resampler
        y = resampler.way_back(y.contiguous(), trained_rate, rate)
        return y if length is None else functional.pad(y, (0, length - y.shape[-1]))

    @property
    def _wrapped(self) -> bool:
        return isinstance(self.network, ResampledModel)

    def _encode(self, waveform: Tensor, rate: float) -> Latent:
        inner, trained_rate = rate, self.trained_rate
        if isinstance(self.network, ResampledModel) and rate != trained_rate:
            waveform, inner = self.network.resampler(waveform, rate, trained_rate), trained_rate
        layers: list[tuple[Any, Tensor]] = []

        def comes_out(role: str, layer: nn.Module, y: Tensor) -> Tensor:
            if role == ANALYSIS:
                layers.append((layer, y))
                if self.latent is None:
                    raise Reached(y)
            return y

        outputs = {} if self.latent is None else {self.latent: _stop}
        missing = (
            "no call makes frames of samples" if self.latent is None else f"{self.latent!r} does not run"
        )
        values = self._run(waveform, inner, Taps(_as_it_is, comes_out), outputs, missing)
        items, frames = waveform.shape[0] * waveform.shape[1] // self.channels, values.shape[-1]
        if len(self._lengths) >= MOST_LENGTHS:
            self._lengths.clear()
        self._lengths[frames] = round(waveform.shape[-1] * trained_rate / inner)
        grid = self._grid(layers, values, items, (inner, rate))
        return Latent(values.reshape(items, len(grid.frequencies), frames), grid)

    def _grid(
        self, layers: list[tuple[Any, Tensor]], values: Tensor, items: int, rates: tuple[float, float]
    ) -> LatentGrid:
        """Where the values are, as the layer says that made frames of samples last, at the rate that it works at, and at F."""
        inner, rate = rates
        features, frames = values.shape[-2:]
        found = [layer for layer, y in layers if y.shape[-2:] == (features, frames)]
        if not found:
            shapes = [tuple(y.shape) for _, y in layers]
            raise InputError(
                f"the latent has the shape {tuple(values.shape)}; no call that makes frames of samples gives so many features and "
                f"frames ({shapes}), so their places are not known; name another module as latent, or write encode"
            )
        layer: Any = found[-1].stft if isinstance(found[-1], ConvertedSTFT) else found[-1]
        is_stft = isinstance(layer, SFISTFT)
        frequencies = layer.frequencies(inner) if is_stft else layer.center_frequencies()
        alive = layer.alive(inner)
        alive = alive & (frequencies < rate / 2) if rate < inner else alive
        groups = max(1, values.shape[:-2].numel() // items)
        places = layer.frame_times(frames, inner), frequencies.repeat(groups), alive.repeat(groups)
        return LatentGrid(*(place.to(values.device) for place in places))

    def _named_masks(self, values: Tensor) -> Tensor:
        items, frames = values.shape[0], values.shape[-1]
        samples = self._lengths.get(frames, round(SECONDS * self.trained_rate))
        put = False

        def instead(y: Tensor) -> Tensor:
            nonlocal put
            put = True
            return values.reshape(*y.shape[:-1], frames)

        def comes_out(role: str, layer: nn.Module, y: Tensor) -> Tensor:
            first = role == ANALYSIS and self.latent is None and not put
            return instead(y) if first else y

        assert isinstance(self.masks, str)
        outputs: dict[str, Callable[[Tensor], Tensor]] = {self.masks: _stop}
        if self.latent is not None:
            outputs[self.latent] = instead
        x = _noise((items, self.channels, samples), values.real)
        taps = Taps(_as_it_is, comes_out)
        return self._run(x, self.trained_rate, taps, outputs, f"{self.masks!r} does not run")

    def _run(
        self,
        waveform: Tensor,
        rate: float,
        taps: Taps,
        outputs: Mapping[str, Callable[[Tensor], Tensor]],
        missing: str,
    ) -> Tensor:
        """Runs the network until what is wanted is reached."""
        network = at_its_rate(self.network) if isinstance(self.network, ResampledModel) else self.network
        try:
            with tapped(network, taps, outputs), at_sample_rate(network, rate):
                self.estimate(network, waveform)
        except Reached as reached:
            return reached.value
        raise InputError(
            f"when {type(foreign_model(self.network)).__name__} runs, {missing}; so it has no masks that LEEs can look at"
        )

    def _check(self, waveform: Tensor) -> None:
        """Whether the synthesis of masks x latent is what the network gives.

        Raises:
            InputError: it is not, with the error in dB.
        """
        modes = [(m, m.training) for m in self.network.modules()]
        self.network.eval()
        rate = self.trained_rate
        x = _noise((1, waveform.shape[1], round(SECONDS * rate)), waveform)
        try:
            with torch.no_grad():
                with at_sample_rate(self.network, rate):
                    expected = self.estimate(self.network, x)
                latent = self._encode(x, rate)
                masked = self.predict_masks(latent) * latent.values[:, None]
                y = self.decode(masked, rate, x.shape[-1])
        finally:
            for module, training in modes:
                module.training = training
        y = y.unflatten(0, (1, -1)).transpose(1, 2)
        error = float((y - expected[..., : y.shape[-1]]).norm() / expected.norm())
        if not error <= SAME:
            raise InputError(
                f"masks times latent, decoded, differ from what {type(foreign_model(self.network)).__name__} gives by "
                f"{error:.1e} of it: latent = {self.latent!r} and masks = {_named(self.masks)} are not what it multiplies, or more "
                "is done behind the decoder"
            )
        self.checked = True


def check_module_name(model: nn.Module, name: str) -> None:
    """Refuses a name that is no module of a model.

    Raises:
        InputError: so it is, with names that are.
    """
    known = [n for n, _ in model.named_modules() if n]
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3) or known
    raise InputError(
        f"{type(model).__name__} has no module {name!r}; did you mean one of: {shortened(near)}?"
    )


def _named(masks: Any) -> str:
    return repr(masks) if isinstance(masks, str) else "your method"


def _stop(y: Tensor) -> Tensor:
    raise Reached(y)


def _as_it_is(role: str, x: Tensor) -> Tensor:
    return x


def _noise(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """White noise, always the same."""
    noise = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise.to(like.detach())
