"""A large checkpoint is imported, and loaded, without twice its size in memory, by the account of the operating system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from sfi_zoo.importers.msst import convert_config, file_names
from sfi_zoo.importers.settings import Given
from sfi_zoo.models.bs_roformer import BSRoFormer
from sfi_zoo.models.parts.limits import outline
from sfi_zoo.models.weights import filled

HERE = Path(__file__).parent
STATUS = Path("/proc/self/status")
MEGABYTE = 2**20
BESIDE = 160 * MEGABYTE  # what may be taken beside the weights, however large they are
SETTINGS = {
    "audio": {"sample_rate": 44100},
    "training": {"instruments": ["vocals"]},
    "model": {"dim": 384, "depth": 10, "stereo": True, "time_transformer_depth": 1, "freq_transformer_depth": 1, "stft_hop_length": 441},
}  # fmt: skip
MEASURED = f"""
import sys
from pathlib import Path
from sfi_zoo.hub import import_checkpoint, load

def status(key):
    return 1024 * int(Path("{STATUS}").read_text().split(key + ":")[1].split()[0])

here, folder = Path(sys.argv[1]), Path(sys.argv[2])
load(import_checkpoint(here / "msst_bs_two.pt", folder / "small", config=here / "msst_bs_two.yaml"))  # what the packages take
for step in (lambda: import_checkpoint(folder / "model.ckpt", folder / "out"), lambda: load(folder / "out")):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is the present size
    before = status("VmRSS")
    step()
    print(status("VmHWM") - before)
"""


def can_measure() -> bool:
    return STATUS.exists() and os.access("/proc/self/clear_refs", os.W_OK)


@pytest.mark.skipif(not can_measure(), reason="this system has no account of peaks that can be set back")
def test_a_checkpoint_takes_its_size_once(tmp_path: Path) -> None:
    config = convert_config(SETTINGS, {}, Given())
    planned = outline(BSRoFormer, config)
    names = file_names(planned, config, False)
    state = {names[key]: torch.zeros(value.shape) for key, value in planned.state_dict().items()}
    torch.save(state, tmp_path / "model.ckpt")
    (tmp_path / "model.yaml").write_text(yaml.dump(SETTINGS))
    size = (tmp_path / "model.ckpt").stat().st_size
    assert size > 2 * BESIDE
    call = [sys.executable, "-c", MEASURED, str(HERE / "golden"), str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    for peak in map(int, done.stdout.split()):
        assert peak < size + BESIDE, f"{peak / MEGABYTE:.0f} MB of {size / MEGABYTE:.0f} MB"


def test_weights_that_share_memory_in_a_file_do_not_share_it_in_the_model() -> None:
    config = BSRoFormer.config_class(sources=("a",), width=8, heads=2, layers=1, mask_hidden=8)
    planned = outline(BSRoFormer, config)
    flat = torch.ones(10**6)
    state = {key: flat[: value.numel()].view(value.shape) for key, value in planned.state_dict().items()}
    model = filled(BSRoFormer, config, state)
    first, second = list(model.parameters())[:2]
    with torch.no_grad():
        first.zero_()
    assert bool((second == 1).all()) and bool((flat == 1).all())
    assert all(x.untyped_storage().nbytes() == x.nbytes for x in model.parameters())


def test_half_precision_becomes_that_of_the_model() -> None:
    config = BSRoFormer.config_class(sources=("a",), width=8, heads=2, layers=1, mask_hidden=8)
    planned = outline(BSRoFormer, config)
    model = filled(
        BSRoFormer, config, {k: torch.ones(v.shape).half() for k, v in planned.state_dict().items()}
    )
    assert {x.dtype for x in model.parameters()} == {torch.float32}
    assert all(x.requires_grad for x in model.parameters())
    assert all(x.device.type == "cpu" for x in (*model.parameters(), *model.buffers()))
