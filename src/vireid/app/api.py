"""The routes of the REST API and of the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Form, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import vireid
from vireid.app.docs import render_docs
from vireid.app.handlers import Handlers
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
    Health,
    Info,
    ListQuery,
    NewCase,
    NewNote,
    PeopleForm,
    PeopleResponse,
    Problem,
    ReportForm,
    SearchForm,
    SearchResponse,
)
from vireid.app.security import Guard
from vireid.app.tokens import Tokens
from vireid.app.uploads import media_type
from vireid.errors import (
    AuditError,
    ChangedError,
    ConfigError,
    DiskFullError,
    ExportError,
    GalleryError,
    ImageError,
    NotOwnerError,
    NotThereError,
    ReadOnlyError,
    TooLargeError,
    UnknownKindError,
    VideoError,
    VireidError,
)

__all__ = ["create_app"]

_STATUS: dict[type[VireidError], int] = {
    AuditError: 503,
    ChangedError: 409,
    ConfigError: 422,
    DiskFullError: 507,
    ExportError: 501,
    GalleryError: 503,
    ImageError: 422,
    NotOwnerError: 403,
    NotThereError: 404,
    ReadOnlyError: 403,
    TooLargeError: 413,
    UnknownKindError: 415,
    VideoError: 422,
    VireidError: 500,
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The body is not a valid form or JSON.",
        401: "The token is missing or wrong.",
        403: "From another site, the gallery is read-only, or the case is somebody else's.",
        404: "The entry or case does not exist, or the model has no PALM.",
        408: "The upload took too long.",
        409: "The number of entries is not the expected one; none was deleted.",
        413: "Too many bytes or pixels.",
        415: "The file is not an image of a format that is read, or a video.",
        421: "The Host header is not a loopback name and the server has no tokens.",
        422: "A value is invalid, or an image or a video is damaged.",
        501: "The packages that decode videos are not installed.",
        503: "Busy (with Retry-After), or the gallery or the audit log is not available.",
        507: "The disk of the gallery is full; searching still works.",
    }.items()
}
_MEDIA = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
_REPORTS = {"html": "text/html", "csv": "text/csv", "json": "application/json"}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


def _handlers(request: Request) -> Handlers:
    handlers: Handlers = request.app.state.handlers
    return handlers


def _user(request: Request) -> str:
    user: str = request.state.user
    return user


HandlersDep = Annotated[Handlers, Depends(_handlers)]
User = Annotated[str, Depends(_user)]
CustomHeader = Annotated[
    str,
    Header(
        alias="X-Vireid",
        pattern="^1$",
        description="Always 1. Pages of other sites cannot send it, which prevents CSRF.",
    ),
]

_MULTIPART = "multipart/form-data"

api = APIRouter(prefix="/api", responses=_PROBLEMS)


@api.get("/info", tags=["gallery"])
async def info(handlers: HandlersDep, user: User) -> Info:
    """The gallery, the model and the upload limits."""
    return await handlers.run(handlers.service.info, user)


@api.post("/search", tags=["search"])
async def search(
    handlers: HandlersDep, user: User, form: Annotated[SearchForm, Form(media_type=_MULTIPART)]
) -> SearchResponse:
    """Find the entries most similar to a person shown in one or more images."""
    return await handlers.run(handlers.search, user, form)


@api.post("/people", tags=["search"])
async def people(
    handlers: HandlersDep, user: User, form: Annotated[PeopleForm, Form(media_type=_MULTIPART)]
) -> PeopleResponse:
    """Find the people in a frame or a short video: their crops are query images of a search."""
    return await handlers.people(user, form)


@api.post("/report", tags=["search"], response_class=Response)
async def report(
    handlers: HandlersDep, user: User, form: Annotated[ReportForm, Form(media_type=_MULTIPART)]
) -> Response:
    """Report a search as a page, CSV or JSON: query, results, timeline, model and who asked."""
    page = await handlers.run(handlers.report, user, form)
    return _file(page, "search", form.format)


@api.post("/attention", tags=["search"])
async def attention(
    handlers: HandlersDep, form: Annotated[AttentionForm, Form(media_type=_MULTIPART)]
) -> AttentionResponse:
    """PALM's attention over a query image and a result."""
    return await handlers.run(handlers.attention, form)


