"""The REST interface and the page: typed routes over a :class:`~vireid.app.handlers.Handlers`."""

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
from vireid.app.handlers import Handlers
from vireid.app.models import (
    Added,
    AddForm,
    AttentionAnswer,
    AttentionForm,
    EntryInfo,
    EntryPage,
    Forgetting,
    Forgotten,
    Health,
    Info,
    PageQuery,
    Problem,
    SearchAnswer,
    SearchForm,
)
from vireid.app.security import Guard
from vireid.app.tokens import Tokens
from vireid.app.uploads import kind_of
from vireid.errors import (
    AuditError,
    ChangedError,
    ConfigError,
    GalleryError,
    ImageError,
    NotThereError,
    ReadOnlyError,
    TooLargeError,
    UnknownKindError,
    VireidError,
)

__all__ = ["create_app"]

_STATUS: dict[type[VireidError], int] = {
    AuditError: 503,
    ChangedError: 409,
    ConfigError: 422,
    GalleryError: 503,
    ImageError: 422,
    NotThereError: 404,
    ReadOnlyError: 403,
    TooLargeError: 413,
    UnknownKindError: 415,
    VireidError: 500,
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The body is no form or no JSON.",
        401: "The token is missing or wrong.",
        403: "Another site asked, or the gallery is served read-only.",
        404: "There is no such entry, or the network has no PALM.",
        408: "The upload took too long.",
        409: "More or fewer entries than expected; none was deleted.",
        413: "Too many bytes or pixels.",
        415: "No JPEG, PNG, WebP or BMP picture.",
        421: "Without tokens the server is called by this machine's own names only.",
        422: "A value is out of range, or a picture is damaged.",
        503: "Busy (with Retry-After), or the gallery or the audit log is out of reach.",
    }.items()
}
_MEDIA = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


def _desk(request: Request) -> Handlers:
    desk: Handlers = request.app.state.desk
    return desk


def _who(request: Request) -> str:
    who: str = request.state.who
    return who


At = Annotated[Handlers, Depends(_desk)]
Who = Annotated[str, Depends(_who)]
Own = Annotated[
    str,
    Header(
        alias="X-Vireid",
        pattern="^1$",
        description="Always 1: no other site's page can send it, so that none can change anything.",
    ),
]

_MULTIPART = "multipart/form-data"

api = APIRouter(prefix="/api", responses=_PROBLEMS)


@api.get("/info", tags=["gallery"])
async def info(desk: At, who: Who) -> Info:
    """What is served: the gallery, the network, and what may be uploaded."""
    return await desk.work(desk.service.info, who)


@api.post("/search", tags=["search"])
async def search(
    desk: At, who: Who, asked: Annotated[SearchForm, Form(media_type=_MULTIPART)]
) -> SearchAnswer:
    """Find the entries most similar to a person, from one or several pictures."""
    return await desk.work(desk.search, who, asked)


@api.post("/attention", tags=["search"])
async def attention(
    desk: At, asked: Annotated[AttentionForm, Form(media_type=_MULTIPART)]
) -> AttentionAnswer:
    """Where PALM looks, in a query and in an entry that was found."""
    return await desk.work(desk.attention, asked)


@api.get("/entries", tags=["gallery"])
async def entries(desk: At, who: Who, asked: Annotated[PageQuery, Query()]) -> EntryPage:
    """A part of the list of entries, in the order of their ids."""
    return await desk.work(desk.page, who, asked)


@api.post("/entries", tags=["gallery"])
async def add(
    desk: At, who: Who, told: Annotated[AddForm, Form(media_type=_MULTIPART)], own: Own
) -> list[Added]:
    """Add pictures; what became of each is told in their order."""
    return await desk.work(desk.add, who, told)


@api.get("/entries/{id}", tags=["gallery"])
async def entry(desk: At, id: UUID) -> EntryInfo:
    """What is known of an entry."""
    return EntryInfo.of((await desk.work(desk.service.entry, str(id))).info)


@api.get("/entries/{id}/thumbnail", tags=["gallery"], response_class=Response, responses=_PICTURE)
async def thumbnail(desk: At, id: UUID) -> Response:
    """A small picture of an entry."""
    return _picture(*await desk.work(desk.service.thumbnail, str(id)))


@api.get("/entries/{id}/picture", tags=["gallery"], response_class=Response, responses=_PICTURE)
async def picture(desk: At, id: UUID) -> Response:
    """The file of an entry while it is unchanged, or else its thumbnail; X-Vireid-Source tells."""
    return _picture(*await desk.work(desk.service.picture, str(id)))


@api.post("/forget", tags=["gallery"])
async def forget(desk: At, who: Who, asked: Forgetting, own: Own) -> Forgotten:
    """Delete entries for good, with features and thumbnails."""
    return await desk.work(desk.forget, who, asked)


def create_app(desk: Handlers, *, tokens: Tokens) -> ASGIApp:
    """The whole server as an ASGI application, with everything that guards it.

    Args:
        desk: Where visitors are served.
        tokens: Who may come in; everybody, but only by names of this machine, without any.
    """
    app = FastAPI(
        title="vireid",
        version=vireid.__version__,
        description="Search a gallery for a person across visible and infrared pictures.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.desk = desk
    app.include_router(api)
    for error in (VireidError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error, _answer)

    @app.get("/health", tags=["server"])
    async def health() -> Health:
        """That the server runs."""
        return Health()

    open_paths = {"/health", *_add_page(app)}
    return Guard(app, tokens=tokens, limits=desk.service.limits, open_paths=open_paths)


def _add_page(app: FastAPI) -> list[str]:
    """Serve the page's files, which are held in memory; return their paths."""
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


def _picture(data: bytes, source: str) -> Response:
    return Response(data, media_type=kind_of(data), headers={"X-Vireid-Source": source})


async def _answer(request: Request, error: Exception) -> Response:
    """Every error as JSON with one sentence."""
    status, detail, headers = 500, "The server failed; its log says why.", None
    if isinstance(error, RequestValidationError):
        status, detail = 422, "; ".join(map(_fault, error.errors()))
    elif isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, error.headers
    elif isinstance(error, VireidError):
        known = (kind for kind in type(error).__mro__ if kind in _STATUS)
        status, detail = _STATUS[next(known)], str(error)
    # What a visitor sent may hold halves of surrogate pairs, which no answer can.
    detail = detail[:1000].encode("utf-8", "replace").decode()
    return JSONResponse({"detail": detail}, status, headers)


def _fault(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"][1:])
    return f"{where}: {error['msg']}" if where else str(error["msg"])
