"""Requests at once, each in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["at_once"]

Result = TypeVar("Result")


def at_once(count: int, ask: Callable[[int], Result]) -> list[Result | Exception]:
    """What each of so many calls at once returned, or the error of its connection."""

    def one(number: int) -> Result | Exception:
        try:
            return ask(number)
        except (OSError, ValueError) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
