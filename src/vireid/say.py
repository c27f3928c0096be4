"""Telling the user something on standard error."""

from __future__ import annotations

import sys

from tqdm import tqdm

__all__ = ["say"]


def say(text: str) -> None:
    """Print a line on standard error without breaking a progress bar."""
    tqdm.write(text, file=sys.stderr)
