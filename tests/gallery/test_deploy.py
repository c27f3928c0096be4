"""The compose file, as far as it can be tested without Docker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vireid.gallery._connection import MIN_VERSION, open_client
from vireid.gallery.options import KEY_VARIABLE, ServerOptions

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def test_app_finds_the_server(services: dict[str, Any]) -> None:
    verb, place, *_ = services["app"]["command"]
    client, url, collection = open_client(place, ServerOptions())
    client.close()
    assert (verb, url, collection) == ("serve", "http://qdrant:6333", "gallery")
    assert url.split("/")[2].split(":")[0] in services


def test_server_is_recent_enough(services: dict[str, Any]) -> None:
    version = re.fullmatch(r"qdrant/qdrant:v(\d+)\.(\d+)\.\d+", services["qdrant"]["image"])
    assert version is not None
    assert tuple(map(int, version.groups())) >= MIN_VERSION


def test_both_share_a_required_key(services: dict[str, Any]) -> None:
    server = services["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"]
    assert server == services["app"]["environment"][KEY_VARIABLE]
    for value in (server, services["app"]["environment"]["VIREID_TOKENS"]):
        assert re.fullmatch(r"\$\{\w+:\?.+\}", value)


def test_only_this_machine_is_served(services: dict[str, Any]) -> None:
    assert "ports" not in services["qdrant"]
    assert all(port.startswith("127.0.0.1:") for port in services["app"]["ports"])


def test_image_copies_existing_files() -> None:
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            assert all((DEPLOY.parent / name).exists() for name in line.split()[1:-1])
