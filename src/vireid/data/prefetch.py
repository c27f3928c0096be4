"""Preparing the next thing while the present one is being used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prefetch"]

ItemT = TypeVar("ItemT")
MadeT = TypeVar("MadeT")


def prefetch(make: Callable[[ItemT], MadeT], items: Iterable[ItemT]) -> Iterator[MadeT]:
    """Yield what ``make`` makes of each item, in order, one item ahead of who uses it.

    Args:
        make: Called in a thread of its own, for one item at a time.
        items: What to make things of.

    Raises:
        Exception: What ``make`` raises, in place of what it was to make.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="vireid-prefetch") as pool:
        present: Future[MadeT] | None = None
        for item in items:
            following = pool.submit(make, item)
            if present is not None:
                yield present.result()
            present = following
        if present is not None:
            yield present.result()
