"""A headless Chromium, driven through its DevTools protocol over two pipes: no driver and no port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

__all__ = ["Page", "find_chromium", "open_page"]


def find_chromium() -> str | None:
    """The browser of this machine; Debian's package is called chromium."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@dataclass(slots=True)
class _Wire:
    write: int
    read: int
    numbers: Iterator[int]
    waiting: bytes = b""

    def call(self, method: str, *, session: str = "", **params: Any) -> Any:
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _next(self) -> Any:
        while b"\0" not in self.waiting:
            more = os.read(self.read, 1 << 20)
            assert more, "Chromium ended"
            self.waiting += more
        message, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(message)


@dataclass(slots=True)
class Page:
    """A tab: JavaScript, keys, screenshots."""

    wire: _Wire
    session: str

    def call(self, method: str, **params: Any) -> Any:
        return self.wire.call(method, session=self.session, **params)

    def js(self, expression: str) -> Any:
        """The value of an expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def show(self, path: Path, *, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        """Open a file in a window of this size."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.js("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def press(self, key: str) -> None:
        """A key, as a keyboard sends it."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowRight": 39}
        extra: dict[str, Any] = {"windowsVirtualKeyCode": codes[key]} if key in codes else {"text": key}
        if key == "Enter":
            extra["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def open_page(binary: str, *, profile: Path) -> Iterator[Page]:
    """A browser with one tab, without network; it ends with the block."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # Chromium reads from descriptor 3 and writes to 4.
    process = subprocess.Popen(
        [
            "bash",
            "-c",
            f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}',
            binary,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            "--proxy-server=127.0.0.1:9",
            "about:blank",
        ],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        wire = _Wire(to_write, from_read, count(1))
        (target,) = [one for one in wire.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        session = wire.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        page = Page(wire, session)
        page.call("Page.enable")
        yield page
        wire.call("Browser.close")
    finally:
        os.close(to_write)
        os.close(from_read)
        process.kill()
        process.wait()
