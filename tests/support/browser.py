"""A real Chromium without a window, driven by its own driver."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.patience import PATIENCE, wait_until

#: A name that a hostile page's server has had point to the loopback.
REBOUND = "rebound.example"

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
)


def _programs() -> tuple[str | None, str | None]:
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    return binary, shutil.which("chromedriver")


def lacking() -> str:
    """Return which program is not here, in one line; empty if none."""
    return "" if all(_programs()) else "there is no chromium with its chromedriver"


def start_browser(case: SynchronousTestCase, profile: str) -> Any:
    """
    Start a browser that ends with the test.

    :param profile: a directory of its own, which it makes.
    :raises SkipTest: if there is no browser, no driver, or no module that speaks to it.
    """
    binary, driver = _programs()
    if binary is None or driver is None:
        raise SkipTest(lacking())
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise SkipTest("the module selenium is not installed") from None
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    case.addCleanup(browser.quit)
    browser.set_page_load_timeout(PATIENCE)
    browser.set_script_timeout(PATIENCE)
    return browser


def wait_for_text(browser: Any, element: str, is_right: Callable[[str], bool]) -> str:
    """Wait until the text of an element, found by its id, is right, and return it."""
    # A page that is still on its way has no element yet.
    script = "return document.getElementById(arguments[0])?.textContent ?? ''"

    def text() -> str:
        found = str(browser.execute_script(script, element))
        return found if is_right(found) else ""

    return wait_until(text, f"the text of #{element} is right")
