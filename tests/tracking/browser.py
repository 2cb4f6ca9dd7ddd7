"""MLflow's pages in a real browser, as a person walks through them."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20.0
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1600,1100"),
)
CURVES = """
return [...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
    key: plot.data[0].metricKey, x: [...plot.data[0].x], y: [...plot.data[0].y],
    drawn: plot.querySelectorAll('path.js-line').length,
}))
"""


@contextmanager
def chromium(folder: Path) -> Iterator["Pages"]:
    """A fresh headless Chromium; the test is skipped where there is none."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium or chromedriver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        yield Pages(made, Path(os.environ.get("FEDRAY_SCREENSHOTS") or folder / "screenshots"))
    finally:
        made.quit()


class Pages:
    """Looks, clicks and waits; nothing is fetched but what a click or an address fetches."""

    def __init__(self, driver: Any, screenshots: Path) -> None:
        self.driver, self.screenshots = driver, screenshots
        self.screenshots.mkdir(parents=True, exist_ok=True)

    def open(self, address: str) -> None:
        self.driver.get(address)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        passing = (NoSuchElementException, StaleElementReferenceException)
        try:
            return WebDriverWait(self.driver, PATIENCE_S, 0.1, passing).until(lambda _: condition())
        except TimeoutException:
            self.shot("failed")
            raise AssertionError(f"no {what} on {self.driver.current_url}, which shows: {self.text()}") from None

    def text(self) -> str:
        return self.driver.find_element("tag name", "body").text

    def shows(self, *words: str) -> None:
        for word in words:
            self.until(lambda word=word: word in self.text(), repr(word))

    def click(self, xpath: str) -> None:
        from selenium.common.exceptions import ElementClickInterceptedException

        def clicked() -> bool:
            try:
                self.driver.find_element("xpath", xpath).click()
            except ElementClickInterceptedException:
                return False
            return True

        self.until(clicked, xpath)

    def link(self, text: str) -> None:
        self.click(f"//a[normalize-space()='{text}']")

    def tab(self, text: str) -> None:
        self.click(f"//*[@role='tab' and normalize-space()='{text}']")

    def word(self, text: str) -> None:
        self.click(f"//*[normalize-space(text())='{text}']")

    def search(self, placeholder: str, words: str) -> None:
        def box() -> Any:
            return self.driver.find_element("xpath", f"//input[contains(@placeholder, '{placeholder}')]")

        self.until(lambda: box().is_displayed(), f"box '{placeholder}'")
        self.driver.execute_script("arguments[0].select()", box())
        box().send_keys(words)

    def curve(self, key: str) -> dict[str, Any]:
        """Data of the chart of one metric, once its line is drawn."""

        def found() -> Any:
            return next((c for c in self.driver.execute_script(CURVES) if c["key"] == key and c["drawn"]), None)

        return self.until(found, f"curve of {key}")

    def shot(self, name: str) -> None:
        self.driver.save_screenshot(str(self.screenshots / f"{name}.png"))
