"""Designed weights, computed once per sampling frequency and never stale."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

MAX_BYTES = 64 * 2**20  # in each layer


class _Reattach(torch.autograd.Function):
    """Gives a cached design its gradient back: the design is repeated in backward, only if backward comes."""

    @staticmethod
    def forward(ctx: Any, design: Callable[[], Tensor], value: Tensor, *parameters: Tensor) -> Tensor:
        ctx.design, ctx.parameters = design, parameters
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            weights = ctx.design()
        wanted = [p for p in ctx.parameters if p.requires_grad]
        grads = iter(torch.autograd.grad(weights, wanted, grad, allow_unused=True))
        return (None, None, *(next(grads) if p.requires_grad else None for p in ctx.parameters))


class DesignCache:
    """Holds designed weights by key and forgets them when what they were designed from changes.

    Parameters and buffers are compared by value, dtype and device (a version counter misses writes through `.data`): they
    are few, so that costs microseconds. Entries live outside the state dict and do not survive pickling or copying.

    Args:
        max_bytes: of all entries together; the one that was used least recently leaves first, the newest always stays.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._snapshot: list[Tensor] = []
        self._entries: OrderedDict[Hashable, Tensor] = OrderedDict()

    def get(self, source: nn.Module, key: Hashable, design: Callable[[], Tensor]) -> Tensor:
        """`design()`, from the cache where nothing in `source` has changed; differentiable either way."""
        state = [*source.parameters(), *source.buffers()]
        if cannot_be_compared(state):
            return design()
        if not self._is_current(state):
            self._snapshot = [x.detach().clone() for x in state]
            self._entries.clear()
        if key not in self._entries:
            # also usable in training what was designed in inference
            with torch.inference_mode(False), torch.no_grad():
                self._entries[key] = design()
            while len(self._entries) > 1 and self.held_bytes() > self.max_bytes:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        value = self._entries[key]
        parameters = [p for p in source.parameters() if p.requires_grad]
        if torch.is_grad_enabled() and parameters:
            return _Reattach.apply(design, value, *parameters)
        return value

    def held_bytes(self) -> int:
        """The bytes that all entries take."""
        return sum(x.untyped_storage().nbytes() for x in self._entries.values())

    def clear(self) -> None:
        """Forget everything."""
        self._snapshot, self._entries = [], OrderedDict()

    def _is_current(self, state: list[Tensor]) -> bool:
        return len(state) == len(self._snapshot) and all(
            a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
            for a, b in zip(state, self._snapshot, strict=True)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state.get("max_bytes", MAX_BYTES))  # type: ignore[misc]


def cannot_be_compared(state: list[Tensor]) -> bool:
    """Tensors without data, within a function transform, or with a forward-mode tangent."""
    return torch._C._are_functorch_transforms_active() or any(
        x.is_meta or forward_ad.unpack_dual(x).tangent is not None for x in state
    )
