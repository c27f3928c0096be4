"""The audit log of searches, listings, changes, deletions and cases.

Each event is one JSON line, flushed to the disk before the response is sent; if it cannot be
written, the request fails. Part of a line, which a full disk or a kill leaves, belongs to no
request that was answered; it is removed. Images are logged only on request.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from vireid.errors import AuditError, ConfigError, VireidError, many
from vireid.log import json_line, log
from vireid.times import format_time

__all__ = ["Audit"]

BLOCK = 4_096
"""Bytes that are read at once when the last line end is searched for."""


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
            self._descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
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
        line = json_line(event).encode() + b"\n"
        with self._lock:
            try:
                with self._exclusive():
                    self._append(line)
            except OSError as error:
                raise AuditError(
                    f"the audit log cannot be written ({error}); expected free space on its disk; "
                    "requests fail until it can be written again"
                ) from error

    @contextlib.contextmanager
    def change(
        self, user: str, action: str, details: Mapping[str, object]
    ) -> Iterator[dict[str, object]]:
        """Log a change before it is made, and its outcome, to which the block may add.

        A change that cannot be logged is not made. An interrupted one is logged as begun only.

        Args:
            user: As in :meth:`write`.
            action: As there.
            details: As there.
        """
        self.write(user, action, {"state": "begun", **details})
        event = dict(details)
        try:
            yield event
        except VireidError as error:
            self.write(user, action, {"state": "failed", **details, "error": str(error)})
            raise
        self.write(user, action, {"state": "done", **event})

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes with the same log from writing."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _append(self, line: bytes) -> None:
        if self._cut_off_part():
            # It could not be removed from an append-only file.
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        if written < len(line):
            self._cut_off_part()
            raise OSError(f"only {written} of {len(line)} bytes were written")
        os.fsync(self._descriptor)

    def _cut_off_part(self) -> bool:
        """Remove what follows the last line end; whether something is still there."""
        size = end = os.fstat(self._descriptor).st_size
        while end:
            start = max(0, end - BLOCK)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end == size:
            return False
        try:
            os.ftruncate(self._descriptor, end)
        except PermissionError:
            return True
        log(f"'{self.file}': {many(size - end, 'byte')} of an unfinished event were removed.")
        return False

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
