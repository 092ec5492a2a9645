"""Workers of a DataLoader that die: told where their batch is waited for, and nowhere else.

torch puts a handler of SIGCHLD into the process, which raises in whatever the main thread is doing then, also long after the loader was
used, and in code that knows nothing of it. Without the handler the loader finds out by itself, within five seconds.
"""

import signal
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from sfi_zoo.interruption import in_main_thread
from sfi_zoo.wording import first_line


def batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of a loader; a worker that died is told here.

    Raises:
        RuntimeError: a worker has died.
    """
    handled = in_main_thread() and hasattr(signal, "SIGCHLD")  # Windows has none
    before = signal.getsignal(signal.SIGCHLD) if handled else None
    found = iter(loader)
    if handled:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield from found
    except (ConnectionError, EOFError) as error:  # it died while it was sending
        raise RuntimeError(f"DataLoader worker: {first_line(error)}") from error
    finally:
        del found
        if handled and before is not None:
            signal.signal(signal.SIGCHLD, before)
