"""The audit log: who searched, added or forgot, when, with which filters, and how much was found.

One line of JSON an event, appended and flushed to the disk before the answer leaves: an answer
whose line cannot be written is not given. A picture is never in it unless that was asked for.
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

__all__ = ["Audit"]


class Audit:
    """An append-only file of events.

    Args:
        file: Where events are appended; made, readable by its owner alone, where it is missing.
        pictures: Also keep small versions of the pictures that were searched with.

    Attributes:
        file: Where events are appended.
        pictures: Whether pictures are kept.

    Raises:
        ConfigError: The file cannot be opened for appending.
    """

    def __init__(self, file: Path, *, pictures: bool = False) -> None:
        self.file = file
        self.pictures = pictures
        self._lock = threading.Lock()
        try:
            self._feature = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"--audit '{file}' cannot be written to ({error.strerror}); expected a file in a "
                "folder that exists and is writable; name another one"
            ) from error

    def write(
        self,
        who: str,
        action: str,
        details: Mapping[str, object],
        *,
        thumbnails: Sequence[bytes] = (),
    ) -> None:
        """Append an event; it is on the disk when this returns.

        Args:
            who: Name of the token, or ``local``.
            action: What was done, such as ``search``.
            details: What is known of it, as JSON takes it.
            thumbnails: Small JPEGs of the pictures; kept only where that was asked for.

        Raises:
            AuditError: The line could not be written whole.
        """
        event = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": who,
            "action": action,
            **details,
        }
        if self.pictures:
            event["pictures"] = [base64.b64encode(jpeg).decode() for jpeg in thumbnails]
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            try:
                written = os.write(self._feature, line)
                if written < len(line):
                    # So that the next event does not continue this line.
                    os.write(self._feature, b"\n")
                    raise OSError(f"only {written} of {len(line)} bytes fitted")
                os.fsync(self._feature)
            except OSError as error:
                raise AuditError(
                    f"the audit log cannot be written ({error}); expected room on its disk; "
                    "nothing is answered until it can be written again"
                ) from error

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._feature)
