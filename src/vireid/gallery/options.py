"""Connection options of a gallery on a server."""

from __future__ import annotations

from dataclasses import dataclass

from vireid.errors import ConfigError

__all__ = [
    "DEFAULT_COLLECTION",
    "DEFAULT_OPTIONS",
    "KEY_VARIABLE",
    "CollectionOptions",
    "ServerOptions",
]

KEY_VARIABLE = "QDRANT_API_KEY"
"""Environment variable of the API key."""


def _check_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(
            f"{name} of a gallery's server is {value}; expected a whole number from 1."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionOptions:
    """Options for a new gallery on a Qdrant server.

    Raises:
        ConfigError: A number is below 1.
    """

    shards: int | None = None
    """Number of shards; the server's default if not given."""
    replicas: int | None = None
    """Number of copies of each shard; the server's default if not given."""

    def __post_init__(self) -> None:
        _check_positive("shards", self.shards)
        _check_positive("replicas", self.replicas)


DEFAULT_COLLECTION = CollectionOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Connection to a Qdrant server, and distribution of a new collection over a cluster.

    Attributes:
        api_key: The server's API key; None reads the environment variable QDRANT_API_KEY, which
            keeps it out of the command line. It is sent unencrypted over http: use https.
        timeout: Seconds until an unanswered request fails.
        collection: Options for a new collection.

    Raises:
        ConfigError: A number is below 1.
    """

    api_key: str | None = None
    timeout: int = 30
    collection: CollectionOptions = DEFAULT_COLLECTION

    def __post_init__(self) -> None:
        _check_positive("timeout", self.timeout)


DEFAULT_OPTIONS = ServerOptions()
