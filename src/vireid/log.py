"""Messages to the user, on standard error."""

from __future__ import annotations

import sys
from functools import cache

from tqdm import tqdm

__all__ = ["log", "log_once", "printable"]


def log(text: str) -> None:
    """Print a line on standard error without breaking a progress bar.

    In a process group only the main process prints.

    Args:
        text: One line.
    """
    # A process that has not imported torch belongs to no group, and need not wait for the import.
    group = sys.modules.get("torch.distributed")
    if group is None or not group.is_initialized() or group.get_rank() == 0:
        tqdm.write(text, file=sys.stderr)


@cache
def log_once(text: str) -> None:
    """As :func:`log`, but each text once in a process.

    Args:
        text: One line.
    """
    log(text)


def printable(name: str) -> str:
    """Replace characters of a name that a terminal cannot print, or would interpret.

    Args:
        name: Text from outside, such as a file name.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
