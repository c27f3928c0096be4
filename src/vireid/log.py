"""Telling the user something on standard error."""

from __future__ import annotations

import sys

from tqdm import tqdm

__all__ = ["log", "printable"]


def log(text: str) -> None:
    """Print a line on standard error without breaking a progress bar.

    Of several processes that work together only the first one speaks.
    """
    if sys.modules.get("torch") is not None:  # without torch, this is the only process
        from vireid.distributed.comm import is_main_process

        if not is_main_process():
            return
    tqdm.write(text, file=sys.stderr)


def printable(name: str) -> str:
    """A name without what a terminal cannot print, or would obey.

    Args:
        name: What somebody else called something.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
