"""Mirrors that lie, stall, hang up or are not there: no wrong data is used, and little time is lost."""

import gzip
import io
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.support.images import TinySet
from tests.support.web import Server, cut, in_turn, status, whole
from vdae_bench.data.fetch import cache_path, fetch
from vdae_bench.data.files import SourceError
from vdae_bench.data.sources import web
from vdae_bench.errors import EnvironmentFault


def is_genuine(tiny: TinySet) -> bool:
    return all((cache_path("tiny") / file.name).read_bytes() == tiny.plain(file) for file in tiny.files.files)


def test_a_mirror_may_serve_what_it_calls_gz_unpacked(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(f"{server.url}/deep/er",))
    for file in tiny.files.files:
        server.offer(f"/deep/er/{file.name}.gz", tiny.plain(file))
    fetch("tiny")
    assert is_genuine(tiny)


def test_a_gz_that_is_labelled_as_an_encoding_is_unpacked_once(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    body = tiny.zipped(tiny.files.train_images)

    def labelled(handler: BaseHTTPRequestHandler) -> None:
        assert handler.headers["Accept-Encoding"] == "identity"
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(body)

    server.answers[f"/{tiny.files.train_images.name}.gz"] = labelled
    fetch("tiny")
    assert is_genuine(tiny)


@pytest.mark.parametrize("fault", ["404", "403", "wrong", "truncated", "not-gzip", "stalled", "bomb", "endless"])
@pytest.mark.usefixtures("impatient")
def test_the_next_mirror_completes_what_the_first_could_not_give(
    tiny: TinySet, server: Server, other_server: Server, fault: str
) -> None:
    tiny.use(mirrors=(server.offer_files(tiny), other_server.offer_files(tiny)))
    third = tiny.files.test_images
    genuine = tiny.zipped(third)
    empty_block = gzip.compress(b"")
    server.answers[f"/{third.name}.gz"] = {
        "404": status(404),
        "403": status(403),
        "wrong": whole(gzip.compress(tiny.plain(third)[::-1])),
        "truncated": cut(genuine, len(genuine) // 2),
        "not-gzip": whole(b"<html>Please log in</html>"),
        "stalled": server.stall,
        "bomb": whole(gzip.compress(bytes(50_000_000))),
        "endless": whole(empty_block * 60_000 + genuine),
    }[fault]
    lines: list[str] = []
    start = time.perf_counter()
    fetch("tiny", report=lines.append)
    assert time.perf_counter() - start < 3
    assert is_genuine(tiny)
    # The two files that came whole are not asked for again.
    missing = [f"/{file.name}.gz" for file in (third, tiny.files.test_labels)]
    assert other_server.asked == missing
    assert any(server.url in line for line in lines)


def test_a_transfer_that_breaks_off_is_tried_once_more(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    path = f"/{tiny.files.train_images.name}.gz"
    server.answers[path] = in_turn(cut(tiny.zipped(tiny.files.train_images), 99), server.answers[path])
    fetch("tiny")
    assert is_genuine(tiny)
    assert server.asked.count(path) == 2


def test_a_server_that_is_busy_once_is_asked_again_at_once(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    path = f"/{tiny.files.train_images.name}.gz"

    def busy(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", "3600")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answers[path] = in_turn(busy, server.answers[path])
    start = time.perf_counter()
    fetch("tiny")
    assert is_genuine(tiny)
    assert time.perf_counter() - start < 3


@pytest.mark.usefixtures("impatient")
def test_a_silent_server_costs_one_wait_and_is_named(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.url,))
    for file in tiny.files.files:
        server.answers[f"/{file.name}.gz"] = server.stall
    start = time.perf_counter()
    with pytest.raises(EnvironmentFault, match=f"{server.url}: the server stopped answering"):
        fetch("tiny")
    assert time.perf_counter() - start < 2 * web.SILENCE_SECONDS + 1
    assert len(server.asked) == 1


@pytest.mark.usefixtures("impatient")
def test_a_server_that_falls_silent_in_the_middle_costs_one_wait(tiny: TinySet, server: Server) -> None:
    body = tiny.zipped(tiny.files.train_images)

    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:50])
        server.stall(handler)

    tiny.use(mirrors=(server.url,))
    server.answers[f"/{tiny.files.train_images.name}.gz"] = half
    with pytest.raises(EnvironmentFault, match="the server stopped answering"):
        fetch("tiny")
    assert len(server.asked) == 1


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Give the address of a port that drops what is sent to it, as a firewall does: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    callers = []
    try:
        for _ in range(8):
            caller = socket.socket()
            caller.settimeout(0.1)
            callers.append(caller)
            caller.connect(listener.getsockname())
        pytest.skip("this system queues connections without end")
    except TimeoutError:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        for caller in (*callers, listener):
            caller.close()


@pytest.mark.usefixtures("impatient")
def test_a_firewall_that_drops_packets_costs_one_wait_for_all_four_files(
    tiny: TinySet, server: Server, black_hole: str
) -> None:
    tiny.use(mirrors=(black_hole, server.offer_files(tiny)))
    lines: list[str] = []
    start = time.perf_counter()
    fetch("tiny", report=lines.append)
    assert time.perf_counter() - start < web.CONNECT_SECONDS + 1
    assert is_genuine(tiny)
    assert "did not answer within 0.5 s" in lines[0]


@pytest.mark.usefixtures("impatient")
def test_one_dead_address_of_a_host_does_not_hide_another(
    server: Server, black_hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [int(url.strip("/").rpartition(":")[2]) for url in (black_hole, server.url)]
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    web.require_reachable(web.new_session(), "http://two-addresses.test/")


def test_a_bundle_of_certificates_that_is_not_there_is_a_reason_not_a_crash(
    tiny: TinySet, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    tiny.use(mirrors=(server.url.replace("http:", "https:"), server.offer_files(tiny)))
    lines: list[str] = []
    fetch("tiny", report=lines.append)
    assert "https://127.0.0.1" in lines[1] and "/no/such/bundle.pem" in lines[1]
    assert is_genuine(tiny)


@pytest.mark.usefixtures("impatient")
def test_a_name_server_that_never_answers_costs_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        time.sleep(3)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", never)
    start = time.perf_counter()
    with pytest.raises(SourceError, match=r"example\.org did not answer"):
        web.require_reachable(web.new_session(), "https://example.org/data/")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid/", "cannot be resolved"),
        ("http://" + "a" * 70 + ".org/", "cannot be resolved"),
        ("http://127.0.0.1:1/", "cannot be reached"),
        ("http://host:port/", "no valid URL"),
        ("gopher://host/", "no valid URL"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_at_once(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def resolve(host: str, *words: Any, **options: Any) -> Any:
        if host.endswith(".invalid"):  # nor does a network that loses a question decide how long this takes
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *words, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    start = time.perf_counter()
    with pytest.raises(SourceError, match=words):
        web.require_reachable(web.new_session(), url)
    assert time.perf_counter() - start < 1


def test_behind_a_proxy_it_is_the_proxy_that_is_knocked_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    web.require_reachable(web.new_session(), "http://no-such-host.invalid/")
    monkeypatch.setenv("http_proxy", "127.0.0.1:1")
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 cannot be reached"):
        web.require_reachable(web.new_session(), "http://no-such-host.invalid/")


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def __init__(self, is_terminal: bool) -> None:
            super().__init__()
            self.is_terminal = is_terminal

        def isatty(self) -> bool:
            return self.is_terminal

    monkeypatch.setenv("TERM", "xterm")
    shown = {}
    for is_terminal in (True, False):
        stream = Terminal(is_terminal)
        monkeypatch.setattr("sys.stderr", stream)
        with web.Download("some-file", total=10, content_size=10) as progress:
            progress.update(10)
        shown[is_terminal] = stream.getvalue()
    assert "some-file" in shown[True] and shown[False] == ""
