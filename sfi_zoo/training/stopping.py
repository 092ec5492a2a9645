"""SIGINT and SIGTERM during training: finish the step, leave a checkpoint, then die of the signal as asked."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any

from sfi_zoo.interruption import in_main_thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """While entered, the first of the signals is noted; a second one acts at once.

    Attributes:
        asked: whether one came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked, self._signal = True, number
        signal.signal(number, self._before[number])

    def __enter__(self) -> "Stopping":
        """Take over the signals, where they can be: in the main thread."""
        if in_main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def go_on(self) -> None:
        """Let the signal that came have its effect, now that everything is saved."""
        if self._signal is not None:
            os.kill(os.getpid(), self._signal)
