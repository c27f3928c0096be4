"""The files of deploy/, as far as they can be tested without Docker and nginx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vireid.app.limits import DEFAULT_LIMITS
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


def test_app_uses_a_model_of_the_image_unless_another_is_named(services: dict[str, Any]) -> None:
    command = services["app"]["command"]
    given = re.fullmatch(r"\$\{VIREID_MODEL:-(.+)\}", command[command.index("--run") + 1])
    assert given is not None
    assert (DEPLOY.parent / "models/src/vireid_models" / given[1] / "model.json").exists()
    assert "/source/models" in (DEPLOY / "Dockerfile").read_text().split("RUN pip")[1]


def test_nginx_passes_on_what_the_app_needs(services: dict[str, Any]) -> None:
    site = (DEPLOY / "nginx.conf").read_text()
    body = re.search(r"client_max_body_size (\d+)m;", site)
    wait = re.search(r"proxy_read_timeout (\d+)s;", site)
    assert body is not None
    assert wait is not None
    assert DEFAULT_LIMITS.bytes <= int(body[1]) * 2**20 < 1.1 * DEFAULT_LIMITS.bytes
    assert int(wait[1]) > DEFAULT_LIMITS.upload_seconds
    assert "proxy_set_header Host $http_host;" in site
    [port] = services["app"]["ports"]
    assert f"proxy_pass http://{port.rpartition(':')[0]};" in site


def test_image_copies_existing_files() -> None:
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            assert all((DEPLOY.parent / name).exists() for name in line.split()[1:-1])
