"""Fetching over HTTP so that a machine behind a firewall loses seconds, not minutes.

`requests` limits the wait for one address and for one read; a host with many addresses, and the name look-up
itself, can still take minutes where packets are dropped. So a host is knocked on first, within one limit.
"""

import io
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy

from vdae_bench.data.files import SourceError

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 15.0
SLACK = 1 << 20

DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}

Result = TypeVar("Result")


class _Session(requests.Session):
    """A session that gives each request its own login and no other, the one that a server redirects to as well."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Give a redirected request its login anew; requests would look for that in ~/.netrc, whatever the scheme."""
        prepared_request.headers.pop("Authorization", None)
        prepared_request.prepare_auth(self.auth)


def new_session() -> requests.Session:
    """Return a session that repeats a request the server was too busy for, and no other."""
    session = _Session()
    retries = urllib3.Retry(
        total=2,
        connect=0,
        read=False,
        other=0,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=0.5,
        raise_on_status=False,
        # A server may ask for an hour's patience.
        respect_retry_after_header=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    return session


def time_limits(silence: float | None = None) -> tuple[float, float]:
    """Return the seconds to wait for a connection and for the next byte, the latter at least `silence`."""
    return CONNECT_SECONDS, max(SILENCE_SECONDS, silence or 0)


def require_reachable(session: requests.Session, url: str) -> None:
    """Raise `SourceError` unless the host that `url` leads to, or its proxy, takes a connection in time."""
    proxy = select_proxy(url, session.merge_environment_settings(url, {}, None, None, None)["proxies"])
    try:
        place = urlsplit(prepend_scheme_if_needed(proxy, "http") if proxy else url)
        host, port = place.hostname or "", place.port or DEFAULT_PORTS[place.scheme]
    except (ValueError, KeyError) as fault:
        raise SourceError("its address, or the proxy's, is no valid URL") from fault
    outcome: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

    def knock() -> None:
        try:
            # Half the time for one address: where IPv6 leads nowhere, IPv4 still gets its turn.
            socket.create_connection((host, port), timeout=CONNECT_SECONDS / 2).close()
            outcome.put(None)
        except UnicodeError:
            # A host name that no look-up can have: an empty label, or one of more than 63 characters.
            outcome.put(socket.gaierror())
        except OSError as fault:
            outcome.put(fault)

    # A name look-up cannot be interrupted, but a daemon thread can be left behind.
    threading.Thread(target=knock, daemon=True).start()
    try:
        obstacle = outcome.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        obstacle = TimeoutError()
    if isinstance(obstacle, TimeoutError):
        raise SourceError(f"{host} did not answer within {CONNECT_SECONDS:g} s")
    if isinstance(obstacle, socket.gaierror):
        raise SourceError(f"the host name {host} cannot be resolved")
    if obstacle is not None:
        raise SourceError(f"{host} cannot be reached ({obstacle.strerror or obstacle})")


def transfer(attempt: Callable[[], Result]) -> Result:
    """Run an exchange with a server; once more if it breaks off, but not if it is refused or falls silent.

    Raises:
        SourceError: why it failed, without the URL, which may hold a password.
        OSError: a fault of this machine, such as a full disk.
    """
    for attempts_left in (1, 0):
        try:
            return attempt()
        except (requests.RequestException, urllib3.exceptions.HTTPError) as fault:
            final = _final_reason(fault)
            if final or not attempts_left:
                raise SourceError(final or f"the connection broke ({type(fault).__name__})") from fault
        except OSError as fault:
            # requests reports a CA bundle that is not there as an OSError without a number.
            if fault.errno is None:
                raise SourceError(str(fault)) from fault
            raise
    raise AssertionError("the last attempt returns or raises")


def _final_reason(fault: Exception) -> str | None:
    """Say why trying again is pointless; None if it is not."""
    if isinstance(fault, requests.HTTPError) and fault.response is not None:
        return f"the server answered {fault.response.status_code} {fault.response.reason}".rstrip()
    if isinstance(fault, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(fault, requests.exceptions.ProxyError):
        return "the proxy refused or failed"
    if isinstance(fault, ValueError) and not isinstance(fault, requests.JSONDecodeError):
        return "its address, or the proxy's, is no valid URL"
    # requests passes on a body that stopped coming as a ConnectionError around urllib3's time-out.
    causes = (fault, *fault.args)
    if any(isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes):
        return "the server stopped answering"
    return None


@contextmanager
def open_body(session: requests.Session, url: str, progress: "Download") -> Iterator[io.BufferedReader]:
    """Open the file at `url` as the server has it stored: a .gz arrives as one."""
    # Without `identity` a server may pack the packed file again, to be unpacked in transit.
    headers = {"Accept-Encoding": "identity"}
    with session.get(url, stream=True, timeout=time_limits(), headers=headers) as response, progress:
        response.raise_for_status()
        yield io.BufferedReader(_Body(response, progress))


class _Body(io.RawIOBase):
    """A response's raw bytes as a stream that counts them."""

    def __init__(self, response: requests.Response, progress: "Download") -> None:
        self._response = response
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        chunk = self._response.raw.read(len(buffer)) or b""
        buffer[: len(chunk)] = chunk
        self._progress.update(len(chunk))
        return len(chunk)


class Download:
    """Counts the bytes that arrive, shows them if there is a terminal, and stops a sender that does not stop.

    Nothing packed needs more room than twice its content of `content_size` bytes and a megabyte for what lies
    around it. A context manager, and what `pypi_simple` expects of a progress tracker.
    """

    def __init__(self, label: str, total: int | None, content_size: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self._label = label
        self._left = 2 * content_size + SLACK
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(label, total=total)

    def __enter__(self) -> "Download":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, increment: int) -> None:
        """Count `increment` more bytes.

        Raises:
            SourceError: they are too many by now.
        """
        self._left -= increment
        if self._left < 0:
            raise SourceError(f"{self._label} is larger than it can be")
        self._bar.update(self._task, advance=increment)
