"""A real browser for the tests: headless Chromium, driven over a pipe in its own DevTools protocol.

Needs the Debian package chromium, and nothing of Python's. It has no network: every name resolves to nothing.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.services import require
from tests.services.process import stop

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NODE_MODULES = Path(os.environ.get("DUAL_DATA_NODE_MODULES", "node_modules"))
PATIENCE = 60
"""Seconds for one answer."""
TALLEST = 16_000
"""Pixels that the browser draws in one piece."""
UNFOLD = "document.querySelectorAll('details').forEach(element => { element.open = true })"
AXE = NODE_MODULES / "axe-core" / "axe.min.js"
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe", "--force-color-profile=srgb",
)  # fmt: skip


class Page:
    """One page of a running browser."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._rest = send, receive, b""
        self._number = 0
        self._events: list[str] = []
        self._session: str | None = None
        self.requests: list[str] = []
        """Addresses that the page asked for."""
        self.messages: list[str] = []
        """Errors and warnings of the console, exceptions and violated policies."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> None:
        """Load a page and wait until it and all that it asked for are there."""
        self._events.clear()
        failed = self.call("Page.navigate", url=address).get("errorText")
        assert not failed, f"{address}: {failed}"
        # Events, not a promise in the page: they come where scripts are switched off too.
        while "Page.loadEventFired" not in self._events:
            self._next()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key by its DOM name, such as Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"text": "\r" if key == "Enter" else key} if key != "Tab" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **text)

    def begin(self, address: str) -> None:
        """Load a page as if nothing had been looked at before."""
        self.requests.clear()
        self.messages.clear()
        self.width(1200)
        self.media()
        self.open(address)

    def media(self, scheme: str = "light", media: str = "screen") -> None:
        """Show the page as a reader with this colour scheme sees it, on screen or in print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def width(self, pixels: int) -> None:
        """Set the width of the window."""
        self.call("Emulation.setDeviceMetricsOverride", width=pixels, height=900, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG, also what lies below the window; at most TALLEST pixels of it."""
        # Elements that were unfolded, or hidden by a medium, are laid out with the next frame.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], TALLEST), "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as printed."""
        self.media(media="print")
        printed = self.call("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(printed["data"])

    def axe(self) -> list[dict[str, Any]]:
        """Violations that axe finds in the page as it stands: rule, impact and the elements."""
        require(AXE.is_file(), f"{AXE} is not there (npm package axe-core; DUAL_DATA_NODE_MODULES names node_modules)")
        self.evaluate(AXE.read_text(encoding="utf-8") + ";0")
        results = self.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            {
                "rule": violation["id"],
                "impact": violation["impact"],
                "elements": [node["html"] for node in violation["nodes"]][:5],
            }
            for violation in results["violations"]
        ]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._receive], [], [], PATIENCE)[0], f"no answer of the browser in {PATIENCE} s"
            data = os.read(self._receive, 1 << 20)
            assert data, "the browser went away"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, parameters: dict[str, Any]) -> None:
        self._events.append(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event == "Log.entryAdded":
            self.messages.append(parameters["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.messages.append(str(parameters["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.messages.append(str(parameters["args"]))


@contextmanager
def browser() -> Iterator[Page]:
    """A new browser with an empty profile and one page."""
    require(CHROMIUM, "Chromium is not installed (Debian package chromium)")
    to_read, to_write = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        # Chromium reads its file descriptor 3 and writes to 4, whatever the numbers of the pipes are here.
        command = [str(CHROMIUM), *_FLAGS, f"--user-data-dir={profile}"]
        shell = f"exec {shlex.join(command)} 3<&{to_read[0]} 4>&{to_write[1]}"
        process = subprocess.Popen(
            ["bash", "-c", shell],
            pass_fds=(to_read[0], to_write[1]),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(to_read[0])
        os.close(to_write[1])
        try:
            yield Page(to_read[1], to_write[0])
        finally:
            os.close(to_read[1])
            os.close(to_write[0])
            stop(process, seconds=20)


def drawings(page: Page, paper: int, folder: Path, start: str = "") -> dict[str, NDArray[np.uint8]]:
    """The page in shades of grey as each reader sees it; `paper` is its width in print, in pixels.

    The pictures go to `folder` or that of DUAL_DATA_SCREENSHOTS, under names with this `start`.
    """
    readers = {
        "light": ("light", "screen", 1200),
        "dark": ("dark", "screen", 1200),
        "narrow": ("light", "screen", 360),
        "print": ("light", "print", paper),
    }
    folder = Path(os.environ.get("DUAL_DATA_SCREENSHOTS", folder))
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for name, (scheme, media, width) in readers.items():
        page.width(width)
        page.media(scheme, media)
        page.screenshot(folder / f"{start}{name}.png")
        with Image.open(folder / f"{start}{name}.png") as image:
            images[name] = pixels = np.asarray(image.convert("L"))
        assert pixels.shape[1] <= width, "nothing sticks out to the side"
        assert pixels.shape[0] > 900, "more than the window"
        # The paper is one shade; text and figures are a few per cent of others, everywhere down the page.
        ink = pixels != np.bincount(pixels.ravel()).argmax()
        assert 0.01 < ink.mean() < 0.6, name
        assert all(band.any() for band in np.array_split(ink, 20)), name
    assert images["dark"].mean() < 80
    assert min(images[name].mean() for name in ("light", "narrow", "print")) > 200
    return images
