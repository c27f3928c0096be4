"""Where visitors are served: their uploads are looked at, their wishes done, and written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import UploadFile

from vireid.app.audit import Audit
from vireid.app.models import (
    Added,
    AddForm,
    AttentionAnswer,
    AttentionForm,
    Forgetting,
    Forgotten,
    SearchAnswer,
    SearchForm,
)
from vireid.app.service import Service
from vireid.app.uploads import Picture, TooLargeError, UnknownKindError, checked, name_of
from vireid.errors import VireidError

__all__ = ["Desk", "ReadOnlyError"]

P = ParamSpec("P")
T = TypeVar("T")


class ReadOnlyError(VireidError):
    """A change to a gallery that is served read-only."""


class Desk:
    """A service for visitors with names.

    Args:
        service: What is done.
        audit: Where it is written down.

    Attributes:
        service: What is done.
    """

    def __init__(self, service: Service, audit: Audit) -> None:
        self.service = service
        self._audit = audit
        self._pool = ThreadPoolExecutor(service.limits.threads, thread_name_prefix="vireid-desk")

    async def work(self, action: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do something that blocks in a thread, so that others are heard meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(action, *args, **named))

    def search(self, who: str, asked: SearchForm) -> SearchAnswer:
        """Find the entries most similar to a person, and write down that it was asked."""
        pictures = [self._look_at(upload) for upload in asked.images]
        answer, thumbnails = self.service.search(asked, pictures)
        details = {
            "images": len(pictures),
            "entries": [str(id) for id in asked.entry],
            "filters": asked.given(),
            "limit": asked.limit,
            "results": sum(map(len, answer.groups)),
        }
        self._audit.write(who, "search", details, thumbnails=thumbnails)
        return answer

    def add(self, who: str, told: AddForm) -> list[Added]:
        """Add pictures; those that are no pictures are told one by one."""
        self._check_write()
        outcomes: list[Added | None] = []
        pictures = []
        for upload in told.images:
            try:
                pictures.append(self._look_at(upload))
                outcomes.append(None)
            except (TooLargeError, UnknownKindError) as error:
                name = name_of(upload.filename)
                outcomes.append(Added(name=name, status="refused", detail=str(error)))
        done = iter(self.service.add(told, pictures))
        added = [next(done) if outcome is None else outcome for outcome in outcomes]
        new = [one.entry.id for one in added if one.status == "new" and one.entry]
        self._audit.write(who, "add", {"entries": new})
        return added

    def forget(self, who: str, asked: Forgetting) -> Forgotten:
        """Delete entries for good."""
        self._check_write()
        count = self.service.forget(asked)
        which = asked.model_dump(mode="json", include={"ids", "identity"}, exclude_defaults=True)
        self._audit.write(who, "forget", {"filters": which, "forgotten": count})
        return Forgotten(forgotten=count)

    def attention(self, asked: AttentionForm) -> AttentionAnswer:
        """PALM's attention over a query and what was found."""
        picture = None if asked.image is None else self._look_at(asked.image)
        return self.service.attention(asked, picture)

    def close(self) -> None:
        """Finish what is being done, and let go of threads and the audit log."""
        self._pool.shutdown()
        self._audit.close()

    def _look_at(self, upload: UploadFile) -> Picture:
        return checked(upload.filename, upload.file.read(), self.service.limits)

    def _check_write(self) -> None:
        if self.service.read_only:
            raise ReadOnlyError(
                "This gallery is served read-only; expected `vireid serve` without --read-only to "
                "add or forget."
            )
