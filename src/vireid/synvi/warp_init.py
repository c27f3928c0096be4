"""Starts warp without its banner, its module messages and its note about a missing GPU."""

from __future__ import annotations

import os
import sys
from typing import Any

import warp

__all__ = ["start"]


def start() -> None:
    """Initialise warp; must run before anything else initialises it."""
    config: Any = warp.config
    config.log_level = getattr(warp, "LOG_ERROR", 40)
    config.quiet = True  # the older name of the same option
    # Without an NVIDIA driver warp's C code writes a warning straight to file descriptor 2, which
    # would tear the progress bar; we only ever use the CPU.
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        initialise: Any = warp.init
        initialise()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
