"""A separator around a network of anyone's, made independent of the sampling frequency by surgery."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers import at_sample_rate, make_sfi
from sfi_zoo.layers.surgery.taps import foreign_model
from sfi_zoo.models.base import Latent, Separator, check_waveform, to_items
from sfi_zoo.models.foreign_masks import MaskedNetwork
from sfi_zoo.wording import shortened


@dataclass(frozen=True)
class ForeignConfig:
    """What every foreign separator has; add fields of your own by a subclass.

    Attributes:
        sample_rate: F0 in Hz.
        sources: names of the sources, in output order.
    """

    sample_rate: int
    sources: tuple[str, ...] = ("vocals", "accompaniment")


class ForeignSeparator(Separator):
    """A foreign network that separates files, is saved, loaded and published as the zoo's own models are.

    A subclass names its `architecture`, makes the network in `build`, and says in `estimate` how it is called, where that is not
    (items, 1, time) -> (items, sources, time), or with several `channels`
    (batch, channels, time) -> (batch, sources, channels, time). The network is converted by `make_sfi`, or runs between two resamplings.

        >>> @sfi_zoo.register
        ... class Mine(ForeignSeparator):
        ...     architecture = "mine"
        ...     def build(self, config): return Network(len(config.sources))
        >>> model = sfi_zoo.create("mine", sample_rate=16000)
        >>> model.load_foreign(torch.load("trained.pt", weights_only=True))

    LEEs look at masks. Where the network has some, `masks` names the module that gives them, or is a method (network, latent) -> masks;
    `latent` names the module that gives what they are multiplied with, if that is not the transform itself. Both are checked, see
    `MaskedNetwork`. Without `masks` it has no `encode`, `predict_masks` and `decode`, and only what comes out can be compared.

    Args:
        config: the settings.

    Attributes:
        example_inputs: see `make_sfi`; found if None.
        channels: that the network hears together; 1: every channel of a signal is an item of its own.
        masks: the module that gives the masks, (items, sources, features, frames), by its name in `named_modules()`; or a method.
        latent: the module that gives what masks multiply; None for what the first convolution or STFT on the waveform gives.
    """

    config_class = ForeignConfig
    example_inputs: Any = None
    masks: Any = None
    latent: str | None = None
    channels: int = 1

    def __init__(self, config: ForeignConfig) -> None:
        super().__init__()
        self.config = config
        network = self.build(config).eval()
        self._names = [*network.state_dict()]
        self.network = make_sfi(
            network, config.sample_rate, example_inputs=self.example_inputs, fallback="resample"
        )
        self._masked = None
        if self.masks is not None:
            self._masked = MaskedNetwork(
                self.network,
                self.estimate,
                len(config.sources),
                self.latent,
                self.masks,
                config.sample_rate,
                self.channels,
            )

    def build(self, config: Any) -> nn.Module:
        """The foreign network, with whatever weights."""
        raise NotImplementedError

    def estimate(self, network: nn.Module, waveform: Tensor) -> Tensor:
        """How the network is called: (batch, channels, time) -> (batch, sources, channels, time)."""
        if self.channels > 1:
            together: Tensor = network(waveform)
            return together
        y: Tensor = network(to_items(waveform))
        return y.unflatten(0, waveform.shape[:2]).transpose(1, 2)

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """(batch, channels, time) -> what the masks multiply, (items, features, frames).

        Raises:
            InputError: `masks` is not set, or masks x latent are not what the network makes its output of.
        """
        check_waveform(waveform)
        if waveform.shape[1] % self.channels:
            raise InputError(f"this model hears {self.channels} channels together, got {waveform.shape[1]}")
        return self._parts().encode(waveform, self.check_rate(sample_rate))

    def predict_masks(self, latent: Latent) -> Tensor:
        """The masks of a latent, (items, sources, features, frames), see `MaskedNetwork`."""
        return self._parts().predict_masks(latent)

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """(items, sources, features, frames) -> (items x channels, sources, time), see `MaskedNetwork`."""
        return self._parts().decode(latents, self.check_rate(sample_rate), length)

    def _parts(self) -> MaskedNetwork:
        if self._masked is None:
            names = [n for n, _ in foreign_model(self.network).named_children()]
            raise InputError(
                f"{type(self).__name__} names no masks, and LEEs look at masks; set masks = the name of the module that gives them, "
                f"such as: {shortened(names)}"
            )
        return self._masked

    @property
    def frame_period(self) -> None:
        """Not known."""
        return None

    def band_edge(self, sample_rate: float | None = None) -> float:
        """Half of the lower of both rates."""
        return min(self.check_rate(sample_rate), self.config.sample_rate) / 2

    def forward(self, waveform: Tensor, sample_rate: float | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, sources, channels, time), see `Separator.forward`.

        Where the network hears several channels together, one is heard in all of them, and their mean is given.

        Raises:
            InputError: wrong shape, empty signal, a rate out of range, or estimates of another shape.
        """
        check_waveform(waveform)
        if self.channels > 1 and waveform.shape[1] == 1:
            return self(waveform.expand(-1, self.channels, -1), sample_rate).mean(2, keepdim=True)
        with at_sample_rate(self.network, self.check_rate(sample_rate)):
            y = self.estimate(self.network, waveform)
        return self._fitted(y, waveform)

    def _fitted(self, y: Tensor, waveform: Tensor) -> Tensor:
        wanted = (waveform.shape[0], len(self.sources), *waveform.shape[1:])
        if y.shape[:-1] != wanted[:-1]:
            raise InputError(
                f"estimate of {type(self).__name__} gave {tuple(y.shape)}, not (batch, sources, channels, time) = {wanted}"
            )
        return nn.functional.pad(y, (0, wanted[-1] - y.shape[-1]))

    def at_one_rate(self, sample_rate: float, freeze: Callable[[nn.Module, float], nn.Module]) -> nn.Module:
        """What `sfi_zoo.freeze` gives: a module on (batch, channels, time) at one rate, with as many channels as the network hears."""
        copied = copy.copy(self)
        copied._modules = {"network": freeze(self.network, sample_rate)}
        copied._masked = None  # it holds the network that is not frozen
        return FrozenForeign(copied)

    def load_foreign(self, state: dict[str, Tensor]) -> None:
        """Loads weights under the names that the foreign network gives them.

        Raises:
            InputError: a name or a shape that is not the network's.
        """
        own = self.network.state_dict()
        names = dict(zip(self._names, own, strict=True))
        strange = sorted(state.keys() ^ names.keys())
        wrong = [n for n in state.keys() & names.keys() if state[n].shape != own[names[n]].shape]
        if strange or wrong:
            raise InputError(
                f"these weights are not those of {type(self).__name__}: {', '.join([*strange, *wrong][:6])}"
            )
        self.network.load_state_dict({names[n]: value for n, value in state.items()})


class FrozenForeign(nn.Module):
    """A foreign separator at one sampling frequency.

    Args:
        separator: with a frozen network.
    """

    def __init__(self, separator: ForeignSeparator) -> None:
        super().__init__()
        self.network = separator.network
        self._separator = [separator]  # no module of this one: its rates mean nothing any more
        self.train(separator.training)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, channels, time) -> (batch, sources, channels, time)."""
        (separator,) = self._separator
        return separator._fitted(separator.estimate(self.network, waveform), waveform)
