"""The packages that exporting and exports need, imported when they are used.

openvino and nncf bring openvino-telemetry, which reports each import and conversion to its makers
unless the user has refused, and waits for its answer where there is no network. Nothing here does:
in a process where vireid imports them first, openvino-telemetry cannot be imported, which both
packages allow for; where it is there already, its messages are dropped.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

from vireid.errors import ExportError

__all__ = ["package", "quiet", "require_packages"]

_TELEMETRY = "openvino_telemetry"


def require_packages(*names: str, purpose: str) -> None:
    """Refuse to begin what would end for want of a package.

    Args:
        names: The packages.
        purpose: What they are needed for, as the subject of a sentence.

    Raises:
        ExportError: One of them is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{purpose} needs the packages {', '.join(names)}, and {' and '.join(missing)} cannot"
            " be found; install them with `pip install 'vireid[export]'`."
        )


def package(name: str) -> Any:
    """Import one of these packages, without its messages and without telemetry.

    Args:
        name: The name to import it by.

    Raises:
        ExportError: It is not installed.
    """
    require_packages(name.partition(".")[0], purpose=f"'{name}'")
    _silence_telemetry()
    with quiet():
        return importlib.import_module(name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what other packages print, log and warn of from the user.

    Their errors are raised all the same.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
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
        # Python's own mark of a module that cannot be imported.
        sys.modules[_TELEMETRY] = cast(ModuleType, None)
    else:
        sender: Any = sys.modules[f"{_TELEMETRY}.utils.sender"]
        sender.TelemetrySender.send = _drop


def _drop(*args: object) -> None:
    """Stand for the method that would send a message."""
