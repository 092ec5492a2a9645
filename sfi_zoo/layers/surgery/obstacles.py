"""Models and layers that cannot be converted, and what to do about it."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import SampleRateAware


def check_model(model: Any) -> None:
    """Refuses what no copy of a model can be converted of.

    Raises:
        InputError: no module, wrapped for several devices, compiled, traced, scripted, quantised, on several devices, or with SFI layers.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        raise InputError(
            f"make_sfi takes an nn.Module, got {name}; put what you call into the forward of one"
        )
    if any(isinstance(module, SampleRateAware) for module in model.modules()):
        raise InputError(f"{name} holds SFI layers already; use set_sample_rate")
    for path, module in model.named_modules():
        reason = _form(module)
        if reason:
            raise InputError(f"{f'layer {path!r} of ' if path else ''}{name} {reason}")
    devices = sorted({str(x.device) for x in [*model.parameters(), *model.buffers()]})
    if len(devices) > 1:
        raise InputError(
            f"{name} lies on several devices ({', '.join(devices)}); move it to one, convert it, and spread it out again"
        )


def _form(module: nn.Module) -> str | None:
    """Why the calls of a module cannot be followed, and the way out."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return f"is wrapped in {type(module).__name__}; convert its .module and wrap the result"
    if hasattr(module, "_orig_mod") and "_dynamo" in type(module).__module__:
        return "is compiled; convert what was compiled, its ._orig_mod"
    if isinstance(module, torch.jit.ScriptModule):
        return "is traced or scripted, so its calls cannot be seen; convert the model before torch.jit"
    kind = type(module).__module__
    if "quantized" in kind or any("qint" in str(x.dtype) for x in module.buffers(recurse=False)):
        return f"is quantised ({type(module).__name__}); convert the model before it is quantised"
    return None


def obstacle(module: nn.Module) -> str | None:
    """Why a module has no SFI twin, and what to do; None if it has one."""
    if not isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
        return "only Conv1d, ConvTranspose1d and STFT modules are"
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        return "it is lazy; run the model once, so that its size is known"
    plain = nn.Conv1d if isinstance(module, nn.Conv1d) else nn.ConvTranspose1d
    own = type(module).forward is not plain.forward or type(module)._conv_forward is not plain._conv_forward
    hooked = bool(module._forward_pre_hooks or module._forward_hooks)
    reasons = {
        "it is parametrized; torch.nn.utils.parametrize.remove_parametrizations first": is_parametrized(
            module
        ),
        "it has hooks; remove them first": hooked,
        "its class computes something of its own": own,
        "its weights are complex": module.weight.is_complex(),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
