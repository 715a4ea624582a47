"""A day of traffic on two workers: what the log says of it and what it does not, and that every answer is counted."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from testing.harness import ROOT, Answer, Server, eventually
from testing.metrics import samples
from testing.samples import a_model

DASHBOARD = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
RULE_FIELDS = ("alert", "expr", "for", "labels", "annotations")

pytestmark = pytest.mark.processes

KEY = "ty_" + "0aB" * 12
#: What stands in rows, columns, labels, bodies, paths and headers, and must not stand in the log.
SECRETS = ("31337.4242", "secretcell", "secretcolumn", "secretlabel", "secretbody", "secretpath", "secretuser", KEY)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROWS = [[31337.4242, number / 12] for number in range(12)]
LABELS = [f"secretlabel{number % 2}" for number in range(12)]
TABLE = "secretcolumn,b,y\n" + "".join(f"secretcell{n % 3},{n}.31337,secretlabel{n % 2}\n" for n in range(12))


class Receiver:
    """Takes what is posted to it, as a collector of traces does."""

    def __init__(self) -> None:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.bodies: list[bytes] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Day(NamedTuple):
    """A server that has had its traffic, how many answers of each status and code clients got, and its collector."""

    server: Server
    statuses: Counter[int]
    codes: Counter[str]
    rows: int
    receiver: Receiver


class Traffic:
    """Clients that count what they are answered."""

    def __init__(self, server: Server) -> None:
        self.server, self.statuses, self.codes = server, Counter[int](), Counter[str]()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.server.client.request(method, path, body, given)
        self.note(answer.status, answer.body)
        return answer

    def note(self, status: int, body: bytes) -> None:
        self.statuses[status] += 1
        if status >= 400:
            self.codes[json.loads(body)["code"]] += 1

    def raw(self, data: bytes) -> None:
        """Send bytes, and read an answer until the connection ends."""
        host, port = self.server.client.base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            sock.sendall(data)
            answer = b"".join(iter(lambda: sock.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        self.note(int(head.split()[1]), body)

    def leave(self, head: str) -> None:
        """Send a head, and reset the connection when the server has read it and waits for the body."""
        host, port = self.server.client.base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            sock.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.statuses[499] += 1


def have_a_day(traffic: Traffic) -> int:
    """What clients do, and what they should not do. Returns how many rows were predicted."""
    ask = traffic.ask
    definition = a_model("day", classes=["secretlabel0", "secretlabel1"])
    definition["layers"][2]["units"] = 2
    assert ask("POST", "/models", definition).status == 201
    training = {"model": "day", "data": {"inputs": ROWS, "labels": LABELS}, "epochs": 3, "batch_size": 4, "seed": 1}
    job = ask("POST", "/train", training, Idempotency_Key="secretbody").json["id"]
    assert ask("GET", f"/jobs/{job}?wait=60").json["state"] == "succeeded"
    assert ask("GET", f"/jobs/{job}/events", Accept="text/event-stream").status == 200
    assert ask("POST", "/datasets?name=cells&label=y", TABLE.encode(), Content_Type="text/csv").status == 201
    table = {"model": {"name": "cells", "hidden": 4}, "data": {"dataset": "cells", "label": "y"}, "epochs": 2}
    accepted = ask("POST", "/train", table)
    assert accepted.status == 202, accepted
    assert ask("GET", f"/jobs/{accepted.json['id']}?wait=60").json["state"] == "succeeded"
    rows = 0
    for count in (1, 3, 400, 12):
        answer = ask("POST", "/predict", {"model": "day", "inputs": ROWS[:1] * count}, traceparent=TRACE)
        assert answer.status == 200
        rows += count
    cell = {"secretcolumn": "secretcell1", "b": 31337.4242}
    assert ask("POST", "/predict", {"model": "cells", "rows": [cell]}).status == 200
    assert ask("POST", "/predict?model=cells", TABLE.encode(), Content_Type="text/csv", Accept="text/csv").status == 200
    rows += 13
    # What is refused quotes what was received to the client, and to nobody else.
    ask("POST", "/predict", b'{"model": "day", "inputs": secretbody')
    ask("POST", "/predict", {"model": "day", "inputs": [["secretcell", 1]], "secretcolumn": 31337.4242})
    ask("POST", "/predict", {"model": "cells", "rows": [{**cell, "b": "secretcell"}]})
    ask("POST", "/predict", {"model": "secretpath", "inputs": [[1, 2]]})
    ask("POST", "/train", {**training, "data": {"inputs": [["secretcell", 1.0]], "labels": ["secretlabel"]}})
    ask("POST", "/datasets?name=bad", b'a,secretcolumn\n1,2,secretcell,"', Content_Type="text/csv")
    ask("POST", "/datasets?name=bad", b"PAR1secretcell" * 9 + b"PAR1", Content_Type="application/vnd.apache.parquet")
    ask("POST", "/models/day/checkpoints", b"\x89HDF\r\n\x1a\nsecretbody" * 50, Content_Type="application/x-hdf5")
    ask("POST", "/predict?model=cells", b"secretcolumn,b\nsecretcell,secretcell\n", Content_Type="text/csv")
    ask("GET", f"/secretpath/{KEY}?key={KEY}", Authorization=f"Bearer {KEY}", X_Request_Id=f"{KEY}")
    ask("GET", "/models/secretpath", Authorization="Basic c2VjcmV0dXNlcjpzZWNyZXQ=", Cookie="secretuser")
    ask("PATCH", "/models/day", {"secretbody": 1})
    ask("POST", "/predict", b"secretbody", Content_Type="text/secretuser")
    traffic.raw(f"GET /secretpath{KEY} HTTP/3\r\nHost: secretuser\r\n\r\n".encode())
    traffic.raw(b"BREW /secretpath\x1b[31m HTTP/1.1\r\n\r\n")
    traffic.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nsecretuser: " + b"x" * 9_000 + b"\r\n\r\n")
    traffic.raw(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\nsecretbody")
    traffic.leave("POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50")
    return rows


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    receiver = Receiver()
    server = Server(tmp_path_factory.mktemp("day") / "data")
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        variables.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        try:
            server.start_ready()
            traffic = Traffic(server)
            rows = have_a_day(traffic)
            yield Day(server, traffic.statuses, traffic.codes, rows, receiver)
        finally:
            server.close()
            receiver.close()


def metrics(day: Day) -> dict[str, float]:
    return samples(day.server.client.get("/metrics").body)


def by_label(found: dict[str, float], name: str, label: str) -> Counter[str]:
    """The sums of a metric's samples by one label, without those of health checks and of looking at metrics."""
    total = Counter[str]()
    for series, value in found.items():
        if series.startswith(f"{name}{{") and not re.search(r'route="/(metrics|health/\w+)"', series):
            total[re.search(rf'{label}="([^"]*)"', series)[1]] += value  # type: ignore[index]
    return total


