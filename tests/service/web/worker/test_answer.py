"""Answers: how responses of an application are framed, and what it must keep to."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any

import pytest

from service.web.worker.answer import Answer
from service.web.worker.body import ReceivedBody
from service.web.worker.head import Rules, read_head
from service.web.worker.later import Later

Application = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Any]


def an_answer(line: str = "GET / HTTP/1.1", fields: str = "") -> Answer:
    head = read_head(f"{line}\r\nHost: a{fields}".encode(), "192.0.2.1", Rules())
    return Answer(head, ReceivedBody(io.BytesIO))


def responds(body: Any, status: str = "200 OK", *headers: tuple[str, str]) -> Application:
    def application(_environ: dict[str, Any], start_response: Callable[..., object]) -> Any:
        start_response(status, list(headers))
        return body

    return application


def sent(answer: Answer, application: Application) -> bytes:
    """All bytes of a response, as the connection asks for them."""
    answer.run(application, {})
    data = answer.take(True)
    while not answer.ended:
        answer.pull()
        data += answer.take(True)
    answer.close()
    return data


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parsed(data: bytes, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    """A response as the standard library's client reads it. Nothing may follow it."""
    response = HTTPResponse(_Socket(data), method=method)  # type: ignore[arg-type]
    response.begin()
    file, body = response.fp, response.read()
    assert file.closed or file.read() == b""
    return response, body


def test_the_length_of_what_is_there_is_stated() -> None:
    for body in ([b"abc"], (b"a", b"bc"), [b"", b"abc", b""]):
        data = sent(an_answer(), responds(body))
        response, read = parsed(data)
        assert read == b"abc"
        assert response.headers["Content-Length"] == "3"
        assert "Transfer-Encoding" not in response.headers


def test_an_empty_body_has_a_length() -> None:
    for body in ([], [b""], iter([]), iter([b"", b""])):
        assert parsed(sent(an_answer(), responds(body)))[0].headers["Content-Length"] == "0"


def test_what_comes_piece_by_piece_is_chunked() -> None:
    answer = an_answer()
    data = sent(answer, responds(iter([b"a" * 20, b"", b"b"])))
    assert data.endswith(b"\r\n\r\n14\r\n" + b"a" * 20 + b"\r\n1\r\nb\r\n0\r\n\r\n")
    response, body = parsed(data)
    assert (body, answer.sent) == (b"a" * 20 + b"b", 21)
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in response.headers


def test_a_stated_length_frames_pieces() -> None:
    data = sent(an_answer(), responds(iter([b"ab", b"c"]), "200 OK", ("Content-Length", "3")))
    response, body = parsed(data)
    assert body == b"abc"
    assert "Transfer-Encoding" not in response.headers


def test_each_piece_is_sent_before_the_next_one_is_asked_for() -> None:
    asked = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"%d" % number

    answer = an_answer()
    answer.run(responds(pieces()), {})
    assert answer.take(True).endswith(b"1\r\n0\r\n")
    assert asked == [0]
    answer.pull()
    assert answer.take(True) == b"1\r\n1\r\n"
    assert asked == [0, 1]


def test_an_old_client_gets_the_end_of_the_connection_as_the_end_of_the_body() -> None:
    answer = an_answer("GET / HTTP/1.0", "\r\nConnection: keep-alive")
    response, body = parsed(sent(answer, responds(iter([b"a", b"b"]))))
    assert body == b"ab"
    assert response.headers["Connection"] == "close"
    assert not answer.keep_alive
    assert not {"Content-Length", "Transfer-Encoding"} & set(response.headers)


def test_an_old_client_may_stay() -> None:
    answer = an_answer("GET / HTTP/1.0", "\r\nConnection: keep-alive")
    assert parsed(sent(answer, responds([b"ab"])))[0].headers["Connection"] == "keep-alive"
    assert answer.keep_alive


def test_whether_the_connection_stays() -> None:
    for fields, stays, expected in (
        ("", True, "keep-alive"),
        ("", False, "close"),
        ("\r\nConnection: close", True, "close"),
    ):
        answer = an_answer(fields=fields)
        answer.run(responds([b"a"]), {})
        assert f"Connection: {expected}\r\n".encode() in answer.take(stays)
        assert answer.keep_alive is (expected == "keep-alive")


