"""How a gallery on a server is reached."""

from __future__ import annotations

from dataclasses import dataclass

from vireid.errors import ConfigError

__all__ = ["DEFAULT_OPTIONS", "KEY_VARIABLE", "ServerOptions"]

KEY_VARIABLE = "QDRANT_API_KEY"
"""The environment variable that an API key is read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a Qdrant server is reached, and how a new collection is spread over a cluster.

    Attributes:
        api_key: The server's API key; None takes the environment variable QDRANT_API_KEY, so that
            it need not stand in a command. It travels as it is: use https beyond a machine.
        timeout: Seconds until a request that is not answered is given up.
        shard_number: Into how many shards a new collection is cut; None leaves it to the server.
        replication_factor: On how many nodes each shard of a new collection lies.

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
