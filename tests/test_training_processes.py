"""Several processes: what launchers leave behind, who is told of it, and who draws the bar."""

import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.progress_bar import ProgressBar
from sfi_zoo.training.processes import check_launch, on_cpu

LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no"}
MEETING = LAUNCHED | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_one_process_where_several_were_asked_for_is_refused():
    with pytest.raises(InputError, match="--multi_gpu --num_processes N"):
        check_launch(MEETING)


@pytest.mark.parametrize("ranks", [{"RANK": "0", "WORLD_SIZE": "2"}, {"OMPI_COMM_WORLD_SIZE": "2"}])
@pytest.mark.parametrize("environment", [{}, LAUNCHED, MEETING])
def test_other_ways_to_start_are_let_pass(environment: dict[str, str], ranks: dict[str, str]):
    check_launch(environment | ranks)
    check_launch(LAUNCHED)
    check_launch({"MASTER_ADDR": "127.0.0.1"})  # of another launcher


def test_accelerate_leaves_what_is_looked_for():
    """The launcher's own function, so that another version that leaves something else is noticed."""
    launch = pytest.importorskip("accelerate.commands.launch")
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    arguments = launch.launch_command_parser().parse_args(["--cpu", "--num_processes", "2", "script.py"])
    arguments, _, _ = launch._validate_launch_command(arguments)
    _, environment = prepare_simple_launcher_cmd_env(arguments)
    environment = {k: v for k, v in environment.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    with pytest.raises(InputError, match="started one"):
        check_launch(environment)


def test_without_an_accelerator_training_is_on_the_cpu(monkeypatch: pytest.MonkeyPatch):
    for there in (True, False):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        assert on_cpu("cpu") and not on_cpu("cuda")
        assert on_cpu(None) is not there


@pytest.mark.parametrize(("rank", "draws"), [("0", True), ("1", False), (None, True)])
def test_the_first_process_draws_the_bar(rank, draws, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with ProgressBar("songs") as bar:
        bar.update(1, 2)
    assert ("songs" in capsys.readouterr().err) is draws
