"""A worker of the trainer that dies is told where its batch is waited for: nothing is raised in other code, then or later."""

import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sfi_zoo.training.workers import batches

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="needs SIGCHLD")


class Deadly(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 4:
            time.sleep(0.5)  # until the batch before is on its way
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(1)


@pytest.mark.parametrize("earlier", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_dead_worker_raises_in_the_loader_only(earlier: signal.Handlers) -> None:
    outside = signal.signal(signal.SIGCHLD, earlier)
    try:
        found = batches(DataLoader(Deadly(), num_workers=1, prefetch_factor=4))
        next(found)
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
        time.sleep(1.5)  # here the handler of torch would raise
        with pytest.raises(RuntimeError, match="DataLoader worker"):
            list(found)
        assert signal.getsignal(signal.SIGCHLD) == earlier
    finally:
        signal.signal(signal.SIGCHLD, outside)


def test_a_handler_that_was_there_is_there_again_when_the_batches_are_left() -> None:
    def handler(*_: object) -> None:
        pass

    outside = signal.signal(signal.SIGCHLD, handler)
    try:
        found = batches(DataLoader(torch.zeros(8, 1), num_workers=1))
        next(found)
        found.close()  # type: ignore[attr-defined]
        assert signal.getsignal(signal.SIGCHLD) == handler
    finally:
        signal.signal(signal.SIGCHLD, outside)