@api.get("/entries", tags=["gallery"])
async def entries(
    handlers: HandlersDep, user: User, form: Annotated[ListQuery, Query()]
) -> EntryList:
    """List entries, ordered by id or by time."""
    return await handlers.run(handlers.entries, user, form)


@api.post("/entries", tags=["gallery"])
async def add(
    handlers: HandlersDep,
    user: User,
    form: Annotated[AddForm, Form(media_type=_MULTIPART)],
    header: CustomHeader,
) -> list[AddOutcome]:
    """Add images; the response lists the outcome of each in their order."""
    return await handlers.run(handlers.add, user, form)


@api.get("/entries/{id}", tags=["gallery"])
async def entry(handlers: HandlersDep, id: UUID) -> EntryInfo:
    """The metadata of an entry."""
    return EntryInfo.model_validate((await handlers.run(handlers.service.entry, str(id))).info)


@api.patch("/entries/{id}", tags=["gallery"])
async def edit(
    handlers: HandlersDep, user: User, id: UUID, request: EditRequest, header: CustomHeader
) -> EntryInfo:
    """Change the metadata of an entry: camera, identity, time, tracklet or note."""
    return await handlers.run(handlers.edit, user, str(id), request)


@api.get("/entries/{id}/thumbnail", tags=["gallery"], response_class=Response, responses=_IMAGE)
async def thumbnail(handlers: HandlersDep, id: UUID) -> Response:
    """The thumbnail of an entry."""
    return _image(*await handlers.run(handlers.service.thumbnail, str(id)))


@api.get("/entries/{id}/image", tags=["gallery"], response_class=Response, responses=_IMAGE)
async def image(handlers: HandlersDep, id: UUID) -> Response:
    """The file of an entry if unchanged, otherwise its thumbnail, as X-Vireid-Source says."""
    return _image(*await handlers.run(handlers.service.image, str(id)))


@api.post("/delete", tags=["gallery"])
async def delete(
    handlers: HandlersDep, user: User, request: DeleteRequest, header: CustomHeader
) -> Deleted:
    """Delete entries for good, with features and thumbnails."""
    return await handlers.run(handlers.delete, user, request)


@api.get("/cases", tags=["cases"])
async def cases(handlers: HandlersDep, user: User) -> CaseList:
    """The cases that you may read: those that you opened, and shared ones."""
    return await handlers.run(handlers.cases, user)


@api.post("/cases", tags=["cases"])
async def open_case(
    handlers: HandlersDep, user: User, request: NewCase, header: CustomHeader
) -> CaseInfo:
    """Open a case."""
    return await handlers.run(handlers.open_case, user, request)


@api.get("/cases/{id}", tags=["cases"])
async def case(handlers: HandlersDep, user: User, id: UUID) -> CaseInfo:
    """A case: its queries, chosen and rejected hits, and notes."""
    return await handlers.run(handlers.case, user, str(id))


@api.patch("/cases/{id}", tags=["cases"])
async def edit_case(
    handlers: HandlersDep, user: User, id: UUID, request: CaseEdit, header: CustomHeader
) -> CaseInfo:
    """Rename or share a case; only who opened it may."""
    return await handlers.run(handlers.edit_case, user, str(id), request)


@api.delete("/cases/{id}", tags=["cases"])
async def delete_case(handlers: HandlersDep, user: User, id: UUID, header: CustomHeader) -> Deleted:
    """Delete a case for good; only who opened it may. The entries stay in the gallery."""
    return await handlers.run(handlers.delete_case, user, str(id))


