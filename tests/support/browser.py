"""A real browser that tests look at pages with: headless Chromium by its own protocol, over tornado's web socket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60.0
"""Patience with a browser on a busy machine."""


def browser_path() -> str:
    """The browser of this machine; the test is skipped where there is none, but for continuous integration."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        assert not os.environ.get("CI"), f"continuous integration needs one of {', '.join(BROWSERS)}"
        pytest.skip("no Chromium here")
    return browser


def axe_core() -> Path:
    """The script of axe-core; the test is skipped where nobody installed it (`npm install --no-save axe-core`)."""
    path = Path("node_modules/axe-core/axe.min.js")
    if not path.is_file():
        pytest.skip("no axe-core here")
    return path


class RefusedError(AssertionError):
    """The browser did not do what it was told."""


class Tab:
    """The only tab of a browser: opens pages, runs scripts in them, hears what they complain of."""

    def __init__(self, socket: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop, self._sent = socket, loop, 0
        self.complaints: list[str] = []
        """Errors and warnings on the console, what was thrown, what the page's policy refused."""
        self.asked_for: list[str] = []
        """Addresses that the page loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._sent += 1
        message = json.dumps({"id": self._sent, "method": method, "params": parameters})

        async def send() -> None:
            await self._socket.write_message(message)

        self._loop.run_until_complete(send())
        return self._until(lambda answer: answer.get("id") == self._sent)

    def _until(self, wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            left = max(0.1, deadline - time.monotonic())

            async def hear(left: float = left) -> str:
                return await asyncio.wait_for(self._socket.read_message(), left)

            answer = json.loads(self._loop.run_until_complete(hear()))
            self._hear(answer.get("method", ""), answer.get("params", {}))
            if wanted(answer):
                if "error" in answer:
                    raise RefusedError(answer["error"])
                return answer.get("result", {})

    def _hear(self, event: str, about: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(about["args"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent" and not about["request"]["url"].startswith("data:"):
            self.asked_for.append(about["request"]["url"])

    def open(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page in a window of a size and wait for all of it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.complaints.clear()
        self.asked_for.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true, on whatever page is there then."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with suppress(RefusedError):  # the page was loaded anew while it was asked
                if self.run(f"Boolean({script})"):
                    return
            time.sleep(0.05)
        raise AssertionError(f"never: {script}")

    def press(self, key: str) -> None:
        """Press a key, such as Tab, Enter or Escape."""
        codes, text = {"Tab": 9, "Enter": 13, "Escape": 27}, {"text": "\r"} if key == "Enter" else {}
        own = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], **text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **own)
        self.call("Input.dispatchKeyEvent", type="keyUp", **own)

    def faults(self) -> list[tuple[str, str, list[str]]]:
        """Serious faults that axe-core finds in the page: its impact, its rule, where."""
        self.run(axe_core().read_text())
        violations = (
            "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations"
            ".map((each) => [each.impact, each.id, each.nodes.map((node) => node.html)]))"
        )
        return [tuple(each) for each in self.run(violations) if each[0] in ("serious", "critical")]

    def cut_off(self) -> list[str]:
        """What is wider than the page and has no box of its own to scroll in."""
        if self.run("document.documentElement.scrollWidth > innerWidth"):
            return ["the page itself scrolls sideways"]
        found: list[str] = self.run(
            "[...document.querySelectorAll('main *')].filter((each) => each.getBoundingClientRect().right > innerWidth"
            " + 1 && !each.closest('.scroll, .figure, .chart')).map((each) => each.outerHTML.slice(0, 80))"
        )
        return found

    def picture(self, path: Path, whole: bool = True) -> None:
        """Save what the page looks like."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def opened_tab(folder: Path) -> Iterator[Tab]:
    """A browser with one tab, its profile in a folder."""
    from tornado.websocket import websocket_connect

    words = [browser_path(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    words += ["--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "about:blank"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        said, deadline = folder / "profile" / "DevToolsActivePort", time.monotonic() + SECONDS
        while not (said.is_file() and said.read_text().count("\n")):
            assert time.monotonic() < deadline and process.poll() is None, "the browser does not start"
            time.sleep(0.05)
        port = said.read_text().split("\n")[0]
        tabs = json.loads(_read(f"http://127.0.0.1:{port}/json/list"))
        address = next(each["webSocketDebuggerUrl"] for each in tabs if each["type"] == "page")

        async def connect() -> Any:
            return await websocket_connect(address, max_message_size=2**28)

        yield Tab(loop.run_until_complete(connect()), loop)
    finally:
        process.kill()
        process.wait()
        loop.close()


def _read(address: str) -> str:
    import urllib.request

    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=SECONDS) as answer:
        text: str = answer.read().decode()
    return text
