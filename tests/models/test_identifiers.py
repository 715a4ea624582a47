"""Ids that carry their kind and sort by creation; times as the API shows them."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from models.clock import utc_now
from models.identifiers import Kind, new_id


@pytest.mark.parametrize("kind", ["job", "ckpt", "ds"])
def test_an_id_carries_its_kind(kind: Kind) -> None:
    assert re.fullmatch(rf"{kind}_[0-9a-hjkmnp-tv-z]{{21}}", new_id(kind))


def test_ids_sort_by_creation() -> None:
    ids = [new_id("job") for _ in range(2000)]
    assert ids == sorted(set(ids))


def test_ids_sort_across_a_standing_or_falling_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    present = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: present)
    first = [new_id("ds") for _ in range(5)]
    monkeypatch.setattr(time, "time_ns", lambda: present - 10**12)
    ids = first + [new_id("ds") for _ in range(5)]
    assert ids == sorted(set(ids))


def test_ids_of_threads_differ() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_id("ckpt"), range(4000)))
    assert len(set(ids)) == len(ids)


def test_times_are_rfc_3339_in_utc() -> None:
    text = utc_now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=1)