@api.post("/cases/{id}/hits", tags=["cases"])
async def decide(
    handlers: HandlersDep,
    user: User,
    id: UUID,
    form: Annotated[CaseDecisions, Form(media_type=_MULTIPART)],
    header: CustomHeader,
) -> CaseInfo:
    """Search, and keep the query and decisions on results, with the scores and verdicts found."""
    return await handlers.run(handlers.decide, user, str(id), form)


@api.post("/cases/{id}/remove", tags=["cases"])
async def remove_from_case(
    handlers: HandlersDep, user: User, id: UUID, request: CaseRemoval, header: CustomHeader
) -> CaseInfo:
    """Remove hits, query images and notes from a case."""
    return await handlers.run(handlers.remove_from_case, user, str(id), request)


@api.post("/cases/{id}/notes", tags=["cases"])
async def note(
    handlers: HandlersDep, user: User, id: UUID, request: NewNote, header: CustomHeader
) -> CaseInfo:
    """Add a note to a case."""
    return await handlers.run(handlers.note, user, str(id), request)


@api.post("/cases/{id}/report", tags=["cases"], response_class=Response)
async def report_case(
    handlers: HandlersDep, user: User, id: UUID, form: Annotated[CaseReportForm, Form()]
) -> Response:
    """Report a case as a page, CSV or JSON: queries, hits, timeline, notes, and who asked."""
    page = await handlers.run(handlers.report_case, user, str(id), form)
    return _file(page, "case", form.format)


def create_app(handlers: Handlers, *, tokens: Tokens) -> ASGIApp:
    """The server as an ASGI application, with access control.

    Args:
        handlers: The request handlers.
        tokens: The accepted tokens; if empty, only requests to a loopback name are accepted.
    """
    app = FastAPI(
        title="vireid",
        version=vireid.__version__,
        description="Search a gallery for a person across visible and infrared images.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.handlers = handlers
    app.include_router(api)
    for error in (VireidError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error, _answer)

    @app.get("/health", tags=["server"])
    async def health() -> Health:
        """Health check."""
        return Health()

    # The description of the API holds nothing of the gallery.
    docs = _asset(render_docs(app.openapi()).encode(), _MEDIA["html"])
    app.add_api_route("/api/docs", docs, methods=["GET"], include_in_schema=False)
    open_paths = {"/health", "/api/docs", *_add_page(app)}
    return Guard(app, tokens=tokens, limits=handlers.service.limits, open_paths=open_paths)


def _add_page(app: FastAPI) -> list[str]:
    """Serve the files of the page from memory; return their paths."""
    paths = []
    for file in files("vireid.app").joinpath("page").iterdir():
        media = _MEDIA[file.name.rpartition(".")[2]]
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        answer = _asset(file.read_bytes(), media)
        app.add_api_route(path, answer, methods=["GET"], include_in_schema=False)
        paths.append(path)
    return paths


def _asset(content: bytes, media: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=media, headers={"Cache-Control": "no-cache"})

    return answer


def _file(page: bytes, name: str, format: str) -> Response:
    """A report to save."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format}"'}
    return Response(page, media_type=_REPORTS[format], headers=headers)


def _image(data: bytes, source: str) -> Response:
    return Response(data, media_type=media_type(data), headers={"X-Vireid-Source": source})


async def _answer(request: Request, error: Exception) -> Response:
    """Convert an error to a JSON response."""
    status, detail, headers = 500, "Internal server error; see the server's log.", None
    if isinstance(error, RequestValidationError):
        status, detail = 422, "; ".join(map(_fault, error.errors()))
    elif isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, error.headers
    elif isinstance(error, VireidError):
        known = (kind for kind in type(error).__mro__ if kind in _STATUS)
        status, detail = _STATUS[next(known)], str(error)
    # A request may contain unpaired surrogates, which a response cannot.
    detail = detail[:1000].encode("utf-8", "replace").decode()
    return JSONResponse({"detail": detail}, status, headers)


def _fault(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"][1:])
    return f"{where}: {error['msg']}" if where else str(error["msg"])
