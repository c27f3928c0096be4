"""The command line as text, for reports."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

__all__ = ["command_line"]


def command_line() -> str:
    """The command that runs this process; empty if it is not ``vireid``."""
    name, *words = sys.argv
    path = Path(name)
    if "vireid" not in (path.name, path.parent.name):
        return ""
    return shlex.join(["vireid", *words])
