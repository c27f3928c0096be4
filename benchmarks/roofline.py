"""Hardware limits of the machine, and a roofline estimate of the time that some work needs.

The lower bound is the number of floating-point operations over the measured rate of matrix
products: no direct convolution is faster than a matrix product. In eager torch every other operator
is a separate pass over memory, so that its traffic over the measured memory bandwidth adds to it.
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

__all__ = [
    "HardwareLimits",
    "OperationCount",
    "count_operations",
    "fast_bfloat16",
    "measure_limits",
]

_SIDE = 2048
_BYTES = 256 * 2**20
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class HardwareLimits:
    """Measured peak rates of the machine, with all threads.

    Attributes:
        float32: Matrix products in float32, in floating-point operations per second.
        bfloat16: The same in bfloat16.
        memory: Bytes per second read and written by a copy larger than the caches.
    """

    float32: float
    bfloat16: float
    memory: float

    def table(
        self, count: OperationCount, reference: float, images: int, precision: Precision
    ) -> str:
        """Format the lower bounds as rows of a benchmark's table, with a sentence below.

        Args:
            count: Operations of the work.
            reference: Seconds of the reference.
            images: Number of images.
            precision: Precision of the work.
        """
        products = self.bfloat16 if precision == "bf16-mixed" else self.float32
        arithmetic, passes = count.operations / products, count.traffic / self.memory
        rows = [
            f"| {name} | {images / seconds:.1f} | {reference / seconds:.2f} | |"
            for name, seconds in (
                ("limit: arithmetic only", arithmetic),
                ("limit: arithmetic and memory traffic", arithmetic + passes),
            )
        ]
        return "\n".join(rows) + (
            f"\n\n{count.operations / 1e9:,.0f} GFLOP of direct convolutions and products, "
            f"{count.traffic / 1e9:,.1f} GB of memory traffic of all other operators. This "
            f"machine: {self}."
        )

    def __str__(self) -> str:
        return (
            f"matrix products {self.float32 / 1e9:.0f} GFLOP/s in float32, "
            f"{self.bfloat16 / 1e9:.0f} in bfloat16; memory {self.memory / 1e9:.1f} GB/s"
        )


@dataclass(frozen=True, slots=True)
class OperationCount:
    """Operations of some work.

    Attributes:
        operations: Floating-point operations of convolutions and matrix products.
        traffic: Bytes that all other operators read and write.
    """

    operations: float
    traffic: float

    def scaled(self, factor: float) -> OperationCount:
        """Multiply both by a factor."""
        return OperationCount(self.operations * factor, self.traffic * factor)


def measure_limits() -> HardwareLimits:
    """Measure this machine with torch's current number of threads."""
    return HardwareLimits(
        float32=_products(torch.float32, _SIDE),
        bfloat16=_products(torch.bfloat16, _SIDE if fast_bfloat16() else _SIDE // 16),
        memory=_copies(),
    )


def count_operations(work: Callable[[], object]) -> OperationCount:
    """Run some work and count its operations.

    Args:
        work: Forward passes, optionally with backward passes.
    """
    with FlopCounterMode(display=False) as counter, _Traffic() as traffic:
        work()
    return OperationCount(float(counter.get_total_flops()), float(traffic.bytes))


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
    """Whether the processor supports bfloat16; its emulation takes minutes for large products."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _products(kind: torch.dtype, side: int) -> float:
    a, b = (torch.randn(side, side).to(kind) for _ in range(2))
    return 2 * side**3 / _best(lambda: torch.mm(a, b))


def _copies() -> float:
    source = torch.ones(_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * _BYTES / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few runs, after a warm-up."""
    work()
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
