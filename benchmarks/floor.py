"""What a machine could do at best, and what a step asks of it: below this no program can go.

The floor of a step is its arithmetic over the rate at which the machine multiplies matrices: no
convolution that multiplies as its definition says is faster than a matrix product. What the other
operators read and write, over the rate at which memory is copied, comes on top as long as each of
them is a pass over memory of its own, as in eager torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vireid.runs import Precision

__all__ = ["Demand", "Rates", "demand", "fast_bfloat16", "measure_rates"]

_SIDE = 2048
_BYTES = 256 * 2**20
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Rates:
    """What the machine does at best, by all threads.

    Attributes:
        float32: Matrix products in float32, in floating-point operations a second.
        bfloat16: The same in bfloat16.
        memory: Bytes read and written a second by a copy beyond the caches.
    """

    float32: float
    bfloat16: float
    memory: float

    def table(self, asked: Demand, plain: float, images: int, precision: Precision) -> str:
        """Rows of a benchmark's table that say what no program is faster than, and a sentence.

        Args:
            asked: What the work asks of the machine.
            plain: Seconds that the reference takes.
            images: Images of the work.
            precision: Arithmetic of the work.
        """
        products = self.bfloat16 if precision == "bf16-mixed" else self.float32
        arithmetic, passes = asked.operations / products, asked.traffic / self.memory
        rows = [
            f"| {name} | {images / seconds:.1f} | {plain / seconds:.2f} | |"
            for name, seconds in (
                ("floor: the arithmetic alone", arithmetic),
                ("the arithmetic, and a pass over memory for all else", arithmetic + passes),
            )
        ]
        return "\n".join(rows) + (
            f"\n\n{asked.operations / 1e9:,.0f} GFLOP of convolutions and products by their "
            f"definition, {asked.traffic / 1e9:,.1f} GB read and written by all else. This "
            f"machine: {self}."
        )

    def __str__(self) -> str:
        return (
            f"matrix products {self.float32 / 1e9:.0f} GFLOP/s in float32, "
            f"{self.bfloat16 / 1e9:.0f} in bfloat16; memory {self.memory / 1e9:.1f} GB/s"
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """What some work asks of a machine.

    Attributes:
        operations: Floating-point operations of convolutions and matrix products.
        traffic: Bytes that all other operators read and write, were each one a pass of its own.
    """

    operations: float
    traffic: float

    def times(self, factor: float) -> Demand:
        """The same, so many times over."""
        return Demand(self.operations * factor, self.traffic * factor)


def measure_rates() -> Rates:
    """Measure this machine, with the threads that torch has now."""
    return Rates(
        float32=_products(torch.float32, _SIDE),
        bfloat16=_products(torch.bfloat16, _SIDE if fast_bfloat16() else _SIDE // 16),
        memory=_copies(),
    )


def demand(work: Callable[[], object]) -> Demand:
    """Run something, and count what it asks of a machine.

    Args:
        work: Forward passes, also with backward passes.
    """
    with FlopCounterMode(display=False) as counter, _Traffic() as traffic:
        work()
    return Demand(float(counter.get_total_flops()), float(traffic.bytes))


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that operators other than convolutions and products read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and not any(word in name for word in _COUNTED_AS_ARITHMETIC):
            self.bytes += _size((args, kwargs)) + _size(found)
        return found


_COUNTED_AS_ARITHMETIC = ("convolution", "mm", "attention", "empty", "detach")


def _size(tree: object) -> int:
    return sum(
        leaf.numel() * leaf.element_size() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)
    )


def fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; one that does not takes minutes for large ones."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _products(kind: torch.dtype, side: int) -> float:
    a, b = (torch.randn(side, side).to(kind) for _ in range(2))
    return 2 * side**3 / _best(lambda: torch.mm(a, b))


def _copies() -> float:
    source = torch.ones(_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * _BYTES / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few runs, after one to warm up."""
    work()
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
