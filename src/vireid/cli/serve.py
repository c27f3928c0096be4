"""``vireid serve GALLERY``: a web page and a REST API for a gallery."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated

import tyro

from vireid.app.audit import Audit
from vireid.app.limits import DEFAULT_LIMITS, Limits
from vireid.app.tokens import Tokens
from vireid.cli._flags import Switch
from vireid.cli._images import load_for_gallery
from vireid.cli.entries import name_of, place_beside
from vireid.errors import ConfigError, many
from vireid.gallery import open_gallery
from vireid.log import echo, log
from vireid.types import Device
from vireid.video.detectors import load_detector
from vireid.video.scenes import default_detector

__all__ = ["Logging", "QueryLogging", "serve"]


@dataclass(frozen=True, kw_only=True)
class Logging:
    """The audit log."""

    audit: Path | None = None
    """File of the audit log, one JSON line per search, addition and deletion; by default
    GALLERY.audit.jsonl in the folder that contains the gallery."""

    def open(self, gallery: str) -> Audit:
        """Open the audit log of a gallery.

        Raises:
            ConfigError: It cannot be written to.
        """
        return _audit_of(gallery, self.audit)


@dataclass(frozen=True, kw_only=True)
class QueryLogging(Logging):
    """The audit log of a command with query images."""

    audit_images: Switch = False
    """Store thumbnails of query images in the audit log. The page discloses this to users."""

    def open(self, gallery: str) -> Audit:
        """As :meth:`Logging.open`."""
        return _audit_of(gallery, self.audit, images=self.audit_images)


def _audit_of(gallery: str, file: Path | None, *, images: bool = False) -> Audit:
    return Audit(file or place_beside(gallery, ".audit.jsonl"), images=images)


def serve(
    gallery: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")],
    /,
    *,
    run: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8350,
    token_file: Path | None = None,
    read_only: Switch = False,
    create: Switch = False,
    detector: str = "",
    logging: QueryLogging = QueryLogging(),
    limits: Limits = DEFAULT_LIMITS,
    device: Device | None = None,
) -> None:
    """Serve a gallery as a web page and a REST API.

    Runs until Ctrl-C or SIGTERM. Without tokens the server accepts connections from this machine
    only. With tokens every request needs one. Tokens are read from --token-file or the environment
    variable VIREID_TOKENS, one name and token per line. They are sent unencrypted: outside a
    trusted network, use a reverse proxy with TLS.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        run: Run folder or name of the gallery's model; may be omitted if it is an installed model,
            or with --create for the default model (`vireid models`).
        host: Address to listen on; any other than loopback requires tokens.
        port: Port to listen on; 0 selects a free one.
        token_file: File with one name and token per line, separated by a space.
        read_only: Disable adding and deleting entries through this server.
        create: Create the gallery if it does not exist.
        detector: Finds people in the frames and videos of queries, as for `vireid detect`; the
            installed one by default.
        logging: The audit log.
        limits: Limits on requests.
        device: Device; the one used for training by default.
    """
    _require_packages()
    # Imported here because no other command needs them.
    from vireid.app.api import create_app
    from vireid.app.handlers import Handlers
    from vireid.app.security import is_loopback
    from vireid.app.server import create_server, listen, url_of
    from vireid.app.service import Service

    if create and read_only:
        raise ConfigError(
            "--create makes an empty gallery, to which nothing can be added with --read-only;"
            " expected one of them; leave out the other."
        )
    tokens = Tokens.read(token_file, os.environ)
    with contextlib.ExitStack() as closing:
        closing.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _end))
        listening = closing.enter_context(listen(host, port, tokens=tokens))
        extractor = load_for_gallery(run, gallery, device=device, create=create)
        opened = closing.enter_context(
            open_gallery(
                gallery,
                model=extractor.model_info,
                write=not read_only,
                create=create,
                turns=True,
            )
        )
        service = Service(
            opened,
            extractor,
            name=name_of(gallery),
            limits=limits,
            read_only=read_only,
            audit_images=logging.audit_images,
            detector=load_detector(detector) if detector else default_detector(),
        )
        handlers = Handlers(service, logging.open(gallery))
        closing.callback(handlers.close)
        entries = many(opened.count(), "entry", "entries")
        echo(f"Serving {entries} at {url_of(listening)} (stop with Ctrl-C)")
        sys.stdout.flush()
        if not is_loopback(host):
            log("warning: tokens are sent unencrypted; use a reverse proxy with TLS")
        with contextlib.suppress(KeyboardInterrupt):
            create_server(create_app(handlers, tokens=tokens), limits=limits).run([listening])


def _require_packages() -> None:
    needed = ("fastapi", "uvicorn", "python_multipart")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the server needs the packages {', '.join(needed)}, and {' and '.join(missing)} "
            "cannot be found; install them with `pip install 'vireid[app]'`."
        )


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
