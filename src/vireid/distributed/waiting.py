"""How the threads of OpenMP wait for one another."""

from __future__ import annotations

import os

__all__ = ["wait_passively"]

# A user who has set any of them has chosen a policy.
_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_passively() -> None:
    """Let idle OpenMP threads sleep instead of spinning, unless the environment says otherwise.

    A thread that spins at a barrier occupies its core while the thread that it waits for is off the
    CPU. Beside any other busy process that slows a training down several times over.

    Call it before torch is imported: OpenMP reads its environment once, when it is loaded. Child
    processes inherit the setting.
    """
    if not any(name in os.environ for name in _SETTINGS):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
