"""Tensors in a checkpoint that are no plain values on a CPU: named with the way out, or read where they can be."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.safe_unpickle import read_checkpoint

STATE = load_file(Path(__file__).parent / "golden" / "openunmix.state.safetensors")
WEIGHT = torch.arange(12.0).reshape(3, 4)

ODD = {
    "quantized": (torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8), "is quantized; .*dequantize"),
    "quantized by channel": (
        torch.quantize_per_channel(WEIGHT, torch.ones(3), torch.zeros(3, dtype=torch.long), 0, torch.quint8),
        "is quantized; .*dequantize",
    ),
    "sparse": (WEIGHT.to_sparse(), r"is sparse; save x\.to_dense\(\)"),
    "sparse rows": (WEIGHT.to_sparse_csr(), r"is sparse; save x\.to_dense\(\)"),
    "meta": (torch.empty(3, device="meta"), 'is on the device "meta" and has no values; load weights'),
    "float8": (WEIGHT.to(torch.float8_e4m3fn), r".*float8.*save x\.float\(\)"),
    "negated": (torch._neg_view(WEIGHT), r"is a negated or conjugated view; save x\.resolve_neg"),
    "nested": (torch.nested.nested_tensor([WEIGHT, WEIGHT]), "is nested; save plain"),
}


class Moved:
    """Pickles as a tensor of a device of another vendor does: a function, and what it is made from."""

    def __init__(self, function: str, tensor: Tensor, numpy: bool) -> None:
        made = tensor.numpy() if numpy else tensor
        self.call = getattr(torch._utils, function), (made, torch.float32, "hpu:0", False)

    def __reduce__(self):
        return self.call


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_a_weight_that_is_not_read_is_named_with_the_way_out(
    kind: str, wrapped: bool, tmp_path: Path
) -> None:
    tensor, reason = ODD[kind]
    state = {"plain": WEIGHT, "layer.odd": tensor}
    path = saved(tmp_path, {"state_dict": state} if wrapped else state)
    with pytest.raises(
        InputError, match=rf"model\.ckpt: refused, its tensor 'layer\.odd' {reason}"
    ) as caught:
        import_checkpoint(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ODD)
def test_what_lies_beside_the_weights_is_left_out(kind: str, tmp_path: Path) -> None:
    """The state of an optimizer, say."""
    content = read_checkpoint(
        saved(tmp_path, {"state_dict": {"a": WEIGHT}, "optimizer": {"b": ODD[kind][0]}})
    )
    assert torch.equal(content["state_dict"]["a"], WEIGHT)


@pytest.mark.parametrize(
    ("function", "numpy"),
    [("_rebuild_device_tensor_from_cpu_tensor", False), ("_rebuild_device_tensor_from_numpy", True)],
)
def test_tensors_that_other_devices_keep_as_cpu_tensors_are_read(
    function: str, numpy: bool, tmp_path: Path
) -> None:
    content = read_checkpoint(saved(tmp_path, {"state_dict": {"a": Moved(function, WEIGHT, numpy)}}))
    assert torch.equal(content["state_dict"]["a"], WEIGHT)


@pytest.mark.parametrize("device", ["cuda:3", "mps:0", "xpu:1", "npu:0", "privateuseone:0"])
def test_a_model_saved_on_a_device_that_is_not_here_is_the_model(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(storage: object) -> str:
        return device

    reference = load(
        import_checkpoint(saved(tmp_path, STATE), tmp_path / "a", sample_rate=44100)
    ).state_dict()
    monkeypatch.setattr("torch.serialization.location_tag", place)
    path = saved(tmp_path, STATE)
    assert device.encode() in path.read_bytes()
    moved = load(import_checkpoint(path, tmp_path / "b", sample_rate=44100)).state_dict()
    assert all(torch.equal(value, moved[key]) for key, value in reference.items())
