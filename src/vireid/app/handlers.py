"""Where visitors are served: their uploads are looked at, their wishes done, and written down."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import UploadFile

from vireid.app.audit import Audit
from vireid.app.models import (
    Added,
    AddForm,
    AttentionAnswer,
    AttentionForm,
    EntryPage,
    Forgetting,
    Forgotten,
    PageQuery,
    SearchAnswer,
    SearchForm,
)
from vireid.app.service import Service
from vireid.app.uploads import Picture, checked, name_of
from vireid.errors import ReadOnlyError, TooLargeError, UnknownKindError, VireidError
from vireid.types import id_of

__all__ = ["Handlers"]

P = ParamSpec("P")
T = TypeVar("T")


class Handlers:
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

    def page(self, who: str, asked: PageQuery) -> EntryPage:
        """A part of the list of entries: by identity or time that is a search as well."""
        page = self.service.page(asked)
        details = {
            "filters": asked.given(),
            "offset": asked.offset,
            "limit": asked.limit,
            "results": len(page.entries),
        }
        self._audit.write(who, "list", details)
        return page

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
        asked = {"asked": [id_of(hashlib.sha256(one.data).hexdigest()) for one in pictures]}
        with self._change(who, "add", asked) as event:
            done = iter(self.service.add(told, pictures))
            added = [next(done) if outcome is None else outcome for outcome in outcomes]
            event["entries"] = [one.entry.id for one in added if one.status == "new" and one.entry]
        return added

    def forget(self, who: str, asked: Forgetting) -> Forgotten:
        """Delete entries for good."""
        self._check_write()
        which = asked.model_dump(mode="json", include={"ids", "identity"}, exclude_defaults=True)
        with self._change(who, "forget", {"filters": which}) as event:
            count = event["forgotten"] = self.service.forget(asked)
        return Forgotten(forgotten=count)

    def attention(self, asked: AttentionForm) -> AttentionAnswer:
        """PALM's attention over a query and what was found."""
        picture = None if asked.image is None else self._look_at(asked.image)
        return self.service.attention(asked, picture)

    def close(self) -> None:
        """Finish what is being done, and let go of threads and the audit log."""
        self._pool.shutdown()
        self._audit.close()

    @contextmanager
    def _change(
        self, who: str, action: str, asked: Mapping[str, object]
    ) -> Iterator[dict[str, object]]:
        """Write a change down before it is made, and what became of it, which the block tells.

        A change that cannot be written down is not made; one that a kill interrupts has begun in
        the log and never ended.
        """
        self._audit.write(who, action, {"state": "begun", **asked})
        event = dict(asked)
        try:
            yield event
        except VireidError as error:
            self._audit.write(who, action, {"state": "failed", **asked, "why": str(error)})
            raise
        self._audit.write(who, action, {"state": "done", **event})

    def _look_at(self, upload: UploadFile) -> Picture:
        return checked(upload.filename, upload.file.read(), self.service.limits)

    def _check_write(self) -> None:
        if self.service.read_only:
            raise ReadOnlyError(
                "This gallery is served read-only; expected `vireid serve` without --read-only to "
                "add or forget."
            )
