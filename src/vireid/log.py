"""What commands print: results on standard output, messages on standard error."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache

from tqdm import tqdm

__all__ = ["echo", "json_line", "log", "log_once", "on_stop", "printable"]

# Control characters, line separators, and what changes the direction of text or is invisible,
# except the joiners of scripts and emoji; surrogates stand for bytes that are not UTF-8.
_UNPRINTABLE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff"
)
_IN_NAMES = re.compile(f"[{_UNPRINTABLE}]")
_IN_TEXT = re.compile(f"(?![\n\t])[{_UNPRINTABLE}]")


def echo(text: object = "", *, end: str = "\n") -> None:
    """Print results on standard output.

    Args:
        text: Lines; characters that a terminal would interpret are escaped, see
            :func:`printable`.
        end: What follows them.
    """
    print(_IN_TEXT.sub(_escape, str(text)), end=end)


def log(text: str) -> None:
    """Print a message on standard error without breaking a progress bar.

    In a process group only the main process prints.

    Args:
        text: Usually one line; as for :func:`echo`.
    """
    # A process that has not imported torch belongs to no group, and need not wait for the import.
    group = sys.modules.get("torch.distributed")
    if group is None or not group.is_initialized() or group.get_rank() == 0:
        # A message that cannot be delivered is no reason to stop.
        with contextlib.suppress(OSError):
            tqdm.write(_IN_TEXT.sub(_escape, text), file=sys.stderr)


@cache
def log_once(text: str) -> None:
    """As :func:`log`, but each text once in a process.

    Args:
        text: One line.
    """
    log(text)


def printable(name: str) -> str:
    r"""Escape the characters of a name that a terminal cannot print, or would interpret.

    No control character, line end or change of direction is left: ``\x1b`` stands for Escape,
    ``\udce9`` for the byte E9 in a name that is not UTF-8.

    Args:
        name: Text from outside, such as a file name.
    """
    return _IN_NAMES.sub(_escape, name)


def json_line(value: object) -> str:
    r"""Format a value as JSON without the characters that :func:`printable` escapes.

    Args:
        value: What ``json.dumps`` takes; other characters stay as they are.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _IN_NAMES.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


@contextlib.contextmanager
def on_stop(kept: Callable[[], str], *errors: type[Exception]) -> Iterator[None]:
    """Say what was kept, and how to go on, when a block is interrupted.

    Args:
        kept: Returns the sentence; an empty one says nothing.
        errors: Errors after which the sentence is printed too.

    Raises:
        KeyboardInterrupt: After Ctrl-C, with the sentence as its message.
    """
    try:
        yield
    except errors:
        if text := kept():
            log(text[0].upper() + text[1:])
        raise
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(kept() or str(error)) from None
