"""The blocks of Conv-TasNet in rows of frames: the values of the blocks one by one, and only where nobody looks between them."""

import pytest
import torch
from torch import Tensor

from sfi_zoo.models.parts import tcn_rows
from sfi_zoo.models.parts.tcn import MaskTCN
from sfi_zoo.models.parts.tcn_rows import run_in_rows, runs_in_rows

SETTINGS = {
    "plain": {},
    "no biases": {"bias": False, "residual_bias": False},
    "no skip outputs": {"skip": 0},
    "more skip channels": {"skip": 9},
    "no last residual": {"last_residual": False},
    "five taps": {"kernel": 5},
    "one tap": {"kernel": 1},
}


def network(**settings: object) -> MaskTCN:
    torch.manual_seed(0)
    sizes = {
        "features": 8,
        "sources": 2,
        "branches": 1,
        "bottleneck": 6,
        "hidden": 12,
        "skip": 6,
        "kernel": 3,
        "layers": 4,
    }
    kinds = {
        "repeats": 2,
        "norm": "global",
        "norm_groups": 1,
        "dense_norms": True,
        "causal": False,
        "mask": "softmax",
    }
    biases = {"bias": True, "residual_bias": True, "last_residual": True}
    tcn = MaskTCN(**sizes | kinds | biases | settings).eval()
    for p in tcn.parameters():
        p.data += 0.3 * torch.rand_like(p)
    return tcn


def latent(frames: int, items: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(items, 6, frames, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("frames", [1, 2, 7, 50, 301])
@pytest.mark.parametrize("in_cache", [1 << 17, 12 * 10])
def test_rows_give_what_the_blocks_give(
    settings: dict[str, object], frames: int, in_cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals shorter than the dilation, pieces that end anywhere."""
    monkeypatch.setattr(tcn_rows, "IN_CACHE", in_cache)
    tcn, x = network(**settings).double(), latent(frames, items=2)
    with torch.no_grad():
        assert runs_in_rows(tcn.blocks, x)
        torch.testing.assert_close(run_in_rows(tcn.blocks, x), tcn._run(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0, 1e3])
def test_in_single_precision_at_every_level(level: float) -> None:
    tcn, x = network(), level * latent(400, dtype=torch.float32)
    with torch.inference_mode():
        y, z = run_in_rows(tcn.blocks, x), tcn._run(x)
    assert (y - z).norm() <= 1e-5 * z.norm()


def test_masks_are_the_same_with_and_without_gradients() -> None:
    tcn = network()
    x = torch.randn(1, 8, 77)
    with torch.no_grad():
        y = tcn(x)
    torch.testing.assert_close(y, tcn(x).detach())
    tcn(x).sum().backward()
    assert tcn.blocks[3].expand.weight.grad.abs().max() > 0


def test_not_where_somebody_looks_between_modules() -> None:
    tcn, x, seen = network(), latent(20, dtype=torch.float32), []
    assert not runs_in_rows(tcn.blocks, x)  # a gradient may be asked for
    with torch.no_grad():
        assert runs_in_rows(tcn.blocks, x)
        with torch.autograd.forward_ad.dual_level():
            assert not runs_in_rows(tcn.blocks, x)
        torch.func.vmap(lambda x: seen.append(runs_in_rows(tcn.blocks, x)) or x)(x[None])
        assert seen == [False]
        with torch.autocast("cpu"):
            assert not runs_in_rows(tcn.blocks, x)
        assert not runs_in_rows(tcn.blocks, x.half()) and not runs_in_rows(tcn.blocks, x.double())
        handle = tcn.blocks[5].norm_2.register_forward_hook(lambda module, args, y: seen.append(y))
        assert not runs_in_rows(tcn.blocks, x)
        tcn(torch.randn(1, 8, 20))
        assert len(seen) == 2
        handle.remove()
        for kind in ("feature", "batch", "frame"):
            assert not runs_in_rows(network(norm=kind).blocks, x)
        assert not runs_in_rows(network(norm_groups=2).blocks, x)
        assert not runs_in_rows(network(branches=2).blocks, x)
