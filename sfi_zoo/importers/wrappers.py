"""What training programs put around a state dict: dictionaries that hold it, and prefixes of its names."""

from typing import Any

from torch import Tensor

# where programs keep a state dict in a file, Lightning's and Music-Source-Separation-Training's among them
HOLDERS = ("state_dict", "model_state_dict", "state", "model", "ema_model_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


def is_state(value: Any) -> bool:
    """Whether it is a dictionary of tensors, and not empty."""
    return isinstance(value, dict) and bool(value) and all(isinstance(x, Tensor) for x in value.values())


def state_of(content: Any) -> Any:
    """The state dict in a file's content, without the prefixes of wrappers. Anything else is returned as it is."""
    if isinstance(content, dict) and not is_state(content):
        held = [content[key] for key in HOLDERS if is_state(content.get(key))]
        content = held[0] if held else content
    return without_prefixes(content) if is_state(content) else content


def without_prefixes(state: dict[Any, Tensor]) -> dict[Any, Tensor]:
    """A state dict without the prefixes that `torch.compile`, parallel training and Lightning give to all names."""
    while True:
        prefix = next((x for x in PREFIXES if all(str(key).startswith(x) for key in state)), None)
        if prefix is None:
            return state
        state = {str(key).removeprefix(prefix): value for key, value in state.items()}
