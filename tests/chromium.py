"""A real Chromium without a window, driven through its debugging pipe: open a page, press keys, ask it things."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
         "--disable-background-networking", "--disable-sync", "--remote-debugging-pipe"]

# The browser reads commands from descriptor 3 and writes answers to 4.
WIRE = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for fd, pipe in zip((3, 4), pipes):
    os.dup2(pipe, fd)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find():
    """Path of the browser: CNNFAST_CHROMIUM, or what is installed, or None."""
    return os.environ.get("CNNFAST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One page. `requests` and `errors` collect what it asked the network for and what went wrong on its console."""

    def __init__(self, program, profile, url, width=1100, height=900):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", WIRE, str(to_browser), str(from_browser), program, *FLAGS,
             f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._count, self._events, self._session = b"", 0, [], None
        self.requests, self.errors = [], []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(domain + ".enable")
        self._call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()

    def run(self, script):
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, *keys):
        """Press keys by name ("Tab", "ArrowDown", ...) as a person does."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                 "ArrowDown": 40}
        for key in keys:
            for kind in ("rawKeyDown", "keyUp"):
                self._call("Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key,
                           windowsVirtualKeyCode=codes[key])

    def emulate(self, width, height, dark=False):
        """Be a window of this size, even a phone's, whose reader likes light or dark pages."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = "dark" if dark else "light"
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        picture = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))

    def close(self):
        self._session = None
        try:
            self._call("Browser.close")
            with contextlib.suppress(subprocess.TimeoutExpired):  # a slow machine
                self._process.wait(timeout=10)
        finally:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("the browser has gone")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self._events.append(message)
            params = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            if message["method"] == "Runtime.exceptionThrown" or (
                    message["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")) or (
                    message["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning")):
                self.errors.append(params)
        return message
