"""Limits on requests to the server."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vireid.errors import ConfigError

__all__ = ["DEFAULT_LIMITS", "MAX_IMAGES", "Limits"]

MAX_IMAGES = 8
"""Maximum number of images per request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on requests to the server."""

    megabytes: float = 10.0
    """Maximum size of an upload, in MB (10^6 bytes)."""
    megapixels: float = 25.0
    """Maximum image size in megapixels; checked in the header before decoding."""
    upload_seconds: float = 30.0
    """Maximum time to receive a request, in seconds."""
    video_seconds: float = 60.0
    """Seconds of an uploaded video in which people are looked for."""
    detect_seconds: float = 60.0
    """Maximum time for that; what was found by then is shown."""
    queue: int = 64
    """Maximum number of requests in progress or waiting; others get status 503. With tokens each
    name gets half of them."""
    threads: int = 2
    """Number of worker threads; inference runs in one of them at a time."""

    def __post_init__(self) -> None:
        sizes = ("megabytes", "megapixels", "upload_seconds", "video_seconds", "detect_seconds")
        for name in sizes:
            if not 0 < (value := getattr(self, name)) < math.inf:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} {value} is out of range; expected a number above 0")
        if min(self.queue, self.threads) < 1:
            raise ConfigError(
                f"--queue {self.queue} or --threads {self.threads} is out of range; "
                "expected at least 1"
            )

    @property
    def bytes(self) -> int:
        """Maximum number of bytes in the body of a request."""
        return int(self.megabytes * 1e6)

    @property
    def bodies(self) -> int:
        """Maximum number of bytes in the bodies of all requests at once."""
        return self.bytes * max(1, self.queue // 4)

    @property
    def pixels(self) -> int:
        """Maximum number of pixels in an image."""
        return int(self.megapixels * 1e6)


DEFAULT_LIMITS = Limits()
