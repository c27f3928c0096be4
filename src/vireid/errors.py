"""The exceptions of vireid: one root, so that a caller can catch everything with one clause.

    VireidError
    ├── ConfigError        options that contradict one another, or a value out of range
    ├── DatasetError       a data set that is not laid out as published
    │   └── ImageError     one image that cannot be read
    ├── CacheError         a packed image cache that cannot be written
    ├── WeightsError       a weights file that does not fit the network, or is damaged
    ├── RunError           a run folder that is missing, damaged or of another configuration
    ├── TrainingError      training that cannot go on (a loss that is not finite)
    ├── EvaluationError    descriptors or a protocol from which no figure can be computed
    └── GalleryError       a gallery that is missing, damaged, in use, or of another network

Every message quotes the value, says what was expected and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable


class VireidError(Exception):
    """Root of all errors that vireid raises on purpose."""


class ConfigError(VireidError):
    """Options that contradict one another, or a value out of range."""


class DatasetError(VireidError):
    """A data set that is not laid out as published."""


class ImageError(DatasetError):
    """One image that cannot be read; the message names the file."""


class CacheError(VireidError):
    """A packed image cache that cannot be written; images can still be decoded each time."""


class WeightsError(VireidError):
    """A weights file that does not fit the network, or is damaged."""


class RunError(VireidError):
    """A run folder that is missing, damaged, or was made with another configuration."""


class TrainingError(VireidError):
    """Training that cannot go on; the message names the batch and the reason."""


class EvaluationError(VireidError):
    """Descriptors or a protocol from which no figure can be computed."""


class GalleryError(VireidError):
    """A gallery that is missing, damaged, in use, out of reach, or of another network."""


def first_few(names: Iterable[object], *, shown: int = 3) -> str:
    """Return the first names, quoted, and how many there are beyond them."""
    quoted = [f"'{name}'" for name in names]
    rest = len(quoted) - shown
    return ", ".join(quoted[:shown]) + (f" and {rest} more" if rest > 0 else "")
