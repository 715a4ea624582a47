"""Answers predictions of all protocols: on the worker's loop, without Flask, or from a route.

A request is answered without Flask, whose request and response objects would double the time, if that is possible.
Everything else, above all errors, is left to the route of its path.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from flask import Response, request

from models.data.rows import Array
from models.errors import TrainyardError
from models.identifiers import qualified
from models.serving.served_model import ServedModel
from service.serving.inference import RowOverflowError, infer, infer_all
from service.serving.resolution import ServedVersion, Serving
from service.web.context import Context, context
from service.web.gate import CALLER
from service.web.json_bodies import LARGE, read_body, reserve_body
from service.web.memory import SMALL, Held, held_by
from service.web.protocols.exchange import Exchange, Reader, Reply
from service.web.shadows import note_shadowed
from service.web.sticky import sticky_of
from service.web.worker.front import Batchable, QuickAnswer
from service.web.worker.records import PREDICTED, Predicted
from service.web.worker.refusals import DATA_FIELDS, cors_of, data_headers, request_id_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["PredictionServer", "raise_refusal", "respond"]

#: Key in ``environ`` under which the middleware passes its error to the route.
_REFUSAL = "trainyard.refusal"
#: Rows times bytes of parameters up to which a prediction takes well under a millisecond.
AT_ONCE_BYTES = 8 * 2**20
#: Longer numbers exceed every limit, and Python refuses to parse integers with thousands of digits.
_LENGTH_DIGITS = 18


def raise_refusal(environ: WSGIEnvironment) -> None:
    """Raise what the middleware has found wrong with this request."""
    refusal: TrainyardError | None = environ.pop(_REFUSAL, None)
    if refusal is not None:
        try:
            raise refusal
        finally:
            del refusal  # Its traceback refers to this frame.


def respond(reader: Reader) -> Response:
    """The response of a route to a request that the middleware has left to it. Raises TrainyardError."""
    environ = request.environ
    raise_refusal(environ)
    exchange = reader.read(environ, read_body(request), held_by(environ))
    reply = _answered(context().serving, exchange, partial(held_by, environ), environ)
    return Response(reply.body, headers=reply.headers, content_type=reply.content_type)


class NotQuickError(Exception):
    """A request takes so much memory that it must not be answered at once."""


def _hold_nothing() -> Held:
    raise NotQuickError


class _Waiting(NamedTuple):
    """A request whose rows wait for the network, and when it was begun and read."""

    exchange: Exchange
    version: ServedVersion
    rows: Array
    environ: WSGIEnvironment
    began: float
    read: float


class PredictionServer:
    """WSGI middleware that responds to valid requests for predictions and passes on all others.

    ``reader_of`` returns the reader of a path. If ``batches``, requests that come at the same time share a pass.
    """

    def __init__(
        self,
        application: WSGIApplication,
        parts: Context,
        reader_of: Callable[[str], Reader | None],
        *,
        batches: bool = True,
    ) -> None:
        self._application, self._parts, self._reader_of = application, parts, reader_of
        self._computing, self._batches = parts.computing, batches

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reader = self.reader(environ)
        if reader is not None:
            reply = self._try(environ, reader)
            if reply is not None:
                headers = [("Content-Type", reply.content_type), *reply.headers, *data_headers(environ)]
                if not isinstance(reply.body, bytes):
                    start_response("200 OK", headers)
                    return reply.body
                headers.append(("Content-Length", str(len(reply.body))))
                start_response("200 OK", headers)
                return [reply.body]
        return self._application(environ, start_response)

    def reader(self, environ: WSGIEnvironment) -> Reader | None:
        """The reader of a request; None if it is none for predictions."""
        return self._reader_of(environ.get("PATH_INFO", "")) if environ["REQUEST_METHOD"] == "POST" else None

    def at_once(self, environ: WSGIEnvironment, body: bytes) -> QuickAnswer | Batchable | None:
        """The response to a request for few rows of a version that is loaded; None if ``__call__`` must respond.

        If others may share the pass of its rows, ``batch`` makes the response.
        """
        began = perf_counter()
        reader = self.reader(environ)
        if reader is None or environ.get("HTTP_CONTENT_ENCODING") or not reader.takes(environ):
            return None
        if len(body) > self._parts.body_bytes(environ):
            return None
        try:
            exchange = reader.read(environ, body, None)
            if exchange.asked.explain:
                return None
            sticky = exchange.sticky or sticky_of(environ)
            version = self._parts.serving_of(environ).at_once(exchange.model, exchange.wanted, sticky)
            if version is None:
                return None
            network, count = version.network, exchange.count
            memory, cost = count * network.row_memory, count * network.nbytes / AT_ONCE_BYTES
            shares = exchange.shares(network)
            if memory > SMALL or (cost > 1 and not (shares and self._batches)):
                return None
            rows = exchange.rows(network)
            if shares:
                waiting = _Waiting(exchange, version, rows, environ, began, perf_counter())
                return Batchable(network, cost, memory, waiting) if self._batches else self.batch([waiting])[0]
            reply = exchange.answer(version, rows, _hold_nothing)
        except (TrainyardError, NotQuickError):
            return None
        now = perf_counter()
        _note(environ, version, len(rows), 1, 0.0, 0.0, now - began, 0.0)
        if version.shadowed is not None:
            note_shadowed(environ, version, exchange, rows, None)
        return _quick(environ, reply)

    def batch(self, requests: Sequence[_Waiting]) -> list[QuickAnswer | None]:
        """The responses to requests of the same network, in one pass; None if ``__call__`` must respond."""
        began = perf_counter()
        predictions = infer_all([(each.version, each.rows) for each in requests])
        ended = perf_counter()
        answers: list[QuickAnswer | None] = []
        passes, inferred = 1, ended - began
        for each, prediction in zip(requests, predictions, strict=True):
            if prediction is None:
                answers.append(None)
                continue
            try:
                reply = each.exchange.reply(each.version, prediction)
            except TrainyardError:
                answers.append(None)
                continue
            now = perf_counter()
            environ, rows = each.environ, len(each.rows)
            _note(environ, each.version, rows, passes, began - each.read, each.read - each.began, inferred, now - ended)
            if each.version.shadowed is not None:
                note_shadowed(environ, each.version, each.exchange, each.rows, prediction.probabilities)
            answers.append(_quick(environ, reply))
            passes, ended = 0, now
        return answers

    def _try(self, environ: WSGIEnvironment, reader: Reader) -> Reply | None:
        """The reply; None if the route must respond, which gets the error or the body through ``environ``."""
        length = _length(environ)
        if environ.get("HTTP_CONTENT_ENCODING") or length is None or length > self._parts.body_bytes(environ):
            return None
        if not reader.takes(environ):
            return None
        held = None
        try:
            if length > LARGE:
                held = held_by(environ)
                reserve_body(held, length)
            body = environ["wsgi.input"].read(length)
        except TrainyardError as error:
            environ[_REFUSAL] = error.with_traceback(None)
            return None
        except OSError:
            return None
        # The route may have to read the body again; it refuses a body that ended early.
        environ["wsgi.input"] = io.BytesIO(body)
        if len(body) != length:
            return None
        try:
            with self._computing.turn() if length > LARGE else nullcontext():
                exchange = reader.read(environ, body, held)
                return _answered(self._parts.serving_of(environ), exchange, partial(held_by, environ), environ)
        except TrainyardError as error:
            # The body must not outlive the request, as it would until the next garbage collection, in a cycle.
            environ[_REFUSAL] = error.with_traceback(None)
            environ["wsgi.input"] = io.BytesIO()
        except Exception:  # noqa: BLE001, S110 - the route raises it again
            pass
        return None


def _answered(serving: Serving, exchange: Exchange, held: Callable[[], Held], environ: WSGIEnvironment) -> Reply:
    """What a version answers, which is noted in ``environ``; ``held`` is what the request holds."""
    version = serving.version(exchange.model, exchange.wanted, exchange.sticky or sticky_of(environ))
    began, prediction = perf_counter(), None
    try:
        rows = exchange.read(version, held)
        read = inferred = perf_counter()
        if exchange.shares(version.network):
            _hold_answer(version.network, len(rows), held)
            prediction = infer(version, rows)
            inferred = perf_counter()
            reply = exchange.reply(version, prediction)
        else:
            reply = exchange.answer(version, rows, held)
    except RowOverflowError as error:
        _note(environ, version, 0, 0, 0.0, perf_counter() - began, 0.0, 0.0, failed=True)
        raise exchange.moved(error) from None
    except TrainyardError:
        _note(environ, version, 0, 0, 0.0, perf_counter() - began, 0.0, 0.0, failed=True)
        raise
    _note(environ, version, len(rows), 1, 0.0, read - began, inferred - read, perf_counter() - inferred)
    if version.shadowed is not None:
        note_shadowed(environ, version, exchange, rows, None if prediction is None else prediction.probabilities)
    return reply


#: Times its text that an answer takes while it is made.
_MADE = 2


def _hold_answer(network: ServedModel, count: int, held: Callable[[], Held]) -> None:
    """Hold what the prediction of so many rows, and an answer with their probabilities, may take."""
    memory = network.computing_bytes(count) + _MADE * (network.label_bytes + count * network.row_bytes)
    if memory > SMALL:
        held().add(memory)


def _note(
    environ: WSGIEnvironment,
    version: ServedVersion,
    rows: int,
    passes: int,
    queue: float,
    read: float,
    infer: float,
    write: float,
    *,
    failed: bool = False,
) -> None:
    """Note in ``environ`` what was predicted, for the record of the request."""
    model = qualified(environ[CALLER].owner, version.model)
    environ[PREDICTED] = Predicted(model, version.number, rows, passes, queue, read, infer, write, failed)


def _quick(environ: WSGIEnvironment, reply: Reply) -> QuickAnswer | None:
    if not isinstance(reply.body, bytes):
        return None
    headers = [("Content-Type", reply.content_type), ("X-Request-Id", request_id_of(environ)), *reply.headers]
    return QuickAnswer("200 OK", [*headers, *cors_of(environ)], reply.body, DATA_FIELDS)


def _length(environ: WSGIEnvironment) -> int | None:
    """The body's length according to the request; None if it is missing or invalid."""
    text = environ.get("CONTENT_LENGTH", "")
    return int(text) if text.isdecimal() and len(text) <= _LENGTH_DIGITS else None