def is_counted(day: Day) -> bool:
    """Whether the metrics of both workers together are what clients have counted."""
    found = metrics(day)
    statuses = by_label(found, "trainyard_request_seconds_count", "status")
    rows = by_label(found, "trainyard_rows_predicted_total", "model")
    return (
        statuses == Counter({str(status): count for status, count in day.statuses.items()})
        and by_label(found, "trainyard_refusals_total", "code") == day.codes
        and rows.total() == day.rows
    )


def test_every_answer_is_counted_over_both_workers(day: Day) -> None:
    assert {200, 201, 202, 400, 404, 405, 413, 415, 422, 431} <= day.statuses.keys()
    eventually(lambda: is_counted(day), what="as many answers as clients got")
    found = metrics(day)
    routes = by_label(found, "trainyard_request_seconds_count", "route")
    assert {"/predict", "/models/<name>", "/jobs/<job_id>/events", "none"} <= routes.keys()
    assert routes["/predict"] == 14
    assert not any(secret in "".join(found) for secret in SECRETS)
    uses = by_label(found, "trainyard_model_cache_total", "result")
    assert uses["hit"] + uses["miss"] >= 6
    assert 2 <= uses["miss"] <= 4  # two models, on one worker or on both
    assert found["trainyard_disk_free_bytes"] <= found["trainyard_disk_total_bytes"]
    assert found["trainyard_epochs_total"] == 5
    assert found["trainyard_database_up"] == found["trainyard_trainer_up"] == 1


def requests_of(log: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.splitlines()]
    return [line for line in lines if line["event"] == "request"]


def test_each_line_is_json_and_none_has_a_row_or_a_secret(day: Day) -> None:
    """Of every process, also after a worker was killed."""
    eventually(lambda: len(requests_of(day.server.log)) >= day.statuses.total(), what="a line for each answer")
    log = day.server.log
    lines = [json.loads(line) for line in log.splitlines()]
    for line in lines:
        assert next(iter(line)) == "at"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"])
        assert {"level", "process", "pid", "logger", "event"} <= line.keys()
    assert {"web", "trainer"} <= {line["process"] for line in lines}
    assert [secret for secret in SECRETS if secret in log] == []
    assert "ty_…" in log
    assert "Traceback" not in log
    requests = requests_of(log)
    assert Counter(one["status"] for one in requests if not re.match("/(metrics|health)", one["route"] or "")) == (
        day.statuses
    )
    predictions = [one for one in requests if one["route"] == "/predict" and one["status"] == 200]
    assert sum(one["rows"] for one in predictions) == day.rows
    assert {one["model"] for one in predictions} == {"day", "cells"}
    assert sum(one.get("trace") == TRACE[3:35] for one in requests) == 4
    for one in requests:
        assert {"request_id", "key", "method", "route", "status", "ms", "bytes", "code"} <= one.keys()
        assert (one["code"] is None) == (one["status"] < 400 or one["status"] == 499)
        assert one.get("cut", False) == (one["status"] == 499)
        assert one["ms"] >= 0


