"""Where in a foreign `forward` a call stands: the same name for it at every run, in every copy, after pickling."""

import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

from torch import nn

OWN = __name__.rpartition(".")[0]  # this package: its frames are no part of the foreign model
LIBRARY = OWN.partition(".")[0] + "."


class Site(NamedTuple):
    """A call, by what surrounds it.

    Attributes:
        module: name of the innermost module that is running, as in `named_modules()`.
        function: qualified name of the function that holds the call, with its file's module; "" where the model is one torch layer.
        line: of the call, counted from the first line of the function.
        column: of the call.
    """

    module: str
    function: str
    line: int
    column: int

    def __str__(self) -> str:
        where = f"{self.function}, line {self.line}" if self.function else "the model"
        return f"{where} (module {self.module!r})" if self.module else where


class ModuleNames:
    """Names of the modules of a model by identity; looked up anew where one is not known (a replica has modules of its own)."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names: dict[int, str] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads the names of all modules."""
        self.names = {id(module): name for name, module in self.model.named_modules()}

    def get(self, module: object) -> str | None:
        """The name; None for a module that is no part of the model."""
        return self.names.get(id(module))


def caller(names: ModuleNames) -> Site:
    """The call that is being made, seen from a `TorchFunctionMode`."""
    frame: FrameType | None = sys._getframe(2)
    while (
        frame is not None and frame.f_code.co_name == "__torch_function__"
    ):  # of another mode around this one
        frame = frame.f_back
    module: str | None = None
    own: FrameType | None = None
    while frame is not None:
        package = str(frame.f_globals.get("__name__", ""))
        if package == OWN or package.startswith(OWN + "."):
            break
        if module is None:
            module = _module_of(frame, names)
        if own is None and not (package == "torch" or package.startswith("torch.")):
            own = frame
        if own is not None and module is not None:
            break
        frame = frame.f_back
    if own is None:
        return Site(module or "", "", 0, 0)
    line, column = _position(own.f_code, own.f_lasti, own.f_lineno)
    function = getattr(own.f_code, "co_qualname", own.f_code.co_name)  # Python 3.10 has no qualified name
    return Site(module or "", f"{own.f_globals.get('__name__')}.{function}", line, column)


def _module_of(frame: FrameType, names: ModuleNames) -> str | None:
    instance = frame.f_locals.get("self") if "self" in frame.f_code.co_varnames else _first_local(frame)
    return names.get(instance) if isinstance(instance, nn.Module) else None


def _first_local(frame: FrameType) -> Any:
    """The first argument: `self` under another name."""
    code = frame.f_code
    return frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None


@lru_cache(maxsize=4096)
def _position(code: CodeType, instruction: int, line: int) -> tuple[int, int]:
    """Line, counted from the start of the function, and column of an instruction (0 where Python does not know it)."""
    column = 0
    if hasattr(code, "co_positions"):  # from Python 3.11 on
        found = list(code.co_positions())[instruction // 2]
        line, column = found[0] or line, found[2] or 0
    return line - code.co_firstlineno + 1, column


def called_from_here() -> bool:
    """Whether a call comes straight from a layer of this library, seen from a `TorchFunctionMode`."""
    frame = sys._getframe(2)
    while str(frame.f_globals.get("__name__", "")).startswith("torch.") and frame.f_back is not None:
        frame = frame.f_back
    package = str(frame.f_globals.get("__name__", ""))
    runs_the_model = {f"{OWN}.{name}" for name in ("redirected", "example_inputs", "probe")}
    return package.startswith(LIBRARY) and package not in runs_the_model


def in_checkpoint() -> bool:
    """Whether the call is made inside an activation checkpoint, seen from a `TorchFunctionMode`."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != "torch.utils.checkpoint":
        frame = frame.f_back
    return frame is not None
