"""Connections to a Qdrant server: addresses, and its errors as those of the gallery."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from urllib.parse import unquote

import httpx
from pydantic import ValidationError
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from vireid.errors import ConfigError, GalleryError
from vireid.gallery.options import KEY_VARIABLE, ServerOptions

__all__ = ["check_version", "open_client", "server_errors"]

MIN_VERSION = (1, 20)


def open_client(location: str, options: ServerOptions) -> tuple[QdrantClient, str, str]:
    """Create a client for the server of a gallery; nothing is sent yet.

    Args:
        location: ``http(s)://HOST:PORT/COLLECTION``; the port defaults to 6333.
        options: Connection options.

    Returns:
        The client, the server's address, and the collection's name.

    Raises:
        ConfigError: ``location`` is not such an address.
    """
    address = re.fullmatch(r"(https?://[^/?#@:]+(?::\d+)?)/([^/?#]+)/?", location)
    if address is None:
        raise _no_address(location)
    url, collection = address[1], unquote(address[2])
    with warnings.catch_warnings():
        # ServerOptions documents that a key is sent unencrypted over http.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        try:
            client = QdrantClient(
                url=url,
                api_key=options.api_key or os.environ.get(KEY_VARIABLE),
                timeout=options.timeout,
                check_compatibility=False,
            )
        except ValueError as error:  # an invalid host or port
            raise _no_address(location) from error
    return client, url, collection


def _no_address(location: str) -> ConfigError:
    return ConfigError(
        f"'{location}' is not the address of a gallery; expected http(s)://HOST:PORT/COLLECTION, "
        f"such as http://localhost:6333/people (set an API key in {KEY_VARIABLE})."
    )


def check_version(client: QdrantClient, url: str) -> None:
    """Refuse a server that cannot search for a substring of a note.

    Raises:
        GalleryError: It is older than 1.20.
    """
    version = client.info().version
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < MIN_VERSION:
        raise GalleryError(
            f"The Qdrant server at {url} is version {version}; expected 1.20 or later: update it."
        )


@contextmanager
def server_errors(url: str, collection: str) -> Iterator[None]:
    """Raise the errors of a server and its client as the gallery's.

    Raises:
        GalleryError: The server does not answer, or refuses; the message names its address.
    """
    server = f"The Qdrant server at {url}"
    try:
        yield
    except UnexpectedResponse as error:
        raise GalleryError(f"{server} {_refused(error, collection)}") from error
    except ResourceExhaustedResponse as error:
        raise GalleryError(
            f"{server} is overloaded ({error}); try again in {error.retry_after_s} s."
        ) from error
    except ResponseHandlingException as error:
        raise GalleryError(f"{server} {_no_response(error.source)}") from error
    # The client raises these if the response is not JSON, or has no result.
    except (JSONDecodeError, AssertionError) as error:
        raise GalleryError(f"{server} {_NOT_QDRANT}") from error


_NOT_QDRANT = "does not answer as Qdrant does; expected the address of its REST port, often 6333."


def _no_response(source: Exception) -> str:
    """Why there was no readable response."""
    if isinstance(source, ValidationError):
        return _NOT_QDRANT
    if isinstance(source, httpx.TimeoutException):
        return (
            "did not answer in time; check whether it is overloaded, or increase the timeout of "
            "ServerOptions."
        )
    return f"cannot be reached ({source}); start it, or fix the gallery's address."


def _refused(error: UnexpectedResponse, collection: str) -> str:
    """What an HTTP status other than success means."""
    if error.status_code in {401, 403}:
        return (
            f"refuses the API key (status {error.status_code}); set one with read "
            f"and write access in the environment variable {KEY_VARIABLE}."
        )
    if error.status_code == 404:
        return (
            f"has no collection '{collection}'; expected one that `vireid gallery add` or `vireid "
            "gallery copy` created."
        )
    return f"refuses with status {error.status_code}: {error.content.decode(errors='replace')}"
