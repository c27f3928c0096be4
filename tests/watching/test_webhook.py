"""Signed messages to a web server on the loopback interface."""

from __future__ import annotations

import hashlib
import hmac
import time
from pathlib import Path

import pytest
from tests.watching.receiver import Receiver

from vireid.errors import ConfigError, DeliveryError
from vireid.watching.webhook import VARIABLE, Webhook, read_secret

SECRET = b"a secret of at least 20 characters"


def test_a_message_is_signed() -> None:
    receiver = Receiver()
    with receiver.running() as url:
        Webhook(url, SECRET).send("7", '{"name": "Zoë"}')
    headers, body = receiver.received.get(timeout=60)
    assert body == '{"name": "Zoë"}'.encode()
    stamp = headers["X-Vireid-Timestamp"]
    assert abs(int(stamp) - time.time()) < 600
    expected = hmac.new(SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Vireid-Signature"] == f"sha256={expected}"
    assert headers["X-Vireid-Delivery"] == "7"
    assert headers["Content-Type"] == "application/json"


def test_redirects_are_not_followed() -> None:
    other = Receiver()
    with other.running() as elsewhere:
        for status in (301, 302, 307, 308):
            receiver = Receiver(status, location=elsewhere)
            with (
                receiver.running() as url,
                pytest.raises(DeliveryError, match=f"status {status}: redirects are not followed"),
            ):
                Webhook(url, SECRET).send("7", "{}")
    assert other.received.empty()


def test_what_goes_wrong_is_said_without_the_path() -> None:
    receiver = Receiver(500)
    with receiver.running() as url:
        webhook = Webhook(url, SECRET)
        with pytest.raises(DeliveryError, match=r"^it answers with status 500$"):
            webhook.send("7", "{}")
    with pytest.raises(DeliveryError, match="Connection refused") as error:
        webhook.send("7", "{}")
    assert "very-secret" not in f"{error.value} {webhook.server}"
    assert webhook.server.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "file:///etc/passwd", "host/x", "", "https://user:word@host/", "http://[x/"],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--webhook is no address of a receiver") as error:
        Webhook(url, SECRET)
    assert "user:word" not in str(error.value)


def test_the_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_secret(None, {VARIABLE: SECRET.decode()}) == SECRET
    with pytest.raises(ConfigError, match=f"{VARIABLE} has 0 characters; expected the secret"):
        read_secret(None, {})
    file = tmp_path / "secret"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(file, {})
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o644)
    assert read_secret(file, {}) == SECRET
    assert "other users can read" in capsys.readouterr().err
    file.write_text("short")
    with pytest.raises(ConfigError, match="has 5 characters") as error:
        read_secret(file, {})
    assert "short" not in str(error.value).replace(str(file), "")
