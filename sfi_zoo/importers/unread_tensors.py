"""Tensors of a pickle that are no plain values: each is named with the way out, where it is a weight; elsewhere it is left out.

Those of accelerators that pickle a CPU tensor beside the name of their device are read.
"""

from collections.abc import Callable
from typing import Any

import torch

from sfi_zoo.errors import InputError

MODULE = "torch._utils"


class Unread:
    """A tensor that is not read.

    Args:
        reason: what it is, and what to save in its place.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __setstate__(self, state: Any) -> None:
        """Refuses to be altered."""
        raise InputError("it changes a tensor")


def _unread(reason: str) -> Callable[..., Any]:
    return lambda *_: Unread(reason)


def _from_cpu(data: Any = None, *_: Any) -> Any:
    """A tensor of an accelerator: its values, as they were on the CPU."""
    return data


def _nothing(*_: Any) -> None:
    """A size, a layout, a device: not needed."""


REASONS = {
    "_rebuild_qtensor": "is quantized; import the weights from before that, or save x.dequantize() in its place",
    "_rebuild_sparse_tensor": "is sparse; save x.to_dense() in its place",
    "_rebuild_sparse_csr_tensor": "is sparse; save x.to_dense() in its place",
    "_rebuild_nested_tensor": "is nested; save plain tensors in its place",
    "_rebuild_meta_tensor_no_storage": 'is on the device "meta" and has no values; load weights into the model, then save it again',
    "_rebuild_tensor_v3": "is of a type that few operations know (float8 or uint16, say); save x.float() in its place",
}
VIEW = "is a negated or conjugated view; save x.resolve_neg().resolve_conj().clone() in its place"
FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    **{(MODULE, name): _unread(reason) for name, reason in REASONS.items()},
    **{
        (MODULE, name): _from_cpu
        for name in (
            "_rebuild_device_tensor_from_cpu_tensor",
            "_rebuild_device_tensor_from_numpy",
            "_rebuild_xla_tensor",
            "_rebuild_parameter_with_state",
        )
    },
    **{
        (module, name): _nothing
        for module, name in (("torch", "Size"), ("torch", "device"), ("torch.serialization", "_get_layout"))
    },
}
_SCHEMES = (
    "per_tensor_affine",
    "per_channel_affine",
    "per_tensor_symmetric",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)
# types and schemes that such tensors mention; nobody calls them here
MENTIONED = {("torch", name) for name in _SCHEMES} | {
    ("torch", name) for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)
}
STORAGES = {
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8,
    "QInt32Storage": torch.qint32,
    "QUInt4x2Storage": torch.quint4x2,
    "QUInt2x4Storage": torch.quint2x4,
}


def is_view(metadata: Any) -> bool:
    """Whether what a pickle says of a tensor makes its values others than those stored."""
    return isinstance(metadata, dict) and any(bool(metadata.get(key)) for key in ("conj", "neg"))
