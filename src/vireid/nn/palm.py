"""PALM, the position-attention module of DLIS.

    x ──┬── query 1x1 ── q [C/8, N] ─┐
        ├── key   1x1 ── k [C/8, N] ─┴─ a = softmax_j(q_i · k_j)  [N, N] ─┐
        ├── value 1x1 ── v [C,   N] ───────────────────────────────── Σ_j a_ij v_j ── branch ─┐
        └──────────────────────────────────────────────────────────────────────────────────── + ── y

``branch`` is a learned scalar gamma that starts at 0, or a BatchNorm whose weight starts at 0:
either way training starts from the network without PALM.

Sources: Wu et al., "Position Attention-Guided Learning for Infrared-Visible Person
Re-identification", ICIC 2020, names the module and its purpose; its equations are not openly
available. The form here is the position attention of Fu et al., "Dual Attention Network for Scene
Segmentation", CVPR 2019, which the paper's description fits best (see docs/dlis.md).

Example:
    >>> import torch
    >>> palm = PALM(64)
    >>> x = torch.randn(2, 64, 6, 3)
    >>> with record_attention(palm) as maps:
    ...     y = palm(x)
    >>> y.shape, maps[0].shape
    (torch.Size([2, 64, 6, 3]), torch.Size([2, 18, 18]))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.errors import ConfigError

__all__ = ["PALM", "record_attention"]


class PALM(nn.Module):
    """Self-attention over the positions of a feature map, added to it.

    With gamma the parameters number 2 (C·C/8 + C/8) + C·C + C + 1: 5,245,441 at C = 2048.

    Args:
        channels: C, a multiple of ``reduction``.
        reduction: Queries and keys have C / reduction channels.
        branch: What scales the attended values before the sum: ``gamma``, one learned scalar that
            starts at 0, or ``batch_norm``, a BatchNorm whose weight and bias start at 0.
        scaled: Divide the logits by the square root of the queries' length.
        stripes: If given, a position attends only to positions of its own horizontal stripe.

    Raises:
        ConfigError: If ``channels`` is not a multiple of ``reduction``.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 8,
        branch: Literal["gamma", "batch_norm"] = "gamma",
        scaled: bool = False,
        stripes: int | None = None,
    ) -> None:
        super().__init__()
        if channels % reduction:
            raise ConfigError(
                f"PALM got {channels} channels, which the reduction '{reduction}' does not divide; "
                "choose a reduction that divides the channels of the map."
            )
        self.query = nn.Conv2d(channels, channels // reduction, 1)
        self.key = nn.Conv2d(channels, channels // reduction, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.scale = (channels // reduction) ** -0.5 if scaled else 1.0
        self.stripes = stripes
        self.norm: nn.BatchNorm2d | None = None
        if branch == "gamma":
            self.gamma = nn.Parameter(torch.zeros(()))
        else:
            self.norm = nn.BatchNorm2d(channels)
            nn.init.zeros_(self.norm.weight)
        self.recorded: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Add to every position what it attends to.

        Args:
            x: Feature map, ``[n, C, h, w]``.

        Returns:
            ``[n, C, h, w]``.
        """
        n, _, h, w = x.shape
        q, k, v = (_positions(conv(x)) for conv in (self.query, self.key, self.value))
        mask = None if self.stripes is None else _same_stripe(h, w, self.stripes, x.device)
        attended = F.scaled_dot_product_attention(
            q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), attn_mask=mask, scale=self.scale
        ).squeeze(1)
        if self.recorded is not None:
            self.recorded.append(self._attention(q, k, mask))
        branch = attended.transpose(1, 2).reshape(n, -1, h, w)
        scaled: Tensor = branch * self.gamma if self.norm is None else self.norm(branch)
        return x + scaled

    def _attention(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):  # it would make the product half again
            logits = q.detach().float() @ k.detach().float().transpose(1, 2) * self.scale
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        return logits.softmax(dim=-1)


@contextmanager
def record_attention(module: nn.Module) -> Iterator[list[Tensor]]:
    """Record the attention of every forward pass through the PALMs inside ``module``.

    Outside this block nothing is kept and the fused kernel never builds the matrix.

    Args:
        module: A PALM, or any module that holds some.

    Yields:
        A list that grows by one float32 tensor ``[n, N, N]`` a PALM and pass: row i holds the
        weights with which position i attends to all N = h·w positions (row-major) and sums to 1.
    """
    palms = [m for m in module.modules() if isinstance(m, PALM)]
    maps: list[Tensor] = []
    for palm in palms:
        palm.recorded = maps
    try:
        yield maps
    finally:
        for palm in palms:
            palm.recorded = None


def _positions(x: Tensor) -> Tensor:
    """``[n, c, h, w]`` to ``[n, N, c]``."""
    return x.flatten(2).transpose(1, 2)


def _same_stripe(h: int, w: int, stripes: int, device: torch.device) -> Tensor:
    """Which positions share a stripe, bool ``[N, N]``; a row is in the stripe of its middle."""
    rows = torch.arange(h, device=device)
    stripe = ((2 * rows + 1) * stripes // (2 * h)).repeat_interleave(w)
    return stripe[:, None] == stripe[None, :]
