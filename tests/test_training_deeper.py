"""A deeper network begins as the one that it starts from."""

import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.training.start import take_network
from tests.tiny_separators import tiny


@pytest.mark.parametrize("settings", [{}, {"skip": 4}, {"skip": 4, "last_residual": False}], ids=str)
@pytest.mark.parametrize("deeper", [{"repeats": 3}, {"layers": 4}], ids=str)
def test_a_deeper_network_computes_what_its_start_does_and_learns(settings, deeper):
    trained = tiny("convtasnet", **settings)
    model = tiny("convtasnet", **settings | deeper)
    blocks = [sum(".depthwise.weight" in name for name in m.state_dict()) for m in (trained, model)]
    assert blocks[1] > blocks[0]
    take_network(model, trained)
    for part in ("encoder", "decoder"):
        getattr(model, part).load_state_dict(getattr(trained, part).state_dict())
    x = torch.randn(1, 1, 9000)
    torch.testing.assert_close(model(x), trained(x))
    model(x).square().sum().backward()
    grown = [p.grad for name, p in model.named_parameters() if f"blocks.{blocks[0]}.residual.weight" in name]
    grown += [p.grad for name, p in model.named_parameters() if f"blocks.{blocks[0]}.skip.weight" in name]
    assert grown and any(g is not None and g.abs().max() > 0 for g in grown)


@pytest.mark.parametrize(
    ("name", "deeper"),
    [("sudormrf", {"blocks": 3}), ("dualpath", {"pairs": 2}), ("bsrnn", {"layers": 2})],
    ids=str,
)
def test_deeper_networks_of_other_blocks_are_refused(name, deeper):
    with pytest.raises(InputError, match="another network"):
        take_network(tiny(name, **deeper), tiny(name))


def test_a_wider_or_shallower_network_is_refused():
    for settings in ({"hidden": 20}, {"bottleneck": 20}):
        with pytest.raises(InputError, match="another network"):
            take_network(tiny("convtasnet", **settings), tiny("convtasnet"))
    with pytest.raises(InputError, match="another network"):
        take_network(tiny("convtasnet"), tiny("convtasnet", repeats=3))
    with pytest.raises(
        InputError, match=r"other dilations: .*blocks\.2"
    ):  # the third block would have 4, not 1
        take_network(tiny("convtasnet", layers=3, repeats=2), tiny("convtasnet", layers=2, repeats=2))
