"""The console in a real browser: a server a module, pages whose faults fail the test, and axe for accessibility."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testing.harness import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
#: Milliseconds within which a locator must find what is expected of it.
PATIENCE = 30_000


class Faults:
    """What a page reports as an error. A test names the reports that it provokes; any other one fails it."""

    def __init__(self) -> None:
        self.found: list[str] = []
        # On a busy machine the service may say for a moment that it is not ready; the page shows it and asks again.
        self.allowed = [r"status of 503 .*/health/ready"]

    def allow(self, *patterns: str) -> None:
        """Expect reports that match: a browser reports every answer with an error status, as in `status of 404`."""
        self.allowed += patterns

    def listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.found.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda line: line.type in ("error", "warning") and self.found.append(f"{line.text} ({line.location})"),
        )

    def check(self) -> None:
        unexpected = [one for one in self.found if not any(re.search(pattern, one) for pattern in self.allowed)]
        assert unexpected == []


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. It ends with this package, since an event loop that runs disturbs other tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: .ci/packages chromium")
    with sync_api.sync_playwright() as playwright:
        sync_api.expect.set_options(timeout=PATIENCE)
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests of one module, with a trainer, without keys."""
    with serving(tmp_path_factory.mktemp("console") / "data", WORKERS=1) as running:
        yield running


@pytest.fixture
def faults() -> Iterator[Faults]:
    """What the pages of this test report."""
    collected = Faults()
    yield collected
    collected.check()


@pytest.fixture
def open_page(browser: Browser, faults: Faults, make_server: Callable[..., Server]) -> Iterator[Callable[..., Page]]:
    """Opens a page in a context of its own: `open_page(server, "/console/", width=400, dark=True)`.

    Further arguments are those of Playwright's `new_context`. Pages are closed before the servers of their test.
    """
    contexts = []

    def make(server: Server, path: str = "/console/", *, width: int = 1440, dark: bool = False, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 1000 if width > 600 else 800},
            color_scheme="dark" if dark else "light",
            locale="en-US",
            base_url=server.client.base,
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        faults.listen(page)
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: Callable[..., Page], server: Server) -> Page:
    """The module's server's console, 1440 × 1000, light. Go on with `page.goto("/console/models/iris")`."""
    return open_page(server)


@pytest.fixture
def a11y() -> Callable[[Page], None]:
    """Fails if axe finds anything on a page, in light or in dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def check(page: Page) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.Axe().run(page)
            assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"

    return check


@pytest.fixture
def no_sideways() -> Callable[[Page], None]:
    """Fails if a page scrolls sideways."""

    def check(page: Page) -> None:
        wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], wide

    return check


@pytest.fixture
def look() -> Callable[[Page, str], None]:
    """Writes a picture to look at if TRAINYARD_PICTURES names a folder; pictures are not compared."""
    folder = os.environ.get("TRAINYARD_PICTURES")

    def take(page: Page, name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return take
