"""The exceptions of vireid: one root, so that a caller can catch everything with one clause.

    VireidError
    ├── ConfigError        options that contradict one another, or a value out of range
    ├── DatasetError       a data set that is not laid out as published
    │   └── ImageError     one image that cannot be read
    │       ├── TooLargeError     an upload with more pixels than are decoded
    │       └── UnknownKindError  an upload that is no picture of a kind that is taken
    ├── VideoError         a video or stream that cannot be read
    ├── CacheError         a packed image cache that cannot be written
    ├── WeightsError       a weights file that does not fit the network, or is damaged
    ├── PluginError        a plugin that is missing, changed or cannot be loaded
    ├── RunError           a run folder that is missing, damaged or of another configuration
    ├── ExportError        a network that cannot be exported, or a damaged or foreign export
    ├── TrainingError      training that cannot go on (a loss that is not finite)
    ├── ProcessError       one of several processes that work together is gone, or differs
    ├── EvaluationError    features or a protocol from which no figure can be computed
    ├── DeliveryError      a message that did not arrive at a webhook
    ├── GalleryError       a gallery that is missing, damaged, in use, or of another network
    │   └── DiskFullError     its disk has too little free space for a change
    └── RequestError       what a visitor asks of the server, and does not get
        ├── AuditError     it could not be written down
        ├── ChangedError   the gallery holds more or fewer of the entries than the visitor was told
        ├── NotOwnerError  only who opened a case may do it
        ├── NotThereError  it is not there, or not any more
        └── ReadOnlyError  the gallery is served read-only

Every message quotes the value, says what was expected and how to fix it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable


class VireidError(Exception):
    """Root of all errors that vireid raises on purpose."""


class ConfigError(VireidError):
    """Options that contradict one another, or a value out of range."""


class DatasetError(VireidError):
    """A data set that is not laid out as published."""


class ImageError(DatasetError):
    """One image that cannot be read; the message names the file."""


class TooLargeError(ImageError):
    """An upload with more pixels than are decoded."""


class UnknownKindError(ImageError):
    """An upload that is no picture of a kind that is taken."""


class VideoError(VireidError):
    """A video or stream that cannot be read; the message names it."""


class CacheError(VireidError):
    """A packed image cache that cannot be written; images can still be decoded each time."""


class WeightsError(VireidError):
    """A weights file that does not fit the network, or is damaged."""


class PluginError(VireidError):
    """A plugin that is missing, was changed, or cannot be loaded."""


class RunError(VireidError):
    """A run folder that is missing, damaged, or was made with another configuration."""


class ExportError(VireidError):
    """A network that cannot be exported, or an export that is missing, damaged or foreign."""


class TrainingError(VireidError):
    """Training that cannot go on; the message names the batch and the reason."""


class ProcessError(VireidError):
    """One of several processes that work together is gone, or has another task than they."""


class EvaluationError(VireidError):
    """Features or a protocol from which no figure can be computed."""


class DeliveryError(VireidError):
    """A message that did not arrive at a webhook; says why, without the address's path."""


class GalleryError(VireidError):
    """A gallery that is missing, damaged, in use, out of reach, or of another network."""


class DiskFullError(GalleryError):
    """Too little free space on the disk of a gallery; nothing was begun."""


class RequestError(VireidError):
    """What a visitor asks of the server, and does not get."""


class AuditError(RequestError):
    """An event that could not be written down, so that its answer must not be given."""


class ChangedError(RequestError):
    """The gallery holds more or fewer of the entries to forget than the visitor was told."""


class NotOwnerError(RequestError):
    """A change of a case that only who opened it may make."""


class NotThereError(RequestError):
    """An entry that the gallery does not hold, or not any more; or what a network cannot do."""


class ReadOnlyError(RequestError):
    """A change to a gallery that is served read-only."""


def fix_of(error: BaseException, otherwise: str) -> str:
    """How to fix an error of the system: its own advice where its cause is not what it hit.

    Args:
        error: The error; one of a library may only name the error of the system in its text.
        otherwise: How to fix any other error.
    """
    known = {
        errno.ENOSPC: "free space on its disk",
        errno.EDQUOT: "free space within your quota",
        errno.EFBIG: "allow larger files (ulimit -f)",
        errno.EACCES: "change its permissions, or choose another folder",
        errno.EPERM: "change its permissions, or choose another folder",
        errno.EROFS: "choose a folder that can be written to",
        errno.EMFILE: "allow more open files (ulimit -n)",
        errno.ENFILE: "close other programs, as the system has too many open files",
    }
    number = error.errno if isinstance(error, OSError) else None
    for code, fix in known.items():
        if code == number or f"(os error {code})" in str(error):
            return fix
    return otherwise


def describe_os_error(error: OSError, unnamed: str) -> str:
    """What could not be read or written, why, and how to fix it.

    Args:
        error: The error.
        unnamed: What it is about where it names no file.
    """
    what = f"'{os.fsdecode(error.filename)}'" if error.filename else unnamed
    fix = fix_of(error, "check the path and its disk")
    return f"{what} cannot be read or written ({error.strerror or error}); {fix}"


def many(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun: ``1 image``, ``2 images``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def first_few(names: Iterable[object], *, shown: int = 3) -> str:
    """Return the first names, quoted, and how many there are beyond them."""
    quoted = [f"'{name}'" for name in names]
    rest = len(quoted) - shown
    return ", ".join(quoted[:shown]) + (f" and {rest} more" if rest > 0 else "")
