"""Chromium without a screen, through chromedriver."""

import base64
import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

from lib.process import free_port, until
from lib.report import Failed, require


class Browser:
    """A session of Chromium, while the `with` block runs."""

    def __init__(
        self, width: int, language: str, *, dark: bool = False, scripts: bool = True
    ) -> None:
        self.width, self.language, self.dark, self.scripts = width, language, dark, scripts
        self._port = free_port()
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={self._port}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self._session = ""

    def __enter__(self) -> "Browser":
        try:
            until(self._is_ready, 30)
            options: dict[str, Any] = {
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                         "--disable-dev-shm-usage", "--ignore-certificate-errors"],
                "prefs": {"intl.accept_languages": self.language},
            }
            if not self.scripts:
                options["prefs"]["profile.managed_default_content_settings.javascript"] = 2
            always = {"goog:chromeOptions": options}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": always}})
            self._session = f"/session/{made['sessionId']}"
            # A form leads to another page, which has to be there first.
            self._call("POST", f"{self._session}/timeouts", {"implicit": 20_000})
            scheme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}
            self.tell("Emulation.setEmulatedMedia", {"features": [scheme]})
            self.tell("Emulation.setDeviceMetricsOverride", {
                "width": self.width, "height": 800, "deviceScaleFactor": 1,
                "mobile": self.width < 600,
            })
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._session:
                self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(30)

    def open(self, url: str) -> None:
        """Goes to a page."""
        self._call("POST", f"{self._session}/url", {"url": url})

    def type(self, selector: str, text: str) -> None:
        """Types into a field."""
        self._call("POST", f"{self._element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Clicks on an element, which has to be visible."""
        self._call("POST", f"{self._element(selector)}/click", {})

    def text(self, selector: str) -> str:
        """The visible text of an element."""
        return str(self._call("GET", f"{self._element(selector)}/text"))

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of the page; it may be a promise."""
        result = self.tell("Runtime.evaluate", {
            "expression": expression, "awaitPromise": True, "returnByValue": True,
        })
        require("exceptionDetails" not in result, f"{expression}: {result}")
        return result["result"].get("value")

    def size(self) -> tuple[int, int]:
        """Width and height of the whole page."""
        size = self.tell("Page.getLayoutMetrics", {})["cssContentSize"]
        return int(size["width"]), int(size["height"])

    def picture(self) -> bytes:
        """The whole page as PNG."""
        width, height = self.size()
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.tell("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(shot["data"])

    def tell(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {
            "cmd": command, "params": parameters,
        })

    def _element(self, selector: str) -> str:
        found = self._call("POST", f"{self._session}/element", {
            "using": "css selector", "value": selector,
        })
        return f"{self._session}/element/{next(iter(found.values()))}"

    def _is_ready(self) -> bool:
        require(self._driver.poll() is None, "chromedriver has ended")
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {json.load(error)['value']['message']}") from None
