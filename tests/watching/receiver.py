"""A web server that receives matches."""

from __future__ import annotations

import http.server
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple


class Received(NamedTuple):
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers with the given statuses, then with 200.

    Attributes:
        received: Each POST, answered with 200 or not.
        url: Its address while it runs.
    """

    def __init__(self, *statuses: int, location: str = "") -> None:
        self.statuses, self.location = list(statuses), location
        self.received: queue.Queue[Received] = queue.Queue()
        self.url = ""

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()
                outer.received.put(Received(dict(self.headers), body))

            def log_message(self, *args: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                self.url = f"http://127.0.0.1:{server.server_address[1]}/hook/very-secret"
                yield self.url
            finally:
                server.shutdown()
                thread.join()
