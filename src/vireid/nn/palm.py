"""PALM, the position-attention module of DLIS.

    x ──┬── query 1x1 ── q [C/8, N] ─┐
        ├── key   1x1 ── k [C/8, N] ─┴─ a = softmax_j(q_i · k_j + b_ij)  [N, N] ─┐
        ├── value 1x1 ── v [C,   N] ──────────────────────────────── Σ_j a_ij v_j ── branch ─┐
        └─────────────────────────────────────────────────────────────────────────────────── + ── y

``branch`` is a learned scalar gamma that starts at 0, or a BatchNorm whose weight starts at 0,
with or without first subtracting the mean over the positions. In all forms training starts from
the network without PALM.

Sources: Wu et al., "Position Attention-Guided Learning for Infrared-Visible Person
Re-identification", ICIC 2020, names the module and its purpose; its equations are not openly
available. The form with gamma is the position attention of Fu et al., "Dual Attention Network for
Scene Segmentation", CVPR 2019, which the paper's description fits best (see docs/dlis.md). The bias
b, 0 unless ``grid`` is given, is learned for each offset between two positions, as in Shaw et al.,
"Self-Attention with Relative Position Representations", NAACL 2018. The BatchNorm forms are this
project's own (see docs/research/palm.md).

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

__all__ = ["PALM", "PalmBranch", "record_attention"]

PalmBranch = Literal["gamma", "batch_norm", "centred"]
"""How the attended values are scaled; see :class:`PALM`."""


class PALM(nn.Module):
    """Self-attention over the positions of a feature map, added to it.

    With gamma the parameters number 2 (C·C/8 + C/8) + C·C + C + 1: 5,245,441 at C = 2048. A
    BatchNorm has 2 C instead of the 1; the position bias has 2 h - 1 + 2 w - 1 more.

    Args:
        channels: C, a multiple of ``reduction``.
        reduction: Queries and keys have C / reduction channels.
        branch: What scales the attended values before the sum: ``gamma``, one learned scalar that
            starts at 0; ``batch_norm``, a BatchNorm whose weight and bias start at 0; ``centred``,
            the same after subtracting the mean over the positions of each image.
        scaled: Divide the logits by the square root of the queries' length.
        stripes: If given, a position attends only to positions of its own horizontal stripe.
        grid: Height and width of the largest map: learn a bias of the logits for each row offset
            and each column offset. A row offset starts at minus its absolute value, a column
            offset at 0. None: the logits do not depend on the positions.

    Raises:
        ConfigError: If ``channels`` is not a multiple of ``reduction``.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 8,
        branch: PalmBranch = "gamma",
        scaled: bool = False,
        stripes: int | None = None,
        grid: tuple[int, int] | None = None,
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
        self.centred = branch == "centred"
        self.norm: nn.BatchNorm2d | None = None
        if branch == "gamma":
            self.gamma = nn.Parameter(torch.zeros(()))
        else:
            self.norm = nn.BatchNorm2d(channels)
            nn.init.zeros_(self.norm.weight)
        self.offsets = None if grid is None else RelativePosition(*grid)
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
        bias = self._bias(h, w, x.device)
        if self.recorded is not None:
            self.recorded.append(self._attention(q, k, bias).detach())
        if bias is not None and bias.is_floating_point():
            bias = bias.to(q.dtype)
        # The fused kernel never builds the attention matrix.
        attended = F.scaled_dot_product_attention(
            q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), bias, scale=self.scale
        ).squeeze(1)
        branch = attended.transpose(1, 2).reshape(n, -1, h, w)
        if self.centred:
            branch = branch - branch.mean((2, 3), keepdim=True)
        scaled: Tensor = branch * self.gamma if self.norm is None else self.norm(branch)
        return x + scaled

    def _attention(self, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
        """The attention matrix ``[n, N, N]``, float32, or float64 where the queries are."""
        if q.dtype != torch.float64:
            q, k = q.float(), k.float()
        with torch.autocast(q.device.type, enabled=False):  # it would use half precision
            logits = q @ k.transpose(1, 2) * self.scale
        if bias is None:
            return logits.softmax(dim=-1)
        if not bias.is_floating_point():
            return logits.masked_fill(~bias, float("-inf")).softmax(dim=-1)
        return (logits + bias).softmax(dim=-1)

    def _bias(self, h: int, w: int, device: torch.device) -> Tensor | None:
        """``[N, N]``: added to the logits if float, True where a pair attends if bool."""
        mask = None if self.stripes is None else _same_stripe(h, w, self.stripes, device)
        if self.offsets is None:
            return mask
        bias: Tensor = self.offsets(h, w)
        return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


class RelativePosition(nn.Module):
    """A learned bias for each pair of positions, by their row offset and column offset.

    Args:
        height: Rows of the largest map.
        width: Its columns.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.rows = nn.Parameter(-torch.arange(1.0 - height, height).abs())
        self.columns = nn.Parameter(torch.zeros(2 * width - 1))

    def forward(self, h: int, w: int) -> Tensor:
        """The bias over a map.

        Args:
            h: Rows, at most ``height``.
            w: Columns, at most ``width``.

        Returns:
            ``[N, N]``, positions row-major: rows[y_j - y_i] + columns[x_j - x_i].

        Raises:
            ConfigError: If the map is larger than the largest one.
        """
        if h > self.height or w > self.width:
            raise ConfigError(
                f"PALM has position offsets for maps of up to {self.height} x {self.width} and got "
                f"one of '{h} x {w}'; use images of the size that it was built for."
            )
        y = torch.arange(h, device=self.rows.device)
        x = torch.arange(w, device=self.rows.device)
        rows = self.rows[y - y[:, None] + self.height - 1]
        columns = self.columns[x - x[:, None] + self.width - 1]
        return (rows[:, None, :, None] + columns[None, :, None, :]).reshape(h * w, h * w)


@contextmanager
def record_attention(module: nn.Module) -> Iterator[list[Tensor]]:
    """Record the attention of every forward pass through the PALMs inside ``module``.

    Outside this context nothing is recorded, and the fused kernel never builds the matrix.

    Args:
        module: A PALM, or any module that contains some.

    Yields:
        A list to which every forward pass of a PALM appends a float32 tensor ``[n, N, N]``: row i
        holds the weights with which position i attends to all N = h·w positions (row-major), and
        sums to 1.
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
    """Which positions share a stripe, bool ``[N, N]``; the middle of a row decides."""
    rows = torch.arange(h, device=device)
    stripe = ((2 * rows + 1) * stripes // (2 * h)).repeat_interleave(w)
    return stripe[:, None] == stripe[None, :]
