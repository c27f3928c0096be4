"""The non-local block, in the form that AGW uses.

X. Wang, R. Girshick, A. Gupta, K. He: "Non-local Neural Networks", CVPR 2018. Every position
gathers from all N = h·w others by the dot product of embeddings, divided by N (section 3.2, "Dot
product"; no softmax):

    y_i = x_i + BN( W · (1/N) sum_j (theta_i . phi_j) g_j )

with theta, phi, g 1x1 convolutions to C/2 channels and W one back to C. The batch norm's weight
and bias start at zero, so that the block starts as the identity and pretrained stages keep what
they know.
"""

from __future__ import annotations

from torch import Tensor, nn

from vireid.nn.backbone import output_channels

__all__ = ["NonLocal", "with_non_local"]


class NonLocal(nn.Module):
    """One non-local block.

    Args:
        channels: C.
        reduction: theta, phi and g have C / reduction channels.
    """

    def __init__(self, channels: int, *, reduction: int = 2) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, C, h, w]`` to ``[n, C, h, w]``."""
        theta, phi, g = (f(x).flatten(2) for f in (self.theta, self.phi, self.g))
        # (theta^T phi) g = theta^T (phi g^T): without a softmax the N x N matrix is not needed.
        gathered = (g @ phi.transpose(1, 2)) @ theta / theta.shape[2]
        return x + self.norm(self.out(gathered.unflatten(2, x.shape[2:])))  # type: ignore[no-any-return]


def with_non_local(stage: nn.Module, count: int) -> nn.Sequential:
    """A stage with a non-local block behind each of its last blocks.

    Args:
        stage: A sequence of blocks, each of which ends its main path in a batch norm.
        count: How many of its last blocks get one; all of them if there are fewer.
    """
    blocks = list(stage.children())
    found = nn.Sequential()
    for i, block in enumerate(blocks):
        found.append(block)
        if i >= len(blocks) - count:
            found.append(NonLocal(output_channels(block)))
    return found
