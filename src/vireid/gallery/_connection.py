"""Reaching a Qdrant server: options, addresses, and what its refusals mean."""

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

OLDEST = (1, 20)


def open_client(location: str, options: ServerOptions) -> tuple[QdrantClient, str, str]:
    """Prepare a connection to the server of a gallery; nothing is sent yet.

    Args:
        location: ``http(s)://HOST:PORT/COLLECTION``; the port is 6333 where it is left out.
        options: How the server is reached.

    Returns:
        The client, the server's address, and the collection's name.

    Raises:
        ConfigError: ``location`` is no such address.
    """
    address = re.fullmatch(r"(https?://[^/?#@:]+(?::\d+)?)/([^/?#]+)/?", location)
    if address is None:
        raise _no_address(location)
    url, collection = address[1], unquote(address[2])
    with warnings.catch_warnings():
        # ServerOptions says that a key travels openly over http.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        try:
            client = QdrantClient(
                url=url,
                api_key=options.api_key or os.environ.get(KEY_VARIABLE),
                timeout=options.timeout,
                check_compatibility=False,
            )
        except ValueError as error:  # a host or port that cannot be one
            raise _no_address(location) from error
    return client, url, collection


def _no_address(location: str) -> ConfigError:
    return ConfigError(
        f"'{location}' is no address of a gallery; expected http(s)://HOST:PORT/COLLECTION, such "
        f"as http://localhost:6333/people (an API key goes into {KEY_VARIABLE})."
    )


def check_version(client: QdrantClient, url: str) -> None:
    """Refuse a server that cannot find a text inside a note.

    Raises:
        GalleryError: It is older than 1.20.
    """
    version = client.info().version
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < OLDEST:
        raise GalleryError(
            f"The Qdrant server at {url} is version {version}; expected 1.20 or later: update it."
        )


@contextmanager
def server_errors(url: str, collection: str) -> Iterator[None]:
    """Tell of what a server answers, or does not, as the gallery's errors.

    Raises:
        GalleryError: The server does not answer or refuses; the message names its address.
    """
    server = f"The Qdrant server at {url}"
    try:
        yield
    except UnexpectedResponse as error:
        raise GalleryError(f"{server} {_refusal(error, collection)}") from error
    except ResourceExhaustedResponse as error:
        raise GalleryError(
            f"{server} is overloaded ({error}); try again in {error.retry_after_s} s."
        ) from error
    except ResponseHandlingException as error:
        raise GalleryError(f"{server} {_silence(error.source)}") from error
    # The client's way to say that the answer is no JSON, or has no result.
    except (JSONDecodeError, AssertionError) as error:
        raise GalleryError(f"{server} {_STRANGE}") from error


_STRANGE = "does not answer as Qdrant does; expected the address of its REST port, often 6333."


def _silence(source: Exception) -> str:
    """Why there was no answer that can be read."""
    if isinstance(source, ValidationError):
        return _STRANGE
    if isinstance(source, httpx.TimeoutException):
        return (
            "did not answer in time; see whether it is overloaded, or allow more time (timeout of "
            "ServerOptions)."
        )
    return f"cannot be reached ({source}); start it, or mend the gallery's address."


def _refusal(error: UnexpectedResponse, collection: str) -> str:
    """What a status other than success means."""
    if error.status_code in {401, 403}:
        return (
            f"refuses the API key (status {error.status_code}); set the right one, with the "
            f"right to read and write, in the environment variable {KEY_VARIABLE}."
        )
    if error.status_code == 404:
        return (
            f"has no collection '{collection}'; expected one that `vireid gallery add` or `vireid "
            "gallery copy` made."
        )
    return f"refuses with status {error.status_code}: {error.content.decode(errors='replace')}"
