"""The short form: a hundred cases of schemathesis and some hundred raw requests; and that the judgement can fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from security.answers import Operations, fault_of, is_documented, received
from security.fuzz import run
from security.raw import Corpus, Request, judge

SCALE = 0.02
PROBLEM = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "nothing",
    "code": "not_found",
    "instance": "/x",
    "request_id": "r",
    "errors": [],
}
HEADERS = {"content-type": "application/problem+json", "x-request-id": "r"}


@pytest.mark.processes
@pytest.mark.slow
def test_what_is_made_from_the_document_is_answered_as_it_says() -> None:
    figure = run(SCALE)
    assert not figure.broken
    assert figure.counts["cases of schemathesis"] > 60
    assert figure.counts["raw requests"] == 700
    assert figure.counts["answered with 2xx"] > 70


@pytest.mark.parametrize(
    ("status", "headers", "members", "complaint"),
    [
        (404, {}, {}, None),
        (404, {"content-type": "text/html"}, {}, "must be application/problem"),
        (404, {}, {"detail": None, "further": 1}, "must have ['code'"),
        (404, {"x-request-id": "s"}, {}, "one request id"),
        (404, {}, {"code": "no_such_code"}, "docs/errors.md"),
        (400, {}, {}, "docs/errors.md"),
        (500, {}, {"status": 500, "code": "internal_error"}, "the service failed"),
        (503, {"retry-after": "1"}, {"status": 503, "code": "busy"}, None),
        (503, {}, {"status": 503, "code": "busy"}, "Retry-After"),
    ],
)
def test_what_is_wrong_with_an_error(
    status: int, headers: dict[str, str], members: dict[str, Any], complaint: str | None
) -> None:
    found = fault_of(status, {**HEADERS, **headers}, json.dumps({**PROBLEM, **members}).encode())
    assert (found is None) if complaint is None else complaint in str(found)


def test_a_status_belongs_to_a_route_or_to_all() -> None:
    document = {"paths": {"/models/{name}": {"get": {"responses": {"200": {}, "404": {}}}}}}
    operations = Operations(document)
    listed = operations.statuses("GET", "/models/a?b=c")
    assert listed == {"200", "404"}
    assert operations.statuses("PUT", "/models/a") is None
    assert operations.statuses("GET", "/models/a/b") is None
    assert is_documented(404, b"", listed)
    assert is_documented(503, b'{"code":"busy"}', listed)
    assert not is_documented(409, b'{"code":"conflict"}', listed)
    assert not is_documented(202, b"", listed)
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    assert "must list 202" in str(judge(Request(b"", "GET", "/models/a"), answer, operations))
    assert judge(Request(b"", "PUT", "/models/a"), answer, operations) is None
    assert "no answer" in str(judge(Request(b""), b"HTTP/2 200", operations))


def test_answers_are_taken_apart() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    found = received(
        b"HTTP/1.1 100 Continue\r\n\r\n" + chunked + b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"
    )
    assert [(answer.status, answer.body) for answer in found] == [(200, b"abc"), (404, b"x")]
    for bad in (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", b"hello", b"HTTP/1.1 200 OK\r\n"):
        with pytest.raises(ValueError, match=r"bytes of a body|no answer"):
            received(bad)


def test_a_number_names_one_raw_request() -> None:
    corpus = Corpus("job_1", "ckpt_1")
    first, again = ([corpus.request(number) for number in range(300)] for _ in range(2))
    # Parquet files differ in their metadata from one making to the next.
    assert first == again
    assert len({request.target.partition("?")[0] for request in first}) > 25
    assert len({request.data for request in first}) > 250
