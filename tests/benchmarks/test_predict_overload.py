"""The figures of an overload."""

from __future__ import annotations

import pytest

from benchmarks import predict_overload, wrk
from benchmarks.predict_overload import Best, Overload
from benchmarks.wrk import Load

NONE = {"connect": 0, "read": 0, "write": 0, "timeout": 0}


@pytest.fixture(autouse=True)
def _nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_overload, "SETTLE_SECONDS", 0.0)


def _load(served: int, refused: int) -> Load:
    return Load(2.0, 1.0, 1.0, 1.0, 1.0, {200: served, 503: refused}, NONE)


def test_only_accepted_requests_count() -> None:
    """The median of rounds, and the share of all answers."""
    overload = Overload(64, [_load(80, 20), _load(100, 300), _load(20, 0)], [], [], 0)
    assert overload.per_second == 40.0
    assert overload.refused_share == pytest.approx(320 / 520)


def test_the_report_names_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    failed = _load(100, 100)._replace(statuses={200: 100, 503: 99, 500: 1}, failures={**NONE, "read": 3})
    predict_overload._report("without a job", Overload(64, [failed], [0.2], [0.01] * 98 + [0.05, 0.2], 1), Best(100, 8))
    printed = capsys.readouterr().out
    assert "64 connections: 50 requests/s, 0.50 of the best (goal 0.8); 49.5% of answers are 503" in printed
    assert "503: median 10.0 ms, p99 50.0 ms, longest 200.0 ms, of 100; 99.0% within 100 ms" in printed
    assert "failures: 1 of the probe, {'connect': 0, 'read': 3, 'write': 0, 'timeout': 0} of wrk" in printed
    assert "other answers: [500]" in printed


def test_no_refusal_has_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    predict_overload._report("beside a job", Overload(64, [_load(100, 0)], [0.2], [], 0), Best(100, 8))
    printed = capsys.readouterr().out
    assert printed.endswith("a probe waits for 503: no such answer\n")


def test_the_best_is_of_accepted_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many fast refusals are no throughput."""
    by_connections = {8: _load(100, 0), 16: _load(120, 900), 32: _load(90, 9000)}
    monkeypatch.setattr(wrk, "load", lambda _port, _body, connections, _seconds: by_connections[connections])
    assert predict_overload._best(1, b"") == Best(60.0, 16)


def test_no_accepted_request_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrk, "load", lambda *_: _load(0, 10))
    with pytest.raises(wrk.WrkError, match="must get predictions"):
        predict_overload._best(1, b"")
