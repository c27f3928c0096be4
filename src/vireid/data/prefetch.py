"""Preparing the next item in a thread while the current one is in use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prefetch", "prefetch_each"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def prefetch(make: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
    """Yield ``make(item)`` for each item, in order, one item ahead of the consumer.

    Args:
        make: Called in a thread, for one item at a time.
        items: The items.

    Raises:
        Exception: What ``make`` raises, in place of its result.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="vireid-prefetch") as pool:
        current: Future[ResultT] | None = None
        for item in items:
            following = pool.submit(make, item)
            if current is not None:
                yield current.result()
            current = following
        if current is not None:
            yield current.result()


def prefetch_each(
    make: Callable[[ItemT], ResultT], batches: Iterable[Sequence[ItemT]]
) -> Iterator[list[ResultT]]:
    """Yield the results of ``make`` for each item of a batch, one batch ahead of the consumer.

    Args:
        make: Called in several threads, one per processor, at most 8.
        batches: The batches of items.

    Raises:
        Exception: What ``make`` raises for the first item that fails.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "vireid-images") as pool:
        yield from prefetch(lambda batch: list(pool.map(make, batch)), batches)