@pytest.mark.parametrize(
    ("line", "status", "length"),
    [
        ("HEAD / HTTP/1.1", "200 OK", "3"),
        ("HEAD / HTTP/1.1", "404 Not Found", "3"),
        ("GET / HTTP/1.1", "204 No Content", None),
        ("GET / HTTP/1.1", "304 Not Modified", "3"),
        ("HEAD / HTTP/1.0", "200 OK", "3"),
    ],
)
def test_answers_without_a_body(line: str, status: str, length: str | None) -> None:
    for body in ([b"abc"], iter([b"a", b"bc"])):
        answer = an_answer(line)
        data = sent(answer, responds(body, status, ("Content-Length", "3")))
        response, read = parsed(data, line.split(maxsplit=1)[0])
        assert read == b""
        assert data.endswith(b"\r\n\r\n")
        assert response.headers["Content-Length"] == length
        assert "Transfer-Encoding" not in response.headers
        assert answer.sent == 0


def test_a_head_alone_does_not_say_how_long_an_unknown_body_is() -> None:
    data = sent(an_answer("HEAD / HTTP/1.1"), responds(iter([b"a", b"b"])))
    assert not {"Content-Length", "Transfer-Encoding"} & set(parsed(data, "HEAD")[0].headers)


def test_too_few_bytes_are_an_error() -> None:
    answer = an_answer()
    answer.run(responds([b"ab"], "200 OK", ("Content-Length", "3")), {})
    with pytest.raises(EOFError, match="2 of 3"):
        answer.take(True)
    assert not answer.framed, "another response can still be sent"


def test_too_few_bytes_behind_the_head_are_an_error() -> None:
    answer = an_answer()
    answer.run(responds(iter([b"ab"]), "200 OK", ("Content-Length", "3")), {})
    assert answer.take(True).endswith(b"\r\n\r\nab")
    answer.pull()
    with pytest.raises(EOFError):
        answer.take(True)
    assert answer.framed


def test_too_many_bytes_are_not_sent() -> None:
    """They would be taken for the next response."""
    for body in ([b"abcd"], iter([b"abcd"]), iter([b"ab", b"cd", b"ef"])):
        assert parsed(sent(an_answer(), responds(body, "200 OK", ("Content-Length", "3"))))[1] == b"abc"
    assert parsed(sent(an_answer(), responds([b"a"], "200 OK", ("Content-Length", "0"))))[1] == b""


def test_write_sends_too() -> None:
    def application(_environ: dict[str, Any], start_response: Callable[..., Callable[[bytes], object]]) -> Any:
        write = start_response("200 OK", [("Content-Length", "4")])
        write(b"ab")
        write(b"c")
        return [b"d"]

    assert parsed(sent(an_answer(), application))[1] == b"abcd"


def test_an_error_response_takes_the_place_of_what_was_not_sent() -> None:
    def application(_environ: dict[str, Any], start_response: Callable[..., Callable[[bytes], object]]) -> Any:
        write = start_response("200 OK", [("X-A", "b"), ("Content-Length", "100")])
        write(b"half of ")
        try:
            _fail()
        except KeyError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    response, body = parsed(sent(an_answer(), application))
    assert (response.status, response.reason, body) == (500, "Oops", b"sorry")
    assert "X-A" not in response.headers


