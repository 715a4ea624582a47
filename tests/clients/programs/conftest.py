"""What all clients' tests share: the server that ``tests/clients/test_stock.py`` started, and what it answers us."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def base() -> str:
    """``http://host:port`` of the server."""
    return os.environ["CLIENTS_SERVER"]


@pytest.fixture(scope="session")
def address(base: str) -> str:
    """``host:port`` of the server."""
    return base.removeprefix("http://")


@pytest.fixture(scope="session")
def line() -> str:
    """The line of code that the README has for this client, with the address of the server."""
    return os.environ["CLIENTS_LINE"]


@pytest.fixture(scope="session")
def predict(base: str) -> Callable[..., Any]:
    """The answer of ``POST /predict`` to a document with these members, which other clients' answers must equal."""

    def ask(**members: Any) -> Any:
        with urllib.request.urlopen(f"{base}/predict", json.dumps(members).encode()) as response:
            return json.load(response)

    return ask
