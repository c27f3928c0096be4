"""Somebody who asks a server in the same process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
from tests.app.people import BEN, TOKEN
from tests.helpers.videos import BrightBoxes

from vireid.app.api import create_app
from vireid.app.audit import Audit
from vireid.app.handlers import Handlers
from vireid.app.limits import Limits
from vireid.app.service import Service
from vireid.app.tokens import Tokens
from vireid.features import FeatureExtractor
from vireid.gallery import Gallery

OWN = {"X-Vireid": "1"}
Files = list[tuple[str, tuple[str, bytes]]]


class Visitor:
    """Somebody who asks a server in this process."""

    def __init__(
        self,
        gallery: Gallery,
        extractor: FeatureExtractor,
        log: Path,
        *,
        read_only: bool = False,
        images: bool = False,
    ) -> None:
        self.gallery = gallery
        self.log = log
        limits = Limits(megabytes=1)
        service = Service(
            gallery,
            extractor,
            name="people",
            limits=limits,
            read_only=read_only,
            detector=BrightBoxes(),
        )
        self.handlers = Handlers(service, Audit(log, images=images))
        self._app = create_app(self.handlers, tokens=Tokens({"ada": TOKEN, "ben": BEN}))

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def asking() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                headers = {"Authorization": f"Bearer {TOKEN}"} | given.pop("headers", {})
                return await client.request(method, path, headers=headers, **given)

        return asyncio.run(asking())

    def get(self, path: str, **query: Any) -> Any:
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def search(self, *data: bytes, **form: Any) -> Any:
        answer = self.ask("POST", "/api/search", files=images(*data), data=form)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, method: str, path: str, **given: Any) -> tuple[int, str]:
        answer = self.ask(method, path, **given)
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"detail"}
        return answer.status_code, answer.json()["detail"]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def images(*data: bytes, name: str = "me.png") -> Files:
    return [("images", (name, one)) for one in data]


def names(answer: Any) -> list[str]:
    return [found["entry"]["name"] for group in answer["groups"] for found in group]
