"""Connection options of a gallery on a server."""

from __future__ import annotations

from dataclasses import dataclass

from vireid.errors import ConfigError

__all__ = ["DEFAULT_OPTIONS", "KEY_VARIABLE", "ServerOptions"]

KEY_VARIABLE = "QDRANT_API_KEY"
"""Environment variable of the API key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Connection to a Qdrant server, and distribution of a new collection over a cluster.

    Attributes:
        api_key: The server's API key; None reads the environment variable QDRANT_API_KEY, which
            keeps it out of the command line. It is sent unencrypted over http: use https.
        timeout: Seconds until an unanswered request fails.
        shard_number: Number of shards of a new collection; None is the server's default.
        replication_factor: Number of copies of each shard of a new collection.

    Raises:
        ConfigError: A number is below 1.
    """

    api_key: str | None = None
    timeout: int = 30
    shard_number: int | None = None
    replication_factor: int | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "shard_number", "replication_factor"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(
                    f"{name} of a gallery's server is {value}; expected a whole number from 1."
                )


DEFAULT_OPTIONS = ServerOptions()
