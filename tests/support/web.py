"""A web server on this machine that a test tells what to answer, and that remembers what it was asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.images import TinySet

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A web server on this machine: what it answers at each path, and what it was asked."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def offer(self, path: str, body: bytes, kind: str = "application/octet-stream") -> None:
        self.answers[path] = whole(body, kind)

    def offer_files(self, tiny: TinySet, prefix: str = "/") -> str:
        """Serve the genuine files as a mirror does; return the mirror's address."""
        for file in tiny.files.files:
            self.offer(f"{prefix}{file.name}.gz", tiny.zipped(file))
        return self.url + prefix

    def stall(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer nothing until the test is over."""
        self.closing.wait(20)


def whole(body: bytes, kind: str = "application/octet-stream") -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def cut(body: bytes, at: int) -> Answer:
    """Promise `body`, send `at` bytes of it and hang up."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:at])

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Answer differently each time, the last for ever."""
    left = list(answers)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def run_server(certificate: Path | None = None) -> Iterator[Server]:
    """Run a server until the test is over; by https with a certificate, which has its key beside it."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            state.logins.append(self.headers["Authorization"])
            state.answers.get(self.path, status(404))(self)

        def log_message(self, format: str, *words: object) -> None:
            pass

        def handle(self) -> None:
            # Clients hang up in many of these tests.
            with suppress(ConnectionError):
                super().handle()

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    state.url = f"http{'s' if certificate else ''}://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    state.closing.set()
    httpd.shutdown()
    httpd.server_close()
