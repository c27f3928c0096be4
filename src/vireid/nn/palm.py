"""PALM, the position-attention module of DLIS.

    x ──┬── query 1x1 ── q [C/8, N] ─┐
        ├── key   1x1 ── k [C/8, N] ─┴─ a = softmax_j(q_i · k_j + b_ij)  [N, N] ─┐
        ├── value 1x1 ── v [C,   N] ──────────────────────────────── Σ_j a_ij v_j ── branch ─┐
        └─────────────────────────────────────────────────────────────────────────────────── + ── y

``branch`` is a learned scalar gamma that starts at 0, or a BatchNorm whose weight starts at 0, with
or without the mean over the positions taken from the sum first. In the branch ``guide`` nothing is
added: the attention that a position receives, Σ_i a_ij, weighs it inside its own row,

    y_j = x_j · r_j^gamma / mean over the row of r^gamma,    r_j = (1 + Σ_i a_ij) / 2

so that the average of a row, and of every stripe of rows, becomes a weighted average of the same
positions. Under uniform attention r is 1; what nobody looks at still has half of that. In all forms
training starts from the network without PALM.

Sources: Wu et al., "Position Attention-Guided Learning for Infrared-Visible Person
Re-identification", ICIC 2020, names the module and its purpose; its equations are not openly
available. The form with gamma is the position attention of Fu et al., "Dual Attention Network for
Scene Segmentation", CVPR 2019, which the paper's description fits best (see docs/dlis.md). The bias
b, 0 unless asked for, is learned for each offset between two positions, as in Shaw et al.,
"Self-Attention with Relative Position Representations", NAACL 2018. The others are this project's
own (see docs/research/palm.md).

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

PalmBranch = Literal["gamma", "batch_norm", "centred", "guide"]
"""What becomes of the attention; see :class:`PALM`."""


class PALM(nn.Module):
    """Self-attention over the positions of a feature map, added to it or weighing it.

    With gamma the parameters number 2 (C·C/8 + C/8) + C·C + C + 1: 5,245,441 at C = 2048. A batch
    norm has 2 C instead of the 1; ``guide`` has no values, 2 (C·C/8 + C/8) + 1; the position bias
    has 2 h - 1 + 2 w - 1 more.

    Args:
        channels: C, a multiple of ``reduction``.
        reduction: Queries and keys have C / reduction channels.
        branch: What scales the attended values before the sum: ``gamma``, one learned scalar that
            starts at 0; ``batch_norm``, a BatchNorm whose weight and bias start at 0; ``centred``,
            the same after taking away the mean over the positions of each image. ``guide``:
            nothing is added, the map is weighed inside its rows.
        scaled: Divide the logits by the square root of the queries' length.
        stripes: If given, a position attends only to positions of its own horizontal stripe.
        grid: Height and width of the largest map: learn a bias of the logits for each offset of
            rows and one for each offset of columns. Rows start with minus their distance, columns
            with 0. None: the logits do not know where a position is.

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
        self.value = None if branch == "guide" else nn.Conv2d(channels, channels, 1)
        self.scale = (channels // reduction) ** -0.5 if scaled else 1.0
        self.stripes = stripes
        self.centred = branch == "centred"
        self.norm: nn.BatchNorm2d | None = None
        if branch in ("gamma", "guide"):
            self.gamma = nn.Parameter(torch.zeros(()))
        else:
            self.norm = nn.BatchNorm2d(channels)
            nn.init.zeros_(self.norm.weight)
        self.offsets = None if grid is None else RelativePosition(*grid)
        self.recorded: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Add to every position what it attends to, or weigh it by what attends to it.

        Args:
            x: Feature map, ``[n, C, h, w]``.

        Returns:
            ``[n, C, h, w]``.
        """
        n, _, h, w = x.shape
        q, k = _positions(self.query(x)), _positions(self.key(x))
        bias = self._bias(h, w, x.device)
        if self.recorded is not None:
            self.recorded.append(self._attention(q, k, bias).detach())
        if self.value is None:
            received = self._attention(q, k, bias).sum(1).reshape(n, h, w)
            return x * self._weights(received).to(x.dtype).unsqueeze(1)
        attended = self._attended(q, k, _positions(self.value(x)), bias)
        branch = attended.transpose(1, 2).reshape(n, -1, h, w)
        if self.centred:
            branch = branch - branch.mean((2, 3), keepdim=True)
        scaled: Tensor = branch * self.gamma if self.norm is None else self.norm(branch)
        return x + scaled

    def gather(self, x: Tensor, other: Tensor) -> Tensor:
        """Show one map by the positions of another: each position takes what it attends to there.

        Queries are of ``x``, keys of ``other``, and what is gathered is ``other`` itself.

        Args:
            x: Feature map, ``[n, C, h, w]``.
            other: As many maps of that shape.

        Returns:
            Σ_j a_ij other_j at each position i, ``[n, C, h, w]``.
        """
        h, w = x.shape[2:]
        q, k = _positions(self.query(x)), _positions(self.key(other))
        gathered = self._attended(q, k, _positions(other), self._bias(h, w, x.device))
        return gathered.transpose(1, 2).reshape(x.shape)

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """Σ_j a_ij v_j, ``[n, N, C]``, without building a where the fused kernel can."""
        if bias is not None and bias.is_floating_point():
            bias = bias.to(q.dtype)
        return F.scaled_dot_product_attention(
            q.unsqueeze(1), k.unsqueeze(1), v.to(q.dtype).unsqueeze(1), bias, scale=self.scale
        ).squeeze(1)

    def _attention(self, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
        """A float32 ``[n, N, N]``, or float64 where the queries are."""
        if q.dtype != torch.float64:
            q, k = q.float(), k.float()
        with torch.autocast(q.device.type, enabled=False):  # it would make the product half again
            logits = q @ k.transpose(1, 2) * self.scale
        if bias is None:
            return logits.softmax(dim=-1)
        if not bias.is_floating_point():
            return logits.masked_fill(~bias, float("-inf")).softmax(dim=-1)
        return (logits + bias).softmax(dim=-1)

    def _weights(self, received: Tensor) -> Tensor:
        """r^gamma over its mean in the row, of attention received ``[n, h, w]``; 1 at gamma 0."""
        powers = self.gamma * (0.5 + 0.5 * received).log()
        weights = (powers - powers.detach().amax(2, keepdim=True)).exp()
        return weights / weights.mean(2, keepdim=True)

    def _bias(self, h: int, w: int, device: torch.device) -> Tensor | None:
        """What is added to the logits, float ``[N, N]``; or which pairs attend, bool ``[N, N]``."""
        mask = None if self.stripes is None else _same_stripe(h, w, self.stripes, device)
        if self.offsets is None:
            return mask
        bias: Tensor = self.offsets(h, w)
        return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


class RelativePosition(nn.Module):
    """A bias for each pair of positions that depends on how far apart they are.

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
                f"PALM knows offsets in maps of up to {self.height} x {self.width} positions, and "
                f"got one of '{h} x {w}'; give it images of the size that it was built for."
            )
        y = torch.arange(h, device=self.rows.device)
        x = torch.arange(w, device=self.rows.device)
        rows = self.rows[y - y[:, None] + self.height - 1]
        columns = self.columns[x - x[:, None] + self.width - 1]
        return (rows[:, None, :, None] + columns[None, :, None, :]).reshape(h * w, h * w)


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
