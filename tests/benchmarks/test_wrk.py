"""Load by wrk: what its output means, what it refuses, and a short real run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import wrk

LINE = (
    '{"requests":30,"microseconds":2000000,"p50":1500,"p90":2500,"p99":9000,"longest":12000,'
    '"statuses":{"200":24,"503":6},"errors":{"connect":0,"read":1,"write":0,"timeout":2}}'
)


def test_the_last_line_is_parsed() -> None:
    """Seconds, milliseconds, and answers by status."""
    load = wrk.parse(f"Running 2s test\n  30 requests in 2.00s\n{LINE}\n")
    assert load[:5] == (2.0, 1.5, 2.5, 9.0, 12.0)
    assert load.statuses == {200: 24, 503: 6}
    assert load.failures == {"connect": 0, "read": 1, "write": 0, "timeout": 2}
    assert (load.answers, load.per_second, load.share(503), load.share(404)) == (30, 12.0, 0.2, 0.0)


def test_no_answer_is_no_throughput() -> None:
    found = {**json.loads(LINE), "statuses": {}}
    load = wrk.parse(json.dumps(found))
    assert (load.answers, load.per_second, load.share(503)) == (0, 0.0, 0.0)


@pytest.mark.parametrize("output", ["", "Transfer/sec: 3MB\n", "{}", '{"microseconds": null}', LINE[:-1], "[1]"])
def test_another_last_line_is_refused(output: str) -> None:
    with pytest.raises(wrk.WrkError, match=r"the JSON of wrk\.lua\. Received: "):
        wrk.parse(output)


@pytest.mark.parametrize(
    "change", [{"statuses": {"200": 24, "503": 1}}, {"statuses": {}}, {"errors": {"connect": 0, "timeout": 1}}]
)
def test_figures_of_errors_are_refused(change: dict[str, Any]) -> None:
    good = {**json.loads(LINE), "statuses": {"200": 30}, "errors": {"connect": 0, "timeout": 0}}
    load = wrk.parse(json.dumps(good))
    assert load.all_good() is load
    with pytest.raises(wrk.WrkError, match="all answers must have status 200"):
        wrk.parse(json.dumps({**good, **change})).all_good()


def test_a_missing_wrk_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(wrk.WrkError, match="apt-get install wrk"):
        wrk.load(1, b"{}", 1, 1)


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs Debian's package wrk")
class TestWithWrk:
    """wrk itself, for a second."""

    def test_it_posts_the_body_and_counts_answers_by_status(self, serve: Callable[..., int]) -> None:
        """Every third answer is 503, after which wrk connects again."""
        expected = b'{"model": "bench"}'
        port = serve(lambda number, body: 400 if body != expected else 503 if number % 3 == 0 else 200)
        load = wrk.load(port, expected, 1, 1)
        assert load.answers > 30
        assert load.statuses == {200: load.answers - load.answers // 3, 503: load.answers // 3}
        assert not any(load.failures.values())
        assert 1.0 <= load.seconds < 2.0
        assert 0.0 < load.p50 <= load.p90 <= load.p99 <= load.longest

    def test_it_posts_any_bytes_to_any_path_with_any_headers(self, serve: Callable[..., int]) -> None:
        expected = bytes(range(256))
        port = serve(lambda _, body: 200 if body == expected else 400, ("/v2/infer?a=1", "application/octet-stream"))
        headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
        load = wrk.load(port, expected, 1, 1, "/v2/infer?a=1", headers, cores=[min(os.sched_getaffinity(0))])
        assert load.all_good().answers > 30

    def test_a_port_without_a_server_is_an_error(self) -> None:
        with pytest.raises(wrk.WrkError, match=r"wrk ended with status 1: .*[Cc]onnection refused"):
            wrk.load(1, b"{}", 1, 1)
