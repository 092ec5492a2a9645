"""docs/hub.md does what it says: a user's own network made SFI, scored, pushed in 15 lines, and loaded by a fresh process."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sfi_zoo
from sfi_zoo import models
from tests.hub_fixtures import environment
from tests.hub_recorder import Recorder
from tests.hub_server import Proxy

PAGE = (Path(__file__).parent.parent / "docs" / "hub.md").read_text()
LOAD, NETWORK, PUSH = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
UNTIL_PUSH = PUSH[: PUSH.index("settings =")]


def test_it_is_15_lines() -> None:
    assert len([line for line in PUSH.splitlines() if line.strip()]) <= 15


def test_a_users_own_network_goes_to_a_hub_and_comes_back(
    hub_recorder: Recorder,
    hub_proxy: Proxy,
    hub_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "_REGISTERED", {})
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "own"}
    exec(NETWORK + PUSH, names)
    assert [row["sample_rate"] for row in names["rows"]] == [8000, 16000, 44100]
    x = torch.randn(1, 1, 8000)
    with torch.no_grad():
        torch.testing.assert_close(
            names["model"].eval()(x)[:, :, 0], names["network"](x), rtol=1e-5, atol=1e-6
        )
        want = names["model"].separate(x[0], 44100)

    hub_recorder.into_git(hub_root)
    (tmp_path / "own.py").write_text(NETWORK + UNTIL_PUSH)
    torch.save(x[0], tmp_path / "mixture")
    script = (
        "import torch, sfi_zoo\n"
        "try:\n    sfi_zoo.load('me/own')\nexcept sfi_zoo.InputError as error:\n    print(error)\n"
        "import own, sfi_zoo.cli\n"
        "assert sfi_zoo.cli.main(['info', 'me/own']) == 0\n"
        "torch.save(sfi_zoo.load('me/own').separate(torch.load('mixture'), 44100), 'stems')\n"
    )
    variables = environment(hub_proxy.url, tmp_path / "home", PYTHONPATH=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "unknown architecture 'own'" in done.stdout
    torch.testing.assert_close(torch.load(tmp_path / "stems"), want, rtol=0, atol=1e-6)


def test_loading_by_id_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sfi_zoo, "load", asked.append, raising=False)
    exec(LOAD, {})
    assert asked == ["org/name", "org/name@v1"]
