"""A summary of the machine, and measurements in fresh processes."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar, TypeVarTuple

__all__ = ["in_fresh_process", "machine_summary"]


Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


def machine_summary(*others: str) -> str:
    """Processor, memory and versions in one line.

    Args:
        others: Further packages to list.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("numpy", "torch", "vireid", *others)
    )
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {packages}"
    )


def in_fresh_process(
    work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> tuple[Result, float]:
    """Run a function in a new process.

    Args:
        work: The function; the function, its arguments and its result must be picklable.
        arguments: Its arguments.

    Returns:
        Its result, and the peak memory of the process, in GiB.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(work, *arguments).result()
        peak = pool.submit(_peak).result()
    return result, peak


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
