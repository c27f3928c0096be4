"""Multistage feature aggregation: a stage's output gathers from its input, by channel and place.

    h^c = h   + BN( omega^c ( M^c psi_v(l) ) ),    M^c = similarity of channels   [c, c]
    h^s = h^c + BN( omega^s ( M^s psi_v(l) ) ),    M^s = similarity of positions  [N_h, N_l]

with l the input and h the output of a stage, and M the products of queries psi_q(h) with keys
psi_k(l), both 1x1 convolutions.

Y. Zhang, H. Wang: "Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
Visible-Infrared Person Re-identification", CVPR 2023 (DEEN), eqs. 7 to 9.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FeatureAggregation"]


class FeatureAggregation(nn.Module):
    """One block, which starts as the identity: the weights of its batch norms start at 0.

    Eq. 7 normalises the similarities by softmax; the authors' code divides them by the number of
    channels or positions instead, and joins each position of the upper half of a map with one of
    the lower half (a view of ``[C/2, N]`` as ``[C, N/2]``), which this block does not.

    Args:
        high: Channels of the stage's output.
        low: Channels of its input.
        stride: What the stage divides the resolution by, 1 or 2.
        softmax: Normalise as eq. 7 does.
    """

    def __init__(self, high: int, low: int, *, stride: int, softmax: bool = False) -> None:
        super().__init__()
        self.softmax = softmax
        self.channel_query = nn.Conv2d(high, low, 1)
        self.channel_key = nn.Conv2d(low, low, 1, stride=stride)
        self.channel_value = nn.Conv2d(low, low, 1)
        self.channel_out = _out(low, high, stride)
        inner = max(1, low // 2)
        self.position_query = nn.Conv2d(high, inner, 1)
        self.position_key = nn.Conv2d(low, inner, 1)
        self.position_value = nn.Conv2d(low, inner, 1)
        self.position_out = _out(inner, high, 1)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Aggregate a stage's input into its output.

        Args:
            high: Output of the stage, ``[n, C_h, h, w]``.
            low: Its input, ``[n, C_l, h·stride, w·stride]``; an odd size is rounded up.

        Returns:
            ``[n, C_h, h, w]``.
        """
        query, key = self.channel_query(high).flatten(2), self.channel_key(low).flatten(2)
        similarity = query @ key.transpose(1, 2)
        weights = similarity.softmax(2) if self.softmax else similarity / similarity.shape[2]
        gathered = weights @ self.channel_value(low).flatten(2)
        high = high + self.channel_out(gathered.unflatten(2, low.shape[2:]))
        query, key, value = (
            layer(x).flatten(2).transpose(1, 2)
            for layer, x in (
                (self.position_query, high),
                (self.position_key, low),
                (self.position_value, low),
            )
        )
        if self.softmax:
            gathered = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        else:
            # Without a softmax the N_h x N_l matrix is not needed.
            gathered = query @ (key.transpose(1, 2) @ value) / key.shape[1]
        return high + self.position_out(gathered.transpose(1, 2).unflatten(2, high.shape[2:]))  # type: ignore[no-any-return]


def _out(channels: int, out: int, stride: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(out)
    nn.init.zeros_(norm.weight)
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride), norm)
