"""How much a visitor may ask of the server at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vireid.errors import ConfigError

__all__ = ["DEFAULT_LIMITS", "PICTURES", "Limits"]

PICTURES = 8
"""The most pictures in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a visitor may ask of the server at once."""

    megabytes: float = 10.0
    """The most that one request may upload, in millions of bytes."""
    megapixels: float = 25.0
    """The largest picture, in millions of pixels; read from its header before it is decoded."""
    upload_seconds: float = 30.0
    """How long a request may take to arrive."""
    queue: int = 64
    """How many requests may be in work or waiting; others are asked to come again (503)."""
    threads: int = 2
    """Threads that answer requests; the network serves one of them at a time."""

    def __post_init__(self) -> None:
        if not all(
            0 < most < math.inf for most in (self.megabytes, self.megapixels, self.upload_seconds)
        ):
            raise ConfigError(
                f"--megabytes {self.megabytes}, --megapixels {self.megapixels} or --upload-seconds "
                f"{self.upload_seconds} is out of range; expected a number above 0"
            )
        if min(self.queue, self.threads) < 1:
            raise ConfigError(
                f"--queue {self.queue} or --threads {self.threads} is out of range; "
                "expected at least 1"
            )

    @property
    def bytes(self) -> int:
        """The most bytes in the body of one request."""
        return int(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        """The most pixels in one picture."""
        return int(self.megapixels * 1e6)


DEFAULT_LIMITS = Limits()
