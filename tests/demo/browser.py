"""A page in headless Chromium, driven as a person would."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_SECONDS = 90.0


def require_browser() -> Any:
    """Return selenium, or skip the test that asks where there is no browser to drive."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (make demotest installs it)")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    return selenium


class Browser:
    """A window on an address."""

    def __init__(self, window: Any, width: int) -> None:
        self.window, self.width = window, width

    def find(self, selector: str) -> Any:
        """Return the first element that is shown, once there is one."""
        return self.wait(lambda: next((e for e in self.all(selector) if e.is_displayed()), None), selector)

    def all(self, selector: str) -> list[Any]:
        """Return all elements that are there now."""
        return self.window.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return self.find(selector).text

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.window.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def type(self, selector: str, text: str) -> None:
        """Write into a field, in the place of what is there."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def tab(self, name: str) -> None:
        """Turn to a tab."""
        self.wait(lambda: [e for e in self.all("button[role=tab]") if e.text == name], name)[0].click()

    def wait(self, ready: Callable[[], Any], what: str = "") -> Any:
        """Wait until something is so, and return it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                if found := ready():
                    return found
            except Exception as error:  # noqa: BLE001  (an element that was there is drawn anew)
                what = f"{what} {type(error).__name__}"[:200]
            time.sleep(0.1)
        raise AssertionError(
            f"waited in vain: {what}; the page says {self.window.find_element('tag name', 'body').text}"
        )

    def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        height = self.window.execute_script("return document.documentElement.scrollHeight")
        self._size(max(height, 600))
        time.sleep(0.5)
        return self.window.get_screenshot_as_png()

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.window.execute_script("return document.documentElement.scrollWidth") - self.width

    def complaints(self) -> list[str]:
        """Return what the page's scripts complained of, except for what lies elsewhere and is not needed."""
        return [
            entry["message"]
            for entry in self.window.get_log("browser")
            if entry["level"] == "SEVERE" and "net::ERR" not in entry["message"]
        ]

    def _size(self, height: int) -> None:
        metrics = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 600}
        self.window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@contextmanager
def opened(address: str, width: int = 1280, theme: str = "light") -> Iterator[Browser]:
    """Open an address in a window of this width."""
    selenium = require_browser()
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{option}")
    window = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    try:
        browser = Browser(window, width)
        browser._size(900)
        window.get(f"{address}?__theme={theme}")
        yield browser
    finally:
        window.quit()
