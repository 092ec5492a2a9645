"""asteroid's Conv-TasNet from an ONNX export of it: the weights by name, the settings from shapes and operations.

PReLUs have names of numbers there, and belong to their nodes, which have the names of modules. What the network does not use is left out:
the residual convolution of the last block.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers import asteroid_convtasnet, asteroid_filterbanks
from sfi_zoo.importers.onnx_file import Graph, Node
from sfi_zoo.importers.settings import Given
from sfi_zoo.models.conv_tasnet import ConvTasNet

ENCODER, DECODER = "encoder.filterbank._filters", "decoder.filterbank._filters"
ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Softmax": "softmax"}


def is_asteroid(graph: Graph) -> bool:
    """Whether a graph has the weights of an asteroid Conv-TasNet."""
    return {ENCODER, "masker.bottleneck.1.weight", "masker.mask_net.1.weight"} <= set(graph.weights)


def convert(graph: Graph, given: Given) -> ConvTasNet:
    """The model of a graph, in evaluation mode.

    Args:
        graph: of the file.
        given: the sample rate, which no graph has, and names of the sources.

    Raises:
        InputError: something was not given, or operations that asteroid's Conv-TasNet does not have.
    """
    from sfi_zoo.models.weights import filled

    weights = {k: v for k, v in graph.weights.items() if k.startswith(("encoder.", "masker.", "decoder."))}
    weights |= prelus(graph)
    settings = asteroid_convtasnet.convert_config(model_args(graph, weights), given)
    blocks = settings.layers * settings.repeats
    if f"masker.TCN.{blocks - 1}.res_conv.weight" not in weights:
        settings = replace(settings, last_residual=False)
    plain = asteroid_filterbanks.plain_kernels(weights)
    return filled(ConvTasNet, settings, plain, asteroid_convtasnet.file_names)


def prelus(graph: Graph) -> dict[str, Tensor]:
    """Weights of PReLUs by the names of their modules: /masker/mask_net/mask_net.0/PRelu is masker.mask_net.0."""
    found = {}
    for node in graph.nodes:
        if node.kind == "PRelu" and len(node.inputs) == 2 and node.inputs[1] in graph.weights:
            path = node.name.strip("/").split("/")[:-1]
            inner = [a for a, b in zip(path, [*path[1:], ""], strict=True) if not b.startswith(f"{a}.")]
            found[".".join(inner) + ".weight"] = graph.weights[node.inputs[1]].flatten()
    return found


def model_args(graph: Graph, weights: dict[str, Tensor]) -> dict[str, Any]:
    """What asteroid calls the settings.

    Raises:
        InputError: an operation that is missing, or another than in asteroid's Conv-TasNet.
    """
    encoder, decoder = _of(graph, ENCODER), _of(graph, DECODER)
    stride = encoder.ints.get("strides", [0])[0]
    if encoder.kind != "Conv" or decoder.kind != "ConvTranspose" or decoder.ints.get("strides") != [stride]:
        raise InputError("its encoder and decoder are not convolutions of one stride")
    if any(encoder.ints.get("pads", [0])) or any(decoder.ints.get("pads", [0])):
        raise InputError("its encoder or decoder has padding, which asteroid's have not")
    depthwise: list[Node] = []
    while (key := f"masker.TCN.{len(depthwise)}.shared_block.3.weight") in weights:
        depthwise.append(_of(graph, key))
    dilations = [node.ints.get("dilations", [0])[0] for node in depthwise]
    layers = next((i for i, d in enumerate(dilations) if i and d == 1), len(dilations))
    if not dilations or dilations != [2**i for i in range(layers)] * (len(dilations) // layers):
        raise InputError(f"its blocks have dilations {dilations[:9]}, not those of Conv-TasNet")
    kernel = weights["masker.TCN.0.shared_block.3.weight"].shape[-1]
    for node, dilation in zip(depthwise, dilations, strict=True):
        if node.ints.get("pads") != [dilation * (kernel - 1) // 2] * 2:
            raise InputError(
                f"its {node.name} is padded by {node.ints.get('pads')}: a causal network is not read from ONNX"
            )
    means = [node for node in graph.nodes if node.kind == "ReduceMean"]
    if any(sorted(x % 3 for x in node.ints.get("axes", [])) != [1, 2] for node in means):
        raise InputError("its norms are not global (gLN): others are not read from ONNX")
    features = weights[ENCODER].shape[0]
    skip = weights.get("masker.TCN.0.skip_conv.weight")
    return {
        "n_filters": features,
        "kernel_size": weights[ENCODER].shape[-1],
        "stride": stride,
        "bn_chan": weights["masker.bottleneck.1.weight"].shape[0],
        "hid_chan": weights["masker.TCN.0.shared_block.0.weight"].shape[0],
        "skip_chan": 0 if skip is None else skip.shape[0],
        "conv_kernel_size": kernel,
        "n_blocks": layers,
        "n_repeats": len(dilations) // layers,
        "n_src": weights["masker.mask_net.1.weight"].shape[0] // features,
        "norm_type": "gLN",
        "mask_act": _mask(graph),
        "encoder_activation": _latent(graph, encoder),
    }


def _of(graph: Graph, weight: str) -> Node:
    """The node that a weight goes into."""
    for node in graph.nodes:
        if weight in node.inputs:
            return node
    raise InputError(f"no operation has its {weight}")


def _after(graph: Graph, node: Node) -> list[Node]:
    return [other for other in graph.nodes if set(node.outputs) & set(other.inputs)]


def _mask(graph: Graph) -> str:
    """The activation after the last convolution of the masker, which a Reshape follows."""
    node = _of(graph, "masker.mask_net.1.weight")
    reached = _after(graph, node)
    reached += [after for other in reached if other.kind == "Reshape" for after in _after(graph, other)]
    found = [ACTIVATIONS[other.kind] for other in reached if other.kind in ACTIVATIONS]
    known = {*ACTIVATIONS, "Reshape", "Mul", "Shape"}
    if other := [other.kind for other in reached if other.kind not in known]:
        raise InputError(f"its masks are made by {other[0]}; known: {', '.join(ACTIVATIONS)}")
    return found[0] if found else "linear"


def _latent(graph: Graph, encoder: Node) -> str:
    """Whether a rectifier follows the encoder."""
    return "relu" if any(node.kind == "Relu" for node in _after(graph, encoder)) else "linear"
