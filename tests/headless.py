"""A headless Chromium that a test drives through a pipe: no driver, no port, no network."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

# A browser that is not on the path.
VARIABLE = "QUANTBENCH_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
# What a browser needs in a container without a graphics card, a sandbox or much shared memory.
OPTIONS = (
    "--headless", "--no-sandbox", "--no-zygote", "--single-process", "--in-process-gpu", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--disable-extensions",
    "--disable-background-networking", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
# Seconds that one answer may take.
PATIENCE = 30.0


def browser() -> str | None:
    """Path of a Chromium; None where there is none."""
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a browser of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._theirs, self._ours = os.pipe(), os.pipe()
        command = [program, *OPTIONS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(command, preexec_fn=self._connect, close_fds=False,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(self._theirs[0])
        os.close(self._ours[1])
        self._waiting, self._number, self._session = b"", 0, ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")

    def _connect(self) -> None:
        """Gives the browser its ends of both pipes, as its descriptors 3 and 4."""
        read, write = os.dup(self._theirs[0]), os.dup(self._ours[1])
        for descriptor, place in ((read, 3), (write, 4)):
            os.dup2(descriptor, place)

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._theirs[1], json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = self._next(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
        raise TimeoutError(f"{method}: no answer in {PATIENCE} s")

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._ours[0]], [], [], max(end - time.monotonic(), 0))
            if not ready:
                return {}
            self._waiting += os.read(self._ours[0], 1 << 16)
        message, _, self._waiting = self._waiting.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def show(self, path: Path, width: int = 1280, scheme: str = "light", free: bool = False) -> None:
        """Opens a file.

        Args:
            path: of it.
            width: of the window, px.
            scheme: light or dark.
            free: scripts that the page's own policy does not let in may be added.
        """
        self._ask("Page.setBypassCSP", enabled=free)
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._ask("Page.navigate", url=path.as_uri())
        end = time.monotonic() + PATIENCE
        while self.says("document.readyState") != "complete" or self.says("location.href") == "about:blank":
            assert time.monotonic() < end, "the page did not load"
            time.sleep(0.02)

    def says(self, script: str) -> Any:
        """Value of an expression of JavaScript, which may be a promise."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def close(self) -> None:
        """Ends the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._theirs[1])
        os.close(self._ours[0])
