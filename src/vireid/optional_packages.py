"""Lazy imports of optional packages, without telemetry.

openvino and nncf depend on openvino-telemetry, which reports each import and conversion to its
vendor unless the user has opted out, and waits for an answer where there is no network. If vireid
imports them first, openvino-telemetry is made unavailable, which both packages support; if it is
loaded already, its messages are dropped.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TextIO, cast

from vireid.errors import ExportError

__all__ = ["package", "quiet", "require_packages"]

_TELEMETRY = "openvino_telemetry"
_LOCK = threading.RLock()
"""Two threads that replaced the standard output by turns would not restore it."""


def require_packages(*names: str, purpose: str, extra: str = "export") -> None:
    """Fail early if a package is missing.

    Args:
        names: The packages.
        purpose: What needs them, as the subject of a sentence.
        extra: The extra of vireid that installs them.

    Raises:
        ExportError: One of them is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{purpose} needs the packages {', '.join(names)}, but {' and '.join(missing)} cannot"
            f" be found; install them with `pip install 'vireid[{extra}]'`."
        )


def package(name: str, *, extra: str = "export") -> Any:
    """Import a package without its messages and without telemetry.

    Args:
        name: The name of the package or module.
        extra: The extra of vireid that installs it.

    Raises:
        ExportError: It is not installed.
    """
    _silence_telemetry()
    if sys.modules.get(name):
        return importlib.import_module(name)
    require_packages(name.partition(".")[0], purpose=f"'{name}'", extra=extra)
    with quiet():
        return importlib.import_module(name)


class _Muted(io.StringIO):
    """A stream that drops what this thread writes; other threads still write."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str, /) -> int:
        own = threading.get_ident() == self._thread
        return len(text) if own else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what other packages print, log and warn about; errors are still raised."""
    with (
        _LOCK,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(_Muted(sys.stdout)),
        contextlib.redirect_stderr(_Muted(sys.stderr)),
        _logging_only_errors(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _logging_only_errors() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


def _silence_telemetry() -> None:
    if sys.modules.get(_TELEMETRY) is None:
        # Python's marker of a module that cannot be imported.
        sys.modules[_TELEMETRY] = cast(ModuleType, None)
    else:
        sender: Any = sys.modules[f"{_TELEMETRY}.utils.sender"]
        sender.TelemetrySender.send = _drop


def _drop(*args: object) -> None:
    """Replace the method that sends a message."""