def test_spans_are_sent(day: Day) -> None:
    """One for each request, below the client's, and one for each attempt at a job."""
    pytest.importorskip("opentelemetry.proto")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    def spans() -> list[Any]:
        sent = [ExportTraceServiceRequest.FromString(body) for body in [*day.receiver.bodies]]
        scopes = [scope for one in sent for resource in one.resource_spans for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def named(name: str) -> list[Any]:
        return [span for span in spans() if span.name == name]

    eventually(lambda: len(named("POST /predict")) == 14 and len(named("job")) == 2, what="all spans")
    below = [span for span in named("POST /predict") if span.trace_id.hex() == TRACE[3:35]]
    assert [span.parent_span_id.hex() for span in below] == [TRACE[36:52]] * 4
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in below)
    attributes = {each.key: each.value for each in below[0].attributes}
    assert attributes["http.route"].string_value == "/predict"
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["trainyard.model"].string_value == "day"
    assert {each.value.string_value for each in named("job")[0].attributes if each.key == "trainyard.outcome"} == {
        "finished"
    }
    assert not any(secret.encode() in body for secret in SECRETS for body in day.receiver.bodies)


def expressions() -> Iterator[str]:
    """Those of the alert rules, and of the dashboard's panels."""
    rules = YAML(typ="safe").load(ROOT / "docs" / "alerts.yml")
    names = []
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= rule.keys() <= {*RULE_FIELDS}, rule
            assert rule["annotations"]["summary"].endswith(".")
            names.append(rule["alert"])
            yield rule["expr"]
    assert len(names) == len(set(names)) > 10
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(day: Day) -> None:
    """Each name, and each label that is named with it."""
    labels: dict[str, set[str]] = {}
    for series in metrics(day):
        name, _, rest = series.partition("{")
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', rest))
    asked = set[str]()
    for expression in expressions():
        assert expression.count("(") == expression.count(")")
        for name, chosen in re.findall(r"(trainyard_\w+)(?:\{(.*?)\})?", expression):
            assert name in labels, expression
            assert set(re.findall(r"(\w+)(?:=|!)", chosen)) <= labels[name], expression
            asked.add(name)
        for by in re.findall(r" by \((.*?)\)", expression):
            known = set.union(*(labels[name] for name in re.findall(r"trainyard_\w+", expression)))
            assert set(by.split(", ")) <= known, expression
    assert len(asked) > 20


def lost(mine: Any, theirs: Any, place: str = "") -> list[str]:
    """The places of what the other document, which may have more, lacks or has otherwise."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [each for name in mine for each in lost(mine[name], theirs.get(name), f"{place}/{name}")]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [each for number, pair in pairs for each in lost(*pair, f"{place}/{number}")]
    return [] if mine == theirs else [place]


def test_the_dashboard_is_one_of_grafana() -> None:
    """Grafana's own model of a dashboard has all that this one has, so it loses nothing."""
    model = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    taken = json.loads(JSONEncoder().encode(model.Dashboard.from_json(DASHBOARD)))
    assert lost(DASHBOARD, taken) == []
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        targets = panel.get("targets", [])
        assert len({target["refId"] for target in targets}) == len(targets)
        assert bool(targets) == (panel["type"] != "row")
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def folder_of(day: Day) -> Path:
    """The folder in which the workers count."""
    assert day.server.process is not None
    files = [link.readlink() for link in Path(f"/proc/{day.server.process.pid}/fd").iterdir()]
    return next(file.parent for file in files if file.name == "in-use.lock")


def test_what_a_worker_counted_outlives_it_and_the_folder_does_not_outlive_the_service(day: Day) -> None:
    eventually(lambda: is_counted(day), what="as many answers as clients got")
    folder = folder_of(day)
    assert folder.parent == Path("/dev/shm")
    workers = {int(path.stem.rpartition("_")[2]) for path in folder.glob("*.db")} - {0}
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any([*folder.glob(f"*_{pid}.db")] for pid in workers), what="no files of those that ended")
    eventually(lambda: is_counted(day), what="the same counts")
    assert day.server.terminate() == 0
    assert not folder.exists()
