"""The shell that all screens share: addresses, keys of the keyboard, errors, keys of the service, its absence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_screen_is_shown(page: Page, a11y: Callable[[Page], None], no_sideways: Callable[[Page], None]) -> None:
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("heading", level=1).wait_for()
    assert page.url.endswith("/console/jobs")
    a11y(page)
    no_sideways(page)
