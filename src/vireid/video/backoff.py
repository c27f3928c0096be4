"""Attempts that are repeated until they succeed: the waits between them, and what is logged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta

from vireid.log import log, printable

__all__ = ["Backoff"]

_SHORTEST = 0.5
_QUIET = 60.0
_LONGEST_QUIET = 3_600.0
_REASONS = 4
"""Reasons that are logged at once."""


class Backoff:
    """Doubles the waits between failed attempts, and logs failures at growing intervals.

    The first failure is logged at once, and so are a few other reasons; what follows is logged
    after a minute and then at intervals that double up to an hour. They start anew once nothing has
    failed for such an interval, so that what fails and succeeds in turn does not fill a log either.

    Args:
        longest: Seconds between two attempts, at most.
        clock: Returns the current second.
    """

    def __init__(
        self, longest: float = 60.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest, self._clock = longest, clock
        self._wait, self._quiet, self._due = 0.0, _QUIET, -math.inf
        self._since: float | None = None  # when it began to fail; None while it works
        self._worked, self._first, self._failures = -math.inf, 0.0, 0
        self._reasons: set[str] = set()
        self._logged = False

    def failed(self, reason: str) -> float:
        """Log a failure, unless one was logged recently.

        Args:
            reason: A sentence.

        Returns:
            Seconds to wait before the next attempt.
        """
        now, reason = self._clock(), reason.rstrip(".")
        if self._since is None:
            self._since, self._logged = now, False
            if now - self._worked > self._quiet:
                self._first, self._failures, self._reasons = now, 0, set()
                self._quiet, self._due = _QUIET, now
        self._failures += 1
        due = now >= self._due
        if due or (reason not in self._reasons and len(self._reasons) < _REASONS):
            often = (
                f"It has failed {self._failures:,} times in {_duration(now - self._first)}. "
                if self._failures > 1
                else ""
            )
            log(printable(f"{reason}. {often}It is tried again until it works."))
            self._reasons.add(reason)
            self._logged = True
        if due:
            self._due, self._quiet = now + self._quiet, min(2 * self._quiet, _LONGEST_QUIET)
        self._wait = min(max(_SHORTEST, 2 * self._wait), self._longest)
        return self._wait

    def succeeded(self, text: str) -> None:
        """Log that it works again, and after how long, if its failure was logged.

        Args:
            text: A sentence without its full stop.
        """
        if self._since is None:
            return
        self._worked = self._clock()
        if self._logged:
            log(printable(f"{text} after {_duration(self._worked - self._since)}."))
        self._since, self._wait = None, 0.0


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
