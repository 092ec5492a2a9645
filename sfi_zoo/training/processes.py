"""How the processes of a run were started: what launchers leave in the environment.

`accelerate launch --multi_gpu` and torchrun start each process with RANK, LOCAL_RANK and WORLD_SIZE, on a CPU too. Without a GPU
`accelerate launch --num_processes N` starts one process whatever N is, and leaves it nothing but the address at which the others
would meet: then we refuse, in place of a run that is N times longer than was asked for.
"""

import os
from collections.abc import Mapping

import torch

from sfi_zoo.errors import InputError

RANKS = ("RANK", "LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "WORLD_SIZE")
LAUNCH = "accelerate launch --multi_gpu --num_processes N -m sfi_zoo.cli ..."


def on_cpu(device: str | None) -> bool:
    """Whether to train on a CPU: it was asked for, or no device was named and there is no accelerator.

    Accelerate has to be told: left to itself it takes several processes without a GPU for as many runs of one process.
    """
    return device == "cpu" or (device is None and not torch.accelerator.is_available())


def check_launch(environment: Mapping[str, str] = os.environ) -> None:
    """Fails where several processes were asked for and one was started.

    Raises:
        InputError: so it is.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment
    if launched and not any(name in environment for name in RANKS):
        raise InputError(
            "accelerate launch was asked for several processes and started one, as it does on a CPU without --multi_gpu. Take "
            + LAUNCH
        )
