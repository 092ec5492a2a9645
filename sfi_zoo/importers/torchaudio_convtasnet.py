"""Conv-TasNet of torchaudio (`torchaudio.models.ConvTasNet`): state dicts, models and pipeline bundles as models of ours.

A state dict does not say three things: the sample rate, how many blocks make a repeat, and what makes the masks. A model
says the last two, a bundle all of them.
"""

from typing import Any

from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.importers.asteroid_filterbanks import plain_kernels
from sfi_zoo.importers.settings import Given
from sfi_zoo.models.conv_tasnet import ConvTasNet, ConvTasNetConfig

LAYERS, BLOCKS = 8, 24  # torchaudio's default: 3 repeats of 8 blocks
# what torchaudio's pipelines download: the settings are those of `torchaudio.pipelines`
PIPELINE_FILES = {"conv_tasnet_base_libri2mix.pt": Given(sample_rate=8000, layers=8, mask="relu")}
BLOCK = {
    "expand": "conv_layers.0",
    "prelu_1": "conv_layers.1",
    "norm_1": "conv_layers.2",
    "depthwise": "conv_layers.3",
    "prelu_2": "conv_layers.4",
    "norm_2": "conv_layers.5",
    "residual": "res_out",
    "skip": "skip_out",
}
ENDS = {
    "encoder.filters": "encoder",
    "decoder.filters": "decoder",
    "masker.norm_1": "mask_generator.input_norm",
    "masker.bottleneck": "mask_generator.input_conv",
    "masker.prelu_3": "mask_generator.output_prelu",
    "masker.output": "mask_generator.output_conv",
}
SHAPES = {
    "kernels": "encoder.weight",
    "bottleneck": "mask_generator.input_conv.weight",
    "depthwise": "mask_generator.conv_layers.0.conv_layers.3.weight",
    "output": "mask_generator.output_conv.weight",
}


def is_torchaudio(content: Any) -> bool:
    """Whether a file is a state dict of `torchaudio.models.ConvTasNet`."""
    return isinstance(content, dict) and any(str(key).startswith("mask_generator.") for key in content)


def convert(state: dict[str, Tensor], given: Given) -> ConvTasNet:
    """The model that a state dict belongs to, in evaluation mode.

    Args:
        state: the state dict.
        given: `sample_rate` and `mask`, which no state dict says, `layers` where there are not 24 blocks, names of the sources.

    Raises:
        InputError: something was not given, or weights that do not fit; all named.
    """
    from sfi_zoo.models.weights import filled

    return filled(ConvTasNet, convert_config(state, given), plain_kernels(state), file_names)


def from_module(module: nn.Module, sample_rate: int, sources: tuple[str, ...] | None = None) -> ConvTasNet:
    """A `torchaudio.models.ConvTasNet` as a model of ours.

    Args:
        module: the model.
        sample_rate: F0 in Hz, at which it was trained.
        sources: names of the sources.

    Raises:
        InputError: another model.
    """
    generator = getattr(module, "mask_generator", None)
    if generator is None:
        raise InputError(f"{type(module).__name__} is not a torchaudio.models.ConvTasNet")
    dilations = [block.conv_layers[3].dilation[0] for block in generator.conv_layers]
    mask = {"ReLU": "relu", "Sigmoid": "sigmoid"}[type(generator.mask_activate).__name__]
    given = Given(sample_rate, sources, layers=len(set(dilations)), mask=mask)
    return convert(module.state_dict(), given)


def from_bundle(name: str, sources: tuple[str, ...] | None = None) -> ConvTasNet:
    """A pipeline bundle such as CONVTASNET_BASE_LIBRI2MIX, downloaded by torchaudio.

    Raises:
        InputError: torchaudio is not there, has no such bundle, or cannot download it.
    """
    try:
        from torchaudio import pipelines
    except (ImportError, OSError) as error:
        raise InputError(
            f"torchaudio:{name}: torchaudio cannot be imported; pip install -e '.[torchaudio]'"
        ) from error
    known = sorted(x for x in dir(pipelines) if x.startswith("CONVTASNET"))
    if name not in known:
        raise InputError(f"torchaudio:{name}: torchaudio has no such bundle; known: {', '.join(known)}")
    bundle = getattr(pipelines, name)
    try:
        module = bundle.get_model()
    except (OSError, RuntimeError) as error:
        raise InputError(f"torchaudio:{name}: cannot be downloaded ({error})") from None
    return from_module(module, bundle.sample_rate, sources)


def convert_config(state: dict[str, Tensor], given: Given) -> ConvTasNetConfig:
    """Our configuration, from the shapes of a state dict and what the user says.

    Raises:
        InputError: a tensor that the shapes are read from is missing or malformed, or something was not given.
    """
    missing = [name for name in SHAPES.values() if not isinstance(state.get(name), Tensor)]
    if missing:
        raise InputError(f"it misses {', '.join(missing)}")
    flat = [name for name in SHAPES.values() if state[name].ndim != 3]
    if flat:
        raise InputError(
            f"its {', '.join(f'{name} {tuple(state[name].shape)}' for name in flat)} are not 3-D"
        )
    features, _, kernel_size = state[SHAPES["kernels"]].shape
    hidden, _, kernel = state[SHAPES["depthwise"]].shape
    bottleneck, outputs = (state[SHAPES[x]].shape[0] for x in ("bottleneck", "output"))
    if outputs % features or not outputs:
        raise InputError(
            f"its {SHAPES['output']} has {outputs} channels, not a multiple of the {features} features"
        )
    if kernel != 3:
        raise InputError(
            f"its {SHAPES['depthwise']} has kernels of {kernel}; torchaudio's network runs with 3 only"
        )
    numbers = {key.split(".")[2] for key in state if key.startswith("mask_generator.conv_layers.")}
    layers = given.settled(
        "layers",
        LAYERS if given.layers is None and len(numbers) == BLOCKS else None,
        f"N, the blocks per repeat (it has {len(numbers)} blocks)",
    )
    if layers < 1 or len(numbers) % layers:
        raise InputError(f"layers={layers} does not divide its {len(numbers)} blocks")
    mask_hint = "'relu' (torchaudio's conv_tasnet_base and bundles) or 'sigmoid' (ConvTasNet's default)"
    return ConvTasNetConfig(
        sources=given.names(outputs // features),
        sample_rate=given.settled("sample_rate", None, "8000, or what it was trained at"),
        features=features,
        kernel_size=kernel_size,
        stride=kernel_size // 2,
        latent="linear",
        filters="interpolated",
        branches=1,
        bottleneck=bottleneck,
        hidden=hidden,
        kernel=kernel,
        layers=layers,
        repeats=len(numbers) // layers,
        residual_bias=True,
        padding=kernel_size // 2,
        dense_norms=False,
        bias=True,
        last_residual=False,
        mask=given.settled("mask", None, mask_hint),
    )


def file_names(model: ConvTasNet) -> dict[str, str]:
    """What torchaudio calls each of our weights."""
    names = {}
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        if module in ENDS:
            names[key] = f"{ENDS[module]}.{weight}"
        else:
            _, _, number, part = module.split(".")
            names[key] = f"mask_generator.conv_layers.{number}.{BLOCK[part]}.{weight}"
    return names
