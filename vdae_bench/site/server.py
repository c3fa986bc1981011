"""The server of `vdae-bench watch`: on this machine alone, and for whoever has the token in its address."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vdae_bench.errors import EnvironmentFault, VdaeBenchError
from vdae_bench.site.live import Watch

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Names under which a browser may ask: a page elsewhere cannot point a name of its own here and read the answer."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, watch: Watch, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.watch, self.token = watch, secrets.token_urlsafe(24)

    def draw(self) -> None:
        """Draw the page again if anything has changed; what cannot be read now is said by `Watch.now`."""
        with suppress(VdaeBenchError, OSError):
            self.watch.draw()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback of a reader who has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """The page's address, its token in it."""
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "vdae-bench", ""

    def do_GET(self) -> None:
        """Answer with the page or with what runs now; to anything else that there is nothing here."""
        _, token, name, *more = [*self.path.partition("?")[0].split("/"), "", ""]
        named = self.headers.get("Host", "").rpartition(":")[0] in NAMES
        if not named or any(more) or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "")
        elif name == "":
            self._answer(HTTPStatus.OK, "text/html", self.server.watch.page)
        elif name == "now.json":
            self._answer(HTTPStatus.OK, "application/json", json.dumps(self.server.watch.now()))
            threading.Thread(target=self.server.draw, daemon=True).start()
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "")

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode(errors="backslashreplace")
        self.send_response(status)
        for header, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *words: Any) -> None:
        """Print nothing: the address has the token."""


@contextmanager
def serving(watch: Watch, port: int = 0) -> Iterator[str]:
    """Serve a results folder while the block runs; gives the address.

    Raises:
        EnvironmentFault: the port is taken.
    """
    watch.draw()
    try:
        server = _Server(watch, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentFault(f"port {port} of {HOST} cannot be used ({reason}); give another with --port") from None
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()
