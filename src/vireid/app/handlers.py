"""Request handlers: they check uploads, run the service and write the audit log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import HTTPException, UploadFile

from vireid.app.audit import Audit
from vireid.app.models import (
    AddForm,
    AddOutcome,
    AttentionForm,
    AttentionResponse,
    CaseDecisions,
    CaseEdit,
    CaseInfo,
    CaseList,
    CaseRemoval,
    CaseReportForm,
    Deleted,
    DeleteRequest,
    EditRequest,
    EntryInfo,
    EntryList,
    ListQuery,
    NewCase,
    NewNote,
    PeopleForm,
    PeopleResponse,
    ReportForm,
    SearchForm,
    SearchResponse,
)
from vireid.app.service import Service
from vireid.app.uploads import Upload, check_upload, display_name
from vireid.data.file_kind import is_video
from vireid.errors import ReadOnlyError, TooLargeError, UnknownKindError
from vireid.types import id_of

__all__ = ["Handlers"]

_MOST_DETECTING = 4
"""Requests that look for people or wait for that; each holds its upload, of the bytes that all
requests may hold together."""

P = ParamSpec("P")
T = TypeVar("T")


class Handlers:
    """The service with uploads checked and events logged.

    Args:
        service: The service.
        audit: The audit log.

    Attributes:
        service: The service.
    """

    def __init__(self, service: Service, audit: Audit) -> None:
        self.service = service
        self._audit = audit
        self._pool = ThreadPoolExecutor(service.limits.threads, thread_name_prefix="vireid-app")
        self._detection = ThreadPoolExecutor(1, thread_name_prefix="vireid-detection")
        self._detecting = 0

    async def run(self, action: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Run a blocking action in a worker thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(action, *args, **named))

    def search(self, user: str, form: SearchForm) -> SearchResponse:
        """Find the entries most similar to a person, and log the search."""
        uploads = [self._checked(file) for file in form.images]
        response, thumbnails = self.service.search(form, uploads)
        details = {
            "images": len(uploads),
            "entries": [str(id) for id in form.entry],
            "filters": form.given(),
            "limit": form.limit,
            "results": len(response.groups),
        }
        self._audit.write(user, "search", details, thumbnails=thumbnails)
        return response

    async def people(self, user: str, form: PeopleForm) -> PeopleResponse:
        """Find the people of a frame or a video, one request at a time.

        Raises:
            HTTPException: Several wait already.
        """
        if self._detecting >= _MOST_DETECTING:
            raise HTTPException(
                503, "The server is looking for people in other uploads.", {"Retry-After": "3"}
            )
        self._detecting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._detection, self._people, user, form)
        finally:
            self._detecting -= 1

    def _people(self, user: str, form: PeopleForm) -> PeopleResponse:
        data, name = form.file.file.read(), form.file.filename
        upload = (
            Upload(display_name(name), data)
            if is_video(data)
            else check_upload(name, data, self.service.limits, videos=True)
        )
        found = self.service.people(form, upload)
        details = {
            "video": found.video,
            "frames": found.frames,
            "box": form.box,
            "people": len(found.people),
        }
        self._audit.write(user, "people", details)
        return found

    def report(self, user: str, form: ReportForm) -> bytes:
        """Report a search, and log it."""
        uploads = [self._checked(file) for file in form.images]
        page, found, thumbnails = self.service.report(form, uploads, user)
        details = {
            "format": form.format,
            "images": len(uploads),
            "entries": [str(id) for id in form.entry],
            "filters": form.given(),
            "limit": form.limit,
            "results": len(found.groups),
        }
        self._audit.write(user, "report", details, thumbnails=thumbnails)
        return page

    def entries(self, user: str, query: ListQuery) -> EntryList:
        """List entries, and log it: a list by identity or time is a search as well."""
        found = self.service.entries(query)
        details = {
            "filters": query.given(),
            "offset": query.offset,
            "limit": query.limit,
            "results": len(found.entries),
        }
        self._audit.write(user, "list", details)
        return found

    def add(self, user: str, form: AddForm) -> list[AddOutcome]:
        """Add images, with an outcome for each."""
        self._check_write()
        refused: dict[int, AddOutcome] = {}
        uploads = []
        for number, file in enumerate(form.images):
            try:
                uploads.append(self._checked(file))
            except (TooLargeError, UnknownKindError) as error:
                name = display_name(file.filename)
                refused[number] = AddOutcome(name=name, status="refused", detail=str(error))
        requested = [id_of(hashlib.sha256(upload.data).hexdigest()) for upload in uploads]
        with self._audit.change(user, "add", {"requested": requested}) as event:
            added = iter(self.service.add(form, uploads))
            outcomes = [refused.get(n) or next(added) for n in range(len(form.images))]
            event["entries"] = [
                one.entry.id for one in outcomes if one.status == "new" and one.entry
            ]
        return outcomes

    def edit(self, user: str, id: str, request: EditRequest) -> EntryInfo:
        """Change the metadata of an entry; the former values are logged too."""
        self._check_write()
        values = request.model_dump(mode="json", exclude_none=True)
        with self._audit.change(user, "edit", {"entry": id, "values": values}) as event:
            before, after = self.service.edit(id, request)
            former = EntryInfo.model_validate(before).model_dump(mode="json", include=set(values))
            event["former"] = former
        return EntryInfo.model_validate(after)

    def delete(self, user: str, request: DeleteRequest) -> Deleted:
        """Delete entries for good."""
        self._check_write()
        which = request.model_dump(mode="json", include={"ids", "identity"}, exclude_defaults=True)
        with self._audit.change(user, "delete", {"filters": which}) as event:
            count = event["deleted"] = self.service.delete(request)
        return Deleted(deleted=count)

    def cases(self, user: str) -> CaseList:
        """List the cases that the user may read, and log it."""
        found = self.service.cases.read_all(user)
        self._audit.write(user, "case-list", {"cases": len(found.cases)})
        return found

    def case(self, user: str, id: str) -> CaseInfo:
        """A case; that it was read is logged."""
        found = self.service.cases.read(user, id)
        self._audit.write(user, "case-show", {"case": id})
        return found

    def open_case(self, user: str, request: NewCase) -> CaseInfo:
        """Open a case."""
        self._check_write()
        with self._audit.change(user, "case-new", {}) as event:
            found = self.service.cases.create(user, request.name)
            event["case"] = found.case.id
        return found

    def edit_case(self, user: str, id: str, request: CaseEdit) -> CaseInfo:
        """Rename or share a case."""
        self._check_write()
        values = request.model_dump(include={"shared"}, exclude_none=True)
        with self._audit.change(user, "case-edit", {"case": id, **values}):
            return self.service.cases.edit(user, id, request)

    def decide(self, user: str, id: str, form: CaseDecisions) -> CaseInfo:
        """Keep decisions on entries, and their search, in a case."""
        self._check_write()
        uploads = [self._checked(file) for file in form.images]
        details = {
            "case": id,
            "images": len(uploads),
            **form.model_dump(mode="json", include={"entry", "chosen", "rejected"}),
            "filters": form.given(),
        }
        with self._audit.change(user, "case-add", details):
            return self.service.decide(user, id, form, uploads)

    def remove_from_case(self, user: str, id: str, request: CaseRemoval) -> CaseInfo:
        """Remove hits, query images and notes from a case."""
        self._check_write()
        ids = [str(one) for one in request.ids]
        with self._audit.change(user, "case-remove", {"case": id, "removed": ids}):
            return self.service.cases.remove(user, id, ids)

    def note(self, user: str, id: str, request: NewNote) -> CaseInfo:
        """Add a note to a case; the audit log does not hold its text."""
        self._check_write()
        with self._audit.change(user, "case-note", {"case": id}):
            return self.service.cases.note(user, id, request.text)

    def delete_case(self, user: str, id: str) -> Deleted:
        """Delete a case for good."""
        self._check_write()
        with self._audit.change(user, "case-delete", {"case": id}):
            self.service.cases.delete(user, id)
        return Deleted(deleted=1)

    def report_case(self, user: str, id: str, form: CaseReportForm) -> bytes:
        """Report a case, and log it."""
        page, case = self.service.cases.report(user, id, form.format)
        details = {"case": id, "format": form.format, "results": len(case.hits)}
        self._audit.write(user, "case-report", details)
        return page

    def attention(self, form: AttentionForm) -> AttentionResponse:
        """PALM's attention over a query image and a result."""
        upload = None if form.image is None else self._checked(form.image)
        return self.service.attention(form, upload)

    def close(self) -> None:
        """Finish running requests, and close the threads and the audit log."""
        self._pool.shutdown()
        self._detection.shutdown()
        self._audit.close()

    def _checked(self, file: UploadFile) -> Upload:
        return check_upload(file.filename, file.file.read(), self.service.limits)

    def _check_write(self) -> None:
        if self.service.read_only:
            raise ReadOnlyError(
                "This gallery is served read-only; expected `vireid serve` without --read-only to "
                "add, edit or delete entries."
            )
