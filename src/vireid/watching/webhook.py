"""Signed messages to a web server: one POST of JSON for each match.

The headers are ``X-Vireid-Delivery``, an id that is the same at each attempt;
``X-Vireid-Timestamp``, the seconds since 1970; and ``X-Vireid-Signature``, ``sha256=`` and the
hexadecimal HMAC-SHA256 of the timestamp, a full stop and the body, with the secret as key.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vireid.errors import ConfigError, DeliveryError, many
from vireid.files import read_secrets

__all__ = ["VARIABLE", "Webhook", "read_secret", "sign"]

VARIABLE = "VIREID_WEBHOOK_SECRET"
"""The environment variable of the secret."""

_SHORTEST = 20


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of the header ``X-Vireid-Signature``."""
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def read_secret(file: Path | None, environment: Mapping[str, str]) -> bytes:
    """Read the secret from a file, or else from the environment.

    Raises:
        ConfigError: There is none, or it is short.
    """
    if file is None:
        text, source = environment.get(VARIABLE, ""), VARIABLE
    else:
        source = f"--secret-file '{file}'"
        text = read_secrets(file, flag="--secret-file", expected="the secret")
    if len(text.strip()) < _SHORTEST:
        raise ConfigError(
            f"{source} has {many(len(text.strip()), 'character')}; expected the secret that signs"
            f" messages to --webhook, of at least {_SHORTEST}; create one with"
            ' `python3 -c "import secrets; print(secrets.token_urlsafe(32))"`.'
        )
    return text.strip().encode()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow none: a signed message is for the given server alone."""


class Webhook:
    """A receiver of messages.

    Args:
        url: Its address, http or https, without a user or password.
        secret: Signs the messages.
        timeout: Seconds to wait for an answer.

    Attributes:
        server: Scheme, host and port, for messages: paths of addresses may be secret.

    Raises:
        ConfigError: The address is another one.
    """

    def __init__(self, url: str, secret: bytes, *, timeout: float = 10.0) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise ConfigError(
                f"--webhook is no address of a receiver (its scheme is '{parts.scheme}'); expected"
                " http(s)://HOST/PATH without a user or password, as messages are signed."
            )
        self.server = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        self._url, self._secret, self._timeout = url, secret, timeout
        self._opener = urllib.request.build_opener(_NoRedirects)

    def send(self, id: str, body: str) -> None:
        """Send a message once.

        Args:
            id: Its id.
            body: The JSON.

        Raises:
            DeliveryError: The receiver did not answer with a status of 200 to 299.
        """
        timestamp = str(int(time.time()))
        request = urllib.request.Request(
            self._url,
            data=body.encode(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": "vireid",
                "X-Vireid-Delivery": id,
                "X-Vireid-Timestamp": timestamp,
                "X-Vireid-Signature": sign(self._secret, timestamp, body.encode()),
            },
        )
        try:
            self._opener.open(request, timeout=self._timeout).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise DeliveryError(
                f"it answers with status {error.code}"
                + (": redirects are not followed" if 300 <= error.code < 400 else "")
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise DeliveryError(f"{type(reason).__name__}: {reason}") from error