def test_an_error_behind_the_head_is_raised_again() -> None:
    started: list[Callable[..., object]] = []

    def application(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
        started.append(start_response)
        start_response("200 OK", [])
        yield b"a"
        try:
            _fail()
        except KeyError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"sorry"

    answer = an_answer()
    answer.run(application, {})
    answer.take(True)
    with pytest.raises(KeyError):
        answer.pull()


@pytest.mark.parametrize(
    ("application", "error"),
    [
        (lambda _environ, _start: [b"a"], AssertionError),
        (lambda _environ, _start: iter([b"a"]), AssertionError),
        (responds(None), TypeError),
        (responds(["text"]), TypeError),
        (responds(iter(["text"])), TypeError),
        (responds([b""], "OK"), ValueError),
        (responds([b""], "099 OK"), ValueError),
        (responds([b""], "200 OK\r\nX: a"), ValueError),
        (responds([b""], "200 OK", ("X", "a\r\nY: b")), ValueError),
        (responds([b""], "200 OK", ("X", "a\0")), ValueError),
        (responds([b""], "200 OK", ("X", "\u20ac")), ValueError),
        (responds([b""], "200 OK", ("X Y", "a")), ValueError),
        (responds([b""], "200 OK", ("", "a")), ValueError),
        (responds([b""], "200 OK", ("Content-Length", "-1")), ValueError),
        (responds([b""], "200 OK", ("Content-Length", "a")), ValueError),
        (responds([b""], "200 OK", ("Content-Length", "1_0")), ValueError),
        (lambda _environ, start: [start("200 OK", []), start("200 OK", [])], AssertionError),
    ],
)
def test_what_makes_no_response(application: Application, error: type[Exception]) -> None:
    answer = an_answer()
    with pytest.raises(error):
        sent(answer, application)
    assert not answer.framed


def test_fields_of_the_server_stay_its_own() -> None:
    own = [(name, "x") for name in ("Date", "Connection", "Transfer-Encoding", "Keep-Alive", "Upgrade", "Server")]
    response, _ = parsed(sent(an_answer(), responds([b"a"], "200 OK", *own, ("X-A", "b"), ("X-A", "c"))))
    assert response.headers.get_all("Connection") == ["keep-alive"]
    assert response.headers.get_all("Date") != ["x"]
    assert not {"Transfer-Encoding", "Keep-Alive", "Upgrade", "Server"} & set(response.headers)
    assert response.headers.get_all("X-A") == ["b", "c"]


class Closes:
    """An iterable that counts how often it is closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self._pieces, self._error, self.closed = iter(pieces), error, 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._error is not None:
            raise self._error
        return next(self._pieces)

    def close(self) -> None:
        self.closed += 1


def test_close_is_called_once() -> None:
    for body in (Closes(b"a", b"b"), Closes(b"a", error=KeyError("a"))):
        answer = an_answer()
        if body._error is None:
            answer.run(responds(body), {})
        else:
            with pytest.raises(KeyError):
                answer.run(responds(body), {})
        assert answer.has_close
        answer.close()
        answer.close()
        assert body.closed == 1
        assert not answer.has_close


def test_a_body_in_a_file_is_closed_also_if_close_fails() -> None:
    file = io.BytesIO()
    received = ReceivedBody(lambda: file)
    received.add(b"abc")
    received.write()
    answer = Answer(an_answer().head, received)
    body = Closes(b"a")
    body.close = _fail  # type: ignore[method-assign]
    answer.run(responds(body), {})
    with pytest.raises(KeyError):
        answer.close()
    assert file.closed


def _fail() -> None:
    raise KeyError("a")


class Twice(Later):
    """Two pieces, with nothing before each."""

    def __init__(self) -> None:
        self.subject, self.looks = "a", 0

    def look(self) -> bytes:
        self.looks += 1
        self.ended = self.looks == 4 or self.stopping
        return b"" if self.looks % 2 else b"%d" % self.looks


def test_an_answer_that_waits_begins_with_its_first_piece() -> None:
    answer, body = an_answer(), Twice()
    answer.run(responds(body), {})
    assert answer.later is body
    assert answer.take(True) == b""
    assert not answer.framed
    answer.pull()
    assert answer.take(True).endswith(b"\r\n\r\n1\r\n2\r\n")
    answer.pull()
    assert answer.take(True) == b"", "an empty chunk would be the last one"
    answer.pull()
    assert answer.take(True) == b"1\r\n4\r\n0\r\n\r\n"
    assert answer.ended


def test_an_answer_ends_as_the_server_stops() -> None:
    class Endless(Twice):
        def look(self) -> bytes:
            return b"x"

    for body, raises in ((Twice(), False), (Endless(), True)):
        answer = an_answer()
        answer.run(responds(body), {})
        body.stopping = True
        if raises:
            with pytest.raises(AssertionError):
                answer.pull()
        else:
            answer.pull()
            assert answer.ended


def test_an_answer_that_waits_passes_through_other_servers() -> None:
    assert list(Twice()) == [b"2", b"4"]


# Bodies of requests.


def test_a_body_is_the_same_in_memory_and_in_a_file() -> None:
    pieces = [bytes([number]) * number for number in range(100)]
    for writes in (set(), {0}, {50}, {10, 60, 99}):
        body = ReceivedBody(io.BytesIO)
        for number, piece in enumerate(pieces):
            body.add(piece)
            if number in writes:
                body.write()
                assert body.held == 0
        assert body.in_file is bool(writes)
        assert body.size == sum(range(100))
        assert body.whole().read() == b"".join(pieces)
        body.close()
        assert body.held == 0
