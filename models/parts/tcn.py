"""The temporal convolutional network of Conv-TasNet: from a latent to masks."""

from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.models.parts.cheap_gradients import Depthwise, PReLU
from sfi_zoo.models.parts.masks import masks_from
from sfi_zoo.models.parts.norms import create_norm, over_alive
from sfi_zoo.models.parts.pointwise import Pointwise
from sfi_zoo.models.parts.tcn_rows import run_in_rows, runs_in_rows


class TCNBlock(nn.Module):
    """One dilated depthwise-separable block with a residual and a skip output.

    x (items, branches * bottleneck, frames) -> residual of the same shape, skip (items, branches * skip, frames).

    Args:
        branches: networks side by side.
        bottleneck: channels of input and residual, per branch.
        hidden: channels within, per branch.
        skip: channels of the skip output, per branch; 0 for none.
        kernel: of the depthwise convolution.
        dilation: of the depthwise convolution.
        causal: frames see no later ones.
        norm: see `create_norm`.
        norm_groups: groups of each norm, per branch.
        bias: biases in the expanding and the depthwise convolution.
        residual_bias: biases in the residual and the skip convolution.
        residual: whether there is a residual output.
    """

    def __init__(
        self,
        *,
        branches: int,
        bottleneck: int,
        hidden: int,
        skip: int,
        kernel: int,
        dilation: int,
        causal: bool,
        norm: str,
        norm_groups: int,
        bias: bool,
        residual_bias: bool,
        residual: bool,
    ) -> None:
        super().__init__()
        wide, narrow, groups = branches * hidden, branches * bottleneck, branches * norm_groups
        self.expand = Pointwise(narrow, wide, groups=branches, bias=bias)
        self.prelu_1 = PReLU()
        self.norm_1 = create_norm(norm, groups, wide)
        reach = dilation * (kernel - 1)
        self.past = reach if causal else 0
        padding = 0 if causal else reach // 2
        self.depthwise = Depthwise(wide, kernel, padding=padding, dilation=dilation, bias=bias)
        self.prelu_2 = PReLU()
        self.norm_2 = create_norm(norm, groups, wide)
        self.residual = Pointwise(wide, narrow, groups=branches, bias=residual_bias) if residual else None
        self.skip = Pointwise(wide, branches * skip, groups=branches, bias=residual_bias) if skip else None

    def forward(self, x: Tensor, last: bool = False) -> tuple[Tensor | None, Tensor | None]:
        """(items, branches * bottleneck, frames) -> (residual, skip), None where the block has no such output.

        The residual output of the `last` block is not computed where there is a skip output: nobody uses it.
        """
        h = self.norm_1(self.prelu_1(self.expand(x)))
        if self.past:
            h = functional.pad(h, (self.past, 0))
        h = self.norm_2(self.prelu_2(self.depthwise(h)))
        skip = None if self.skip is None else self.skip(h)
        if self.residual is None or (last and skip is not None):
            return None, skip
        return self.residual(h), skip


class MaskTCN(nn.Module):
    """Masks of all sources from real features.

    With `branches` = sources each source has a network of its own (grouped convolutions), as in the published SFI Conv-TasNet; with
    `branches` = 1 the sources share a trunk and part at the last layer.

    Source: Luo and Mesgarani, TASLP 27:1256, 2019; `dense_norms` is the placement of Saito et al., TASLP 30:2928, 2022.

    Args:
        features: size of the latent.
        sources: number of masks.
        branches: 1, or the number of sources.
        bottleneck: channels between blocks (B), per branch.
        hidden: channels within a block (H), per branch.
        skip: channels of the skip outputs (Sc), per branch; 0: masks come from the last residual output.
        kernel: of the depthwise convolutions (P), odd unless `causal`.
        layers: blocks per repeat (X), dilations 1, 2, ..., 2^(X-1).
        repeats: R.
        norm: see `create_norm`.
        norm_groups: groups of each norm, per branch.
        dense_norms: a PReLU and a norm before and after the bottleneck and the last convolution; else one norm before the
            bottleneck and one PReLU before the last convolution.
        bias: biases in all convolutions but the residual and skip ones.
        residual_bias: biases in those.
        last_residual: the last block has a residual output that nobody uses, as in the paper's figure.
        causal: frames see no later ones (given a causal norm).
        mask: "softmax" over the sources, "sigmoid", "relu" or "linear".
    """

    def __init__(
        self,
        *,
        features: int,
        sources: int,
        branches: int,
        bottleneck: int,
        hidden: int,
        skip: int,
        kernel: int,
        layers: int,
        repeats: int,
        norm: str,
        norm_groups: int,
        dense_norms: bool,
        bias: bool,
        residual_bias: bool,
        last_residual: bool,
        causal: bool,
        mask: str,
    ) -> None:
        super().__init__()
        self.sources, self.branches, self.mask = sources, branches, mask
        groups, narrow, summed = (
            branches * norm_groups,
            branches * bottleneck,
            branches * (skip or bottleneck),
        )

        def if_dense(*modules: nn.Module) -> tuple[nn.Module, ...]:
            return modules if dense_norms else tuple(nn.Identity() for _ in modules)

        (self.prelu_1,) = if_dense(PReLU())
        self.norm_1 = create_norm(norm, groups, branches * features)
        self.bottleneck = Pointwise(branches * features, narrow, groups=branches, bias=bias)
        self.prelu_2, self.norm_2 = if_dense(PReLU(), create_norm(norm, groups, narrow))
        self.blocks = nn.ModuleList(
            TCNBlock(
                branches=branches,
                bottleneck=bottleneck,
                hidden=hidden,
                skip=skip,
                kernel=kernel,
                dilation=2 ** (block % layers),
                causal=causal,
                norm=norm,
                norm_groups=norm_groups,
                bias=bias,
                residual_bias=residual_bias,
                residual=last_residual or not skip or block < layers * repeats - 1,
            )
            for block in range(layers * repeats)
        )
        self.prelu_3 = PReLU()
        (self.norm_3,) = if_dense(create_norm(norm, groups, summed))
        self.output = Pointwise(summed, sources * features, groups=branches, bias=bias)
        self.prelu_4, self.norm_4 = if_dense(
            PReLU(), create_norm(norm, sources * norm_groups, sources * features)
        )

    def forward(self, x: Tensor, alive: Tensor | None = None) -> Tensor:
        """(items, features, frames) -> masks (items, sources, features, frames).

        With `alive`, (features,) bool, the first norm leaves the other features out of its statistics: see `over_alive`.
        """
        features = x.shape[1]
        x = self.prelu_1(x)
        if self.branches > 1:
            x = x.repeat(1, self.branches, 1)
            alive = None if alive is None else alive.repeat(self.branches)
        x = self.bottleneck(over_alive(self.norm_1, x, alive))
        x = self.norm_2(self.prelu_2(x))
        blocks = list(self.blocks)
        summed = run_in_rows(blocks, x) if runs_in_rows(blocks, x) else self._run(x)
        scores = self.norm_4(self.prelu_4(self.output(self.norm_3(self.prelu_3(summed)))))
        scores = scores.unflatten(1, (self.sources, features))
        return masks_from(scores, self.mask)

    def _run(self, x: Tensor) -> Tensor:
        """Block by block, what `run_in_rows` computes."""
        total = None
        for number, block in enumerate(self.blocks, 1):
            residual, skip = block(x, number == len(self.blocks))
            if residual is not None:
                x = x + residual
            if skip is not None:
                total = skip if total is None else total + skip
        return x if total is None else total
