"""The temporal convolutional network of Conv-TasNet: from a latent to masks."""

from torch import Tensor, nn


class TCNBlock(nn.Module):
    """One dilated depthwise-separable block with a residual and a skip output.

    x (items, branches * bottleneck, frames) -> residual, skip of the same shape.
    """

    def __init__(
        self,
        branches: int,
        bottleneck: int,
        hidden: int,
        kernel: int,
        dilation: int,
        norm_groups: int,
        bias: bool,
    ) -> None:
        super().__init__()
        wide, narrow = branches * hidden, branches * bottleneck
        self.expand = nn.Conv1d(narrow, wide, 1, groups=branches, bias=False)
        self.prelu_1 = nn.PReLU()
        self.norm_1 = nn.GroupNorm(branches * norm_groups, wide, eps=1e-8)
        padding = dilation * (kernel - 1) // 2
        self.depthwise = nn.Conv1d(
            wide, wide, kernel, dilation=dilation, padding=padding, groups=wide, bias=False
        )
        self.prelu_2 = nn.PReLU()
        self.norm_2 = nn.GroupNorm(branches * norm_groups, wide, eps=1e-8)
        self.residual = nn.Conv1d(wide, narrow, 1, groups=branches, bias=bias)
        self.skip = nn.Conv1d(wide, narrow, 1, groups=branches, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(items, branches * bottleneck, frames) -> (residual, skip), same shape each."""
        h = self.norm_1(self.prelu_1(self.expand(x)))
        h = self.norm_2(self.prelu_2(self.depthwise(h)))
        return self.residual(h), self.skip(h)


class MaskTCN(nn.Module):
    """Masks of all sources from real features, a softmax over the sources.

    With `branches` = sources each source has a network of its own (grouped convolutions), as in the published SFI Conv-TasNet; with
    `branches` = 1 the sources share a trunk and part at the last layer.

    Source: Luo and Mesgarani, TASLP 27:1256, 2019; the placement of norms is that of Saito et al., TASLP 30:2928, 2022.
    """

    def __init__(
        self,
        features: int,
        sources: int,
        branches: int,
        bottleneck: int,
        hidden: int,
        kernel: int,
        layers: int,
        repeats: int,
        norm_groups: int,
        residual_bias: bool,
    ) -> None:
        super().__init__()
        self.sources, self.branches = sources, branches
        groups, narrow = branches * norm_groups, branches * bottleneck
        self.prelu_1 = nn.PReLU()
        self.norm_1 = nn.GroupNorm(groups, branches * features, eps=1e-8)
        self.bottleneck = nn.Conv1d(branches * features, narrow, 1, groups=branches, bias=False)
        self.prelu_2 = nn.PReLU()
        self.norm_2 = nn.GroupNorm(groups, narrow, eps=1e-8)
        self.blocks = nn.ModuleList(
            TCNBlock(branches, bottleneck, hidden, kernel, 2**i, norm_groups, residual_bias)
            for _ in range(repeats)
            for i in range(layers)
        )
        self.prelu_3 = nn.PReLU()
        self.norm_3 = nn.GroupNorm(groups, narrow, eps=1e-8)
        self.output = nn.Conv1d(narrow, sources * features, 1, groups=branches, bias=False)
        self.prelu_4 = nn.PReLU()
        self.norm_4 = nn.GroupNorm(sources * norm_groups, sources * features, eps=1e-8)

    def forward(self, x: Tensor) -> Tensor:
        """(items, features, frames) -> masks (items, sources, features, frames) that sum to one over the sources."""
        features = x.shape[1]
        x = self.prelu_1(x).repeat(1, self.branches, 1)
        x = self.bottleneck(self.norm_1(x))
        x = self.norm_2(self.prelu_2(x))
        total = None
        for block in self.blocks:
            residual, skip = block(x)
            x = x + residual
            total = skip if total is None else total + skip
        logits = self.norm_4(self.prelu_4(self.output(self.norm_3(self.prelu_3(total)))))
        return logits.unflatten(1, (self.sources, features)).softmax(dim=1)
