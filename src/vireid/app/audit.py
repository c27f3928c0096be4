"""The audit log of searches, listings, additions, edits and deletions.

Each event is one JSON line, flushed to the disk before the response is sent; if it cannot be
written, the request fails. Images are logged only on request.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from vireid.errors import AuditError, ConfigError
from vireid.times import format_time

__all__ = ["Audit"]


class Audit:
    """An append-only file of events.

    Args:
        file: The log file; created readable by its owner only if it does not exist.
        images: Whether to store thumbnails of query images.

    Attributes:
        file: The log file.
        images: Whether thumbnails are stored.

    Raises:
        ConfigError: The file cannot be opened for appending.
    """

    def __init__(self, file: Path, *, images: bool = False) -> None:
        self.file = file
        self.images = images
        self._lock = threading.Lock()
        try:
            self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"--audit '{file}' cannot be written to ({error.strerror}); expected a file in a "
                "folder that exists and is writable; name another one"
            ) from error

    def write(
        self,
        user: str,
        action: str,
        details: Mapping[str, object],
        *,
        thumbnails: Sequence[bytes] = (),
    ) -> None:
        """Append an event; it is on the disk when this returns.

        Args:
            user: Name of the token, or ``local``.
            action: The action, such as ``search``.
            details: Details of the event as JSON values.
            thumbnails: JPEG thumbnails of the query images; stored only if enabled.

        Raises:
            AuditError: The line could not be written completely.
        """
        event = {
            "time": format_time(datetime.now(UTC)),
            "user": user,
            "action": action,
            **details,
        }
        if self.images:
            event["thumbnails"] = [base64.b64encode(jpeg).decode() for jpeg in thumbnails]
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            try:
                written = os.write(self._descriptor, line)
                if written < len(line):
                    # So that the next event begins on a new line.
                    os.write(self._descriptor, b"\n")
                    raise OSError(f"only {written} of {len(line)} bytes were written")
                os.fsync(self._descriptor)
            except OSError as error:
                raise AuditError(
                    f"the audit log cannot be written ({error}); expected free space on its disk; "
                    "requests fail until it can be written again"
                ) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
