"""Statistics of PALM's attention and of what it adds to a feature map.

Example:
    >>> import torch
    >>> from docs.research.palm_statistics import observe_palm
    >>> from vireid.nn import PALM
    >>> palm = PALM(64)
    >>> with observe_palm(palm, stripes=3) as (seen,):
    ...     _ = palm(torch.rand(2, 64, 6, 3))
    >>> seen.images, seen.positions, seen.change
    (2, 18, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.nn.palm import PALM, record_attention
from vireid.nn.pooling import StripePool

__all__ = ["PalmStatistics", "observe_palm"]


@dataclass
class PalmStatistics:
    """Means over all images that pass through one PALM, with equal weight.

    x is the map before PALM, y the map after it, d = y - x, and a the attention.

    Attributes:
        stripes: Number of horizontal stripes whose averages the cosines compare.
        images: Number of images.
        positions: N, the number of positions of the last map.
    """

    stripes: int
    images: int = 0
    positions: int = 0
    _sums: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def entropy(self) -> float:
        """Entropy of a row of a, over ln N: 1 for uniform attention, 0 for a single key."""
        return self._mean("entropy")

    @property
    def alike(self) -> float:
        """Share of a's energy in the mean of its rows: 1 if all positions attend alike."""
        return self._mean("alike")

    @property
    def change(self) -> float:
        """Norm of d over the norm of x."""
        return self._mean("change")

    @property
    def constant(self) -> float:
        """Share of d's energy in its mean over the positions; NaN if d is 0."""
        return self._mean("constant")

    @property
    def cosine_before(self) -> float:
        """Mean cosine of two different stripes of one image in x."""
        return self._mean("before")

    @property
    def cosine_after(self) -> float:
        """The same in y."""
        return self._mean("after")

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.images} images, {self.positions} positions: entropy {self.entropy:.3f}, rows "
            f"alike {self.alike:.3f}, change {self.change:.4f}, constant {self.constant:.3f}, "
            f"cosine of stripes {self.cosine_before:.4f} -> {self.cosine_after:.4f}"
        )

    def add(self, x: Tensor, y: Tensor, attention: Tensor) -> None:
        """Add the images of a batch.

        Args:
            x: Maps before PALM, ``[n, C, h, w]``.
            y: Maps after it, ``[n, C, h, w]``.
            attention: ``[n, N, N]``; rows sum to 1.
        """
        x, y, a = x.detach().double(), y.detach().double(), attention.detach().double()
        d = (y - x).flatten(2)
        found = {
            "entropy": -torch.special.xlogy(a, a).sum(2).mean(1) / math.log(a.shape[2]),
            "alike": _common_share(a.transpose(1, 2)),
            "change": d.norm(dim=(1, 2)) / x.flatten(1).norm(dim=1),
            "constant": _common_share(d),
            "before": self._cosine(x),
            "after": self._cosine(y),
        }
        for name, values in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + values.sum().item()
        self.images += len(x)
        self.positions = a.shape[2]

    def _cosine(self, maps: Tensor) -> Tensor:
        stripes = F.normalize(StripePool(self.stripes)(maps), dim=2)
        cosines = stripes @ stripes.transpose(1, 2)
        own = cosines.diagonal(dim1=1, dim2=2).sum(1)
        return (cosines.sum((1, 2)) - own) / (self.stripes * (self.stripes - 1))

    def _mean(self, name: str) -> float:
        return self._sums[name] / self.images if self.images else math.nan


@contextmanager
def observe_palm(module: nn.Module, *, stripes: int = 6) -> Iterator[tuple[PalmStatistics, ...]]:
    """Collect statistics of the PALMs inside a module in every forward pass.

    Args:
        module: A PALM, or any module that contains some.
        stripes: Number of horizontal stripes to compare, at least 2.

    Yields:
        One :class:`PalmStatistics` per PALM, in the order of ``module.modules()``.

    Raises:
        ConfigError: If there are fewer than two stripes.
    """
    if stripes < 2:
        raise ConfigError(f"'{stripes}' stripes cannot be compared; expected 2 or more.")
    palms = [m for m in module.modules() if isinstance(m, PALM)]
    found = tuple(PalmStatistics(stripes) for _ in palms)
    with ExitStack() as closing, record_attention(module) as maps:

        def add(statistics: PalmStatistics, x: Tensor, y: Tensor) -> None:
            statistics.add(x, y, maps.pop())

        for palm, statistics in zip(palms, found, strict=True):
            handle = palm.register_forward_hook(
                lambda _, inputs, y, statistics=statistics: add(statistics, inputs[0], y)
            )
            closing.callback(handle.remove)
        yield found


def _common_share(vectors: Tensor) -> Tensor:
    """Of vectors ``[n, c, N]``, the share of the energy of all N in their mean, ``[n]``."""
    energy = vectors.square().sum(1).mean(1)
    return vectors.mean(2).square().sum(1) / energy
