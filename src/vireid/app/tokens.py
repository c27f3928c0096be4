"""Access tokens with names, from a file or the environment.

They are never read from the command line, which every user of the machine can see.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from vireid.errors import ConfigError, many
from vireid.files import read_secrets

__all__ = ["LOCAL", "VARIABLE", "Tokens"]

VARIABLE = "VIREID_TOKENS"
"""The environment variable that tokens are read from."""

LOCAL = "local"
"""Name of everybody who asks a server without tokens."""

_SHORTEST = 20
_NAME = re.compile(r"[\w.@-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_FIX = (
    "expected a name and a token, separated by a space; create a token with "
    '`python3 -c "import secrets; print(secrets.token_urlsafe(32))"`'
)


class Tokens:
    """Tokens by name; only their digests are kept.

    Args:
        secrets: The token of each name.

    Raises:
        ConfigError: A name or a token is malformed, a token is short, or two are equal.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._digests = {name: _digest(secret) for name, secret in secrets.items()}
        for name, secret in secrets.items():
            # Even a malformed token must not reach a terminal or a log.
            if not _NAME.fullmatch(name) or not _TOKEN.fullmatch(secret):
                raise ConfigError(f"the token named '{name}' is malformed; {_FIX}")
            if name == LOCAL:
                raise ConfigError(
                    f"a token is named '{LOCAL}', as everybody is called on a server without"
                    " tokens; expected another name, which the audit log can tell apart"
                )
            if len(secret) < _SHORTEST:
                raise ConfigError(
                    f"the token named '{name}' has {many(len(secret), 'character')}; expected at"
                    f" least {_SHORTEST}, so that it cannot be guessed; {_FIX}"
                )
        if len(set(self._digests.values())) < len(secrets):
            raise ConfigError(
                f"two of the names {', '.join(secrets)} have the same token; expected a token for "
                "each name, so that the audit log can tell them apart; make another one"
            )

    @classmethod
    def read(cls, file: Path | None, environment: Mapping[str, str]) -> Self:
        """Read tokens from a file, or else from the environment variable.

        Args:
            file: One name and token per line; empty lines and lines that begin with # are ignored.
            environment: Holds ``VIREID_TOKENS`` in the same form, separated by lines or commas.

        Raises:
            ConfigError: The file cannot be read, holds no token, or a line is malformed.
        """
        if file is None:
            return cls(_parse(environment.get(VARIABLE, ""), source=VARIABLE))
        text = read_secrets(file, flag="--token-file", expected="one name and token per line")
        found = cls(_parse(text, source=f"--token-file '{file}'"))
        if not found:
            raise ConfigError(f"--token-file '{file}' holds no token; {_FIX}")
        return found

    def __bool__(self) -> bool:
        return bool(self._digests)

    def user_of(self, presented: str) -> str | None:
        """Look up the name of a token in constant time.

        Args:
            presented: The token of a request.

        Returns:
            Its name; None if it is unknown.
        """
        digest = _digest(presented)
        found = None
        for name, own in self._digests.items():
            if hmac.compare_digest(own, digest):
                found = name
        return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _parse(text: str, *, source: str) -> dict[str, str]:
    secrets: dict[str, str] = {}
    lines = (line.strip() for line in re.split(r"[\n,]", text) if not line.lstrip().startswith("#"))
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        words = line.split()
        if len(words) != 2:
            raise ConfigError(f"{source} has {many(len(words), 'word')} in token {number}; {_FIX}")
        if words[0] in secrets:
            raise ConfigError(
                f"{source} names '{words[0]}' twice; expected each name once; take one of them out"
            )
        secrets[words[0]] = words[1]
    return secrets
