"""Counting requests in bulk: as prometheus-client counts them one by one, with labels that nobody can multiply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.mmap_dict import MmapedDict

from service.log_output import Output
from service.web import shared_metrics
from service.web.request_log import write_requests
from service.web.request_metrics import BUCKETS, PAIRS, RequestMetrics, Served
from service.web.routes_of_paths import PathRoutes
from service.web.worker.records import Predicted, Record
from testing.metrics import samples


def a_record(**members: object) -> Record:
    values = {"at": 1e9, "request_id": "r1", "key": None, "method": "GET", "path": "/models", "status": 200}
    rest = {"seconds": 0.1, "sent": 7, "code": None, "predicted": None, "traceparent": None, "cut": False}
    return Record(**{**values, **rest, **members})  # type: ignore[arg-type]


def counted(metrics: RequestMetrics) -> dict[str, float]:
    found = samples(generate_latest(metrics.registry))
    return {name: value for name, value in found.items() if "_created" not in name}


@given(st.lists(st.one_of(st.floats(0, 100), st.sampled_from(BUCKETS))))
def test_times_are_counted_as_prometheus_client_counts_them(seconds: list[float]) -> None:
    metrics, registry = RequestMetrics(lambda: (0, 0)), CollectorRegistry()
    theirs = Histogram(
        "trainyard_request_seconds", "x", ("route", "method", "status"), buckets=BUCKETS, registry=registry
    )
    for value in seconds:
        theirs.labels("/models", "GET", "200").observe(value)
    metrics.count([a_record(seconds=value) for value in seconds], ["/models"] * len(seconds))
    ours = {name: value for name, value in counted(metrics).items() if "seconds" in name}
    expected = {name: value for name, value in samples(generate_latest(registry)).items() if "_created" not in name}
    assert ours == pytest.approx(expected)


def test_labels_are_bounded() -> None:
    """Methods that no one knows share a label, and so do models beyond the first ones."""
    metrics = RequestMetrics(lambda: (3, 1))
    records = [a_record(method=f"BREW{number}", path="/x", status=404, code="not_found") for number in range(50)]
    metrics.count(records, [None] * 50)
    predicted = [a_record(predicted=Predicted(f"m{number}", None, 2)) for number in range(PAIRS + 10)]
    metrics.count(predicted, ["/predict"] * len(predicted))
    found = counted(metrics)
    times = [name for name in found if name.startswith("trainyard_request_seconds_count") and 'status="404"' in name]
    assert [found[name] for name in times] == [50]
    assert 'method="other",route="none"' in times[0]
    rows = {name: value for name, value in found.items() if name.startswith("trainyard_rows_predicted_total")}
    assert len(rows) == PAIRS + 1
    assert rows['trainyard_rows_predicted_total{model="other",version="other"}'] == 20
    assert rows['trainyard_rows_predicted_total{model="m0",version="checkpoint"}'] == 2
    assert found['trainyard_refusals_total{code="not_found"}'] == 50
    assert found['trainyard_model_cache_total{result="hit"}'] == 3


@pytest.mark.parametrize(
    ("method", "path", "rule"),
    [
        ("GET", "/models", "/models"),
        ("GET", "/models/secret", "/models/<name>"),
        ("BREW", "/models/secret", "/models/<name>"),
        ("GET", "/nothing/here", None),
        ("GET", "/models/a/b/c/d/e", None),
        ("OPTIONS", "*", None),
        (None, None, None),
    ],
)
def test_the_route_of_a_path(app: Flask, method: str | None, path: str | None, rule: str | None) -> None:
    assert PathRoutes(app).rule(method, path) == rule


class Lines(Output):
    """An output that keeps what it is given."""

    piece_bytes = 300  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(2, lambda _: b"")
        self.pieces: list[bytes] = []

    def write(self, pieces: Sequence[bytes], lines: int = 1) -> None:
        self.pieces += pieces


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.sampled_from([0.0, 1.5, 1e9, 1.7e9 + 0.9999]))
def test_a_line_of_a_request(request_id: str, at: float) -> None:
    lines = Lines()
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    first = a_record(request_id=request_id, at=at, predicted=Predicted('m"', 1, 2), traceparent=trace, cut=True)
    others = [a_record(status=503, code="busy", traceparent='x","a":"') for _ in range(5)]
    write_requests([first, *others], ["/models", *[None] * 5], lines)
    found = [json.loads(line) for line in b"".join(lines.pieces).splitlines()]
    assert all(piece.endswith(b"}\n") and len(piece) <= 600 for piece in lines.pieces)
    assert (found[0]["request_id"], found[0]["model"], found[0]["rows"]) == (request_id, 'm"', 2)
    assert (found[0]["trace"], found[0]["cut"], found[0]["route"]) == ("a" * 32, True, "/models")
    expected = {"level": "warning", "status": 503, "code": "busy", "ms": 100.0, "bytes": 7, "route": None, "key": None}
    assert expected.items() <= found[5].items()
    assert "trace" not in found[5]


def test_what_was_served_of_a_model() -> None:
    """Requests that failed count apart, and so does their time."""
    metrics = RequestMetrics(lambda: (0, 0))
    found = [
        Predicted("m", 1, 5, 1, 0.5, 1.0, 2.0, 4.0),
        Predicted("m", 1, 7, 0, 0.25, 1.0, 2.0, 4.0),
        Predicted("m", 1, 0, 0, 0.0, 8.0, 0.0, 0.0, failed=True),
        Predicted("m", None, 1),
        Predicted("other", 1, 3),
    ]
    records = [a_record(at=1e9 + number, predicted=each) for number, each in enumerate(found)]
    metrics.count(records, ["/predict"] * len(records))
    versions = metrics.served("m")
    assert versions.keys() == {"1", "checkpoint"}
    assert versions["1"] == Served(2, 1, 12, 1, 0.75, 2.0, 4.0, 8.0, 8.0, 1e9 + 1)
    assert metrics.served("none") == {}
    assert metrics.all_served({"m", "other", "none"}).keys() == {"m", "other"}


def test_what_workers_that_ended_have_counted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are added up, and of times the last one stays."""
    monkeypatch.setenv(shared_metrics.DIRECTORY, str(tmp_path))
    for pid, count, time in ((11, 2.0, 500.0), (12, 3.0, 400.0)):
        for kind, value in (("counter", count), ("gauge_max", time)):
            file = MmapedDict(str(tmp_path / f"{kind}_{pid}.db"))
            file.write_value("key", value, 0.0)
            file.close()
        shared_metrics.worker_ended(pid)
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["counter_0.db", "gauge_max_0.db"]
    kept = {
        path.name: [value for _, value, *_ in MmapedDict.read_all_values_from_file(str(path))]
        for path in tmp_path.glob("*.db")
    }
    assert kept == {"counter_0.db": [5.0], "gauge_max_0.db": [500.0]}
