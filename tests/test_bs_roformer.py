"""Band-split transformer: rotary embedding and blocks against numpy, its size. What it shares with others is in test_bands.py."""

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.models.bs_roformer import TransformerBlock, rotated

SMALL = {"sources": ("a", "b"), "sample_rate": 16000, "n_fft": 320, "hop_length": 160, "bands": "half"}
SMALL |= {"width": 8, "heads": 2, "mask_hidden": 4, "layers": 1}


def create(**settings):
    torch.manual_seed(0)
    return sfi_zoo.create("bsroformer", **SMALL | settings).eval()


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_network_of_the_paper_has_its_93_4_million_parameters():
    """D = 384, L = 12 pairs of blocks, 62 bands of 1025 bins in two channels, perceptrons four times as wide, one source."""
    width, bins, bands, pairs = 384, 1025, 62, 12
    split = 4 * bins + 4 * bins * width + bands * width
    block = 4 * width**2 + 8 * width**2 + 5 * width + 2 * width
    masks = bands * (width + 1) * 4 * width + (4 * width + 1) * 8 * bins
    model = sfi_zoo.create(
        "bsroformer",
        sources=("vocals",), n_fft=2048, hop_length=441, channels=2, bands="fine", width=384, layers=12, mask_hidden=1536, heads=8,
    )  # fmt: skip
    assert size(model) == split + 2 * pairs * block + masks
    assert round(size(model) / 1e6, 1) == 93.4


def test_the_default_is_small():
    assert 2 * size(sfi_zoo.create("bsroformer")) < 4e6  # bytes of float16


def turned(x):
    """(steps, size): pairs as complex numbers times exp(i p theta_j)."""
    steps, width = x.shape
    theta = 10000.0 ** (-2 * np.arange(width // 2) / width)
    z = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * np.arange(steps)[:, None] * theta)
    return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)


def test_rotary_embedding_turns_pairs_by_their_position():
    x = torch.randn(2, 3, 11, 8, dtype=torch.float64)
    ours = rotated(x).numpy()
    for i in np.ndindex(2, 3):
        assert np.allclose(ours[i], turned(x[i].numpy()), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotary_embedding_is_the_same_without_complex_numbers(dtype, monkeypatch):
    """As compilers have it. Queries and keys are views into a larger tensor."""
    torch.manual_seed(0)
    x = torch.randn(2, 7, 3, 4, 6, dtype=dtype)[:, :, 1].transpose(1, 2).requires_grad_()
    (gradient,) = torch.autograd.grad((y := rotated(x)).square().sum() + y.sum(), x)
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    (other,) = torch.autograd.grad((z := rotated(x)).square().sum() + z.sum(), x)
    assert torch.allclose(y, z, atol=1e-6)
    assert torch.allclose(gradient, other, atol=1e-5)
    half = rotated(x.detach().bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.to(dtype), y, atol=0.1)


@pytest.mark.parametrize("items", [1, 3, 9])
def test_without_gradients_a_block_gives_the_same(items):
    torch.manual_seed(0)
    block = TransformerBlock(8, 2, 3, 0.0, gates=True)
    x = torch.randn(items, 5, 8)
    with torch.no_grad():
        y = block(x)
    assert torch.allclose(y, block(x), atol=1e-6)


def test_attention_scores_depend_on_differences_of_positions_alone():
    """One query and one key at all positions: the scores are a Toeplitz matrix."""
    torch.manual_seed(0)
    query, key = (torch.randn(8, dtype=torch.float64).expand(200, 8) for _ in range(2))
    scores = rotated(query) @ rotated(key).T
    for offset in (-150, -1, 0, 3, 60):
        diagonal = scores.diagonal(offset)
        assert torch.allclose(diagonal, diagonal[:1], rtol=0, atol=1e-12)
    assert scores[0].std() > 0.1


def block_in_numpy(block, x, heads):
    def weight(module):
        return module.weight.detach().numpy()

    def normed(values, norm):
        return values / np.sqrt((values**2).mean(-1, keepdims=True) + 1e-8) * weight(norm)

    width = x.shape[1]
    queries, keys, values = np.split(normed(x, block.norm_1) @ weight(block.queries_keys_values).T, 3, axis=1)
    each = width // heads
    attended = np.zeros_like(x)
    for head in range(heads):
        part = slice(head * each, (head + 1) * each)
        scores = turned(queries[:, part]) @ turned(keys[:, part]).T / np.sqrt(each)
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        attended[:, part] = shares @ values[:, part]
    x = x + attended @ weight(block.merge).T
    norm, first, _, _, second, _ = block.perceptron
    h = torch.from_numpy(normed(x, norm) @ weight(first).T + first.bias.detach().numpy())
    h = (h * 0.5 * (1 + torch.erf(h / 2**0.5))).numpy()
    return x + h @ weight(second).T + second.bias.detach().numpy()


@pytest.mark.parametrize("heads", [1, 2])
def test_a_block_is_attention_and_a_perceptron_around_residuals(heads):
    torch.manual_seed(0)
    block = TransformerBlock(8, heads, 3, 0.0).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(6, 8, dtype=torch.float64)
    expected = block_in_numpy(block, x.numpy(), heads)
    assert np.allclose(block(x[None])[0].detach().numpy(), expected, rtol=1e-10, atol=1e-10)


def test_dropout_is_for_training_only():
    model, x = create(dropout=0.5), torch.randn(1, 1, 1600)
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
        assert torch.equal(model(x), create()(x))
        model.train()
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"heads": 3}, r"width must be a multiple of 2 heads \(6\), got 8"),
        ({"heads": 0}, "heads must be.*0"),
        ({"expansion": 0}, "expansion must be.*0"),
        ({"dropout": 1.0}, r"dropout must be.*1\.0"),
        ({"dropout": "much"}, "dropout must be.*'much'"),
    ],
)
def test_settings_that_are_not_allowed_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        create(**settings)
