"""A small made-up data set and a web server: no test here reaches the network or the user's cache."""

import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vdae_bench.data.idx import write_idx
from vdae_bench.data.registry import DATASETS, IdxFile, ImageFiles
from vdae_bench.data.sources import pip_settings, web


@pytest.fixture(autouse=True)
def isolated(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a cache of its own and, unless it needs the real MNIST, hide how packages are reached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))
    monkeypatch.delenv("VDAE_BENCH_DATA", raising=False)
    if request.node.get_closest_marker("mnist"):
        return
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(pip_settings, "_pip_config_list", lambda: "")


@dataclass
class TinySet:
    """A registered data set of a few images, with its arrays and a folder that has its genuine files."""

    files: ImageFiles
    arrays: dict[str, NDArray[np.uint8]]
    folder: Path

    @property
    def name(self) -> str:
        return self.files.name

    def plain(self, file: IdxFile) -> bytes:
        return (self.folder / file.name).read_bytes()

    def zipped(self, file: IdxFile) -> bytes:
        return gzip.compress(self.plain(file), mtime=0)

    def use(self, **changes: object) -> ImageFiles:
        """Register the set with other sources."""
        self.files = replace(self.files, **changes)  # type: ignore[arg-type]
        DATASETS[self.name] = self.files
        return self.files


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinySet:
    """Give 40 training images of 5 by 3 pixels, the last 7 for validation, and 11 test images."""
    random = np.random.default_rng(5)
    arrays = {
        "train-images-idx3-ubyte": random.integers(0, 256, (40, 5, 3), dtype=np.uint8),
        "train-labels-idx1-ubyte": random.integers(0, 10, 40, dtype=np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (11, 5, 3), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": random.integers(0, 10, 11, dtype=np.uint8),
    }
    folder = tmp_path / "genuine"
    folder.mkdir()
    files = []
    for name, array in arrays.items():
        write_idx(folder / name, array)
        files.append(IdxFile(name, array.shape, hashlib.sha256((folder / name).read_bytes()).hexdigest()))
    train_images, train_labels, test_images, test_labels = files
    dataset = ImageFiles("tiny", train_images, train_labels, test_images, test_labels, validation_images=7)
    monkeypatch.setitem(DATASETS, "tiny", dataset)
    return TinySet(dataset, arrays, folder)


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


@pytest.fixture
def server() -> Iterator[Server]:
    yield from run_server()


@pytest.fixture
def other_server() -> Iterator[Server]:
    yield from run_server()


def run_server() -> Iterator[Server]:
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
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    state.closing.set()
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections and silences take half a second at most."""
    monkeypatch.setattr(web, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(web, "SILENCE_SECONDS", 0.5)
