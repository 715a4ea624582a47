"""Shadows: versions that predict the rows of requests which another version has answered, after the answer was sent.

An answer waits for nothing of this. It notes its rows; the record of the request, which is made when the answer was
sent, has them; and one thread of the worker predicts them, for a part of its time. What comes faster is dropped, and
counted.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from models.data.rows import Array
from models.errors import NoRoomError, TrainyardError
from models.formats.durable import UnreachableError
from models.identifiers import qualified
from models.registry import versions
from models.registry.callers import Caller
from models.registry.integrity import DamagedError
from models.registry.traffic import Shadow
from models.serving.served_model import ServedModel
from service.serving.agreement import agreement
from service.serving.inference import Prediction, infer, infer_all
from service.serving.resolution import ServedVersion, Serving
from service.store.database import Database
from service.store.files import FileStore
from service.web.computing import Computing
from service.web.gate import CALLER
from service.web.protocols.exchange import Exchange
from service.web.shadow_metrics import Outcome, ShadowMetrics
from service.web.sticky import sticky_of
from service.web.worker.records import SHADOWED, Record

__all__ = ["Shadowed", "Shadows", "note_shadowed"]

_log = logging.getLogger("trainyard.web")

#: Bytes of rows, or of a body, up to which a request is predicted again.
REQUEST_BYTES = 2**20
#: Bytes of all requests that wait, each of which counts for some more.
WAITING_BYTES, BESIDE_BYTES = 8 * 2**20, 2_000
#: Requests and rows that are predicted at a time: while it writes their lines, the thread keeps others from running.
GROUP, GROUP_ROWS = 32, 256
#: The thread rests so many times as long as it works, at most for so many seconds.
REST, LONGEST_REST = 3.0, 1.0


class Shadowed(NamedTuple):
    """What a request leaves to a shadow; ``kept`` is None if it is too large.

    ``alias`` is what it asked for, ``version`` what has answered.
    """

    caller: Caller
    alias: str
    shadow: Shadow
    version: ServedVersion
    sticky: str | None
    kept: Kept | None

    @property
    def size(self) -> int:
        """Bytes that it counts for while it waits."""
        return BESIDE_BYTES + (0 if self.kept is None else self.kept.size)

    @property
    def model(self) -> str:
        """The model's qualified name."""
        return qualified(self.caller.owner, self.version.model)


class Kept(NamedTuple):
    """The rows of a request: as it has them, and as the network of the version that answered has read them.

    ``probabilities`` (n_rows, n_classes) are None if the answer was made without them. ``size`` is in bytes.
    """

    exchange: Exchange
    rows: Array
    probabilities: Array | None
    size: int

    def read_by(self, version: ServedVersion, other: ServedModel) -> Array:
        """What another network reads. Raises InvalidError if it cannot read the rows of the request."""
        network = version.network
        alike = network.plan is None and other.plan is None and network.dtype == other.dtype
        return self.rows if alike and network.inputs == other.inputs else self.exchange.rows(other)


def note_shadowed(
    environ: dict[str, Any], version: ServedVersion, exchange: Exchange, rows: Array, probabilities: Array | None
) -> None:
    """Note in ``environ`` what the shadow of an alias is to predict, if this request is one of its share."""
    assert version.shadowed is not None
    alias, shadow = version.shadowed
    if shadow.share < 1 and random.random() >= shadow.share:  # noqa: S311 - it guards nothing
        return
    length = environ.get("CONTENT_LENGTH") or ""
    size = max(rows.nbytes, int(length) if length.isdecimal() else exchange.count * version.network.row_memory)
    kept = Kept(exchange, rows, probabilities, size) if size <= REQUEST_BYTES else None
    sticky = exchange.sticky or sticky_of(environ)
    environ[SHADOWED] = Shadowed(environ[CALLER], alias, shadow, version, sticky, kept)


class _Waiting(NamedTuple):
    """A request that waits for its shadow, and when it was answered."""

    at: float
    request_id: str | None
    left: Shadowed
    kept: Kept


class Shadows:
    """The shadows of one process, and the thread that predicts with them. ``most`` bytes of logs are kept."""

    def __init__(
        self,
        database: Database,
        serving: Serving,
        files: FileStore,
        computing: Computing,
        metrics: ShadowMetrics,
        most: int,
    ) -> None:
        self._database, self._serving, self._files = database, serving, files
        self._computing, self._metrics, self._most = computing, metrics, most
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, record: Record) -> None:
        """Let the shadow of an answered request predict its rows soon, unless too many wait already."""
        left: Shadowed = record.shadowed
        with self._lock:
            if left.kept is None or self._bytes + left.size > WAITING_BYTES:
                self._count(left, Outcome.DROPPED)
                return
            self._bytes += left.size
            self._waiting.append(_Waiting(record.at, record.request_id, left, left.kept))
            if self._thread is None:
                # In the process that predicts, never in the one that it is forked from.
                self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        rest = threading.Event()
        while True:
            self._wake.wait()
            self._wake.clear()
            while group := self._next():
                began = perf_counter()
                try:
                    self._predict(group)
                except Exception:  # noqa: BLE001 - whatever it is, the next requests may be predicted
                    _log.exception("a shadow could not predict")
                    self._count(group[0].left, Outcome.FAILED, len(group))
                rest.wait(min(REST * (perf_counter() - began), LONGEST_REST))

    def _next(self) -> list[_Waiting]:
        """The requests that have waited longest, of one shadow."""
        group: list[_Waiting] = []
        rows = 0
        with self._lock:
            while self._waiting and len(group) < GROUP and rows < GROUP_ROWS:
                first = self._waiting[0]
                if group and _key(first.left) != _key(group[0].left):
                    break
                group.append(self._waiting.popleft())
                self._bytes -= first.left.size
                rows += len(first.kept.rows)
        return group

    def _predict(self, group: list[_Waiting]) -> None:
        """Predict the rows of requests of one shadow, compare, and log what is to be logged."""
        left = group[0].left
        try:
            shadow = self._serving.of(left.caller).version(left.version.model, left.shadow.version)
        except (TrainyardError, DamagedError, UnreachableError, sa.exc.OperationalError) as error:
            _log.warning("version %s of %s cannot predict: %s", left.shadow.version, left.model, error)
            self._count(left, Outcome.FAILED, len(group))
            return
        readable, parts = [], []
        for waiting in group:
            try:
                parts.append((shadow, waiting.kept.read_by(waiting.left.version, shadow.network)))
            except TrainyardError:  # Its columns differ; how many requests fail is counted.
                self._count(left, Outcome.FAILED)
            else:
                readable.append(waiting)
        if not parts:
            return
        with self._computing.turn():
            found = infer_all(parts)
            known = [_known(waiting) for waiting in readable]
        lines, predicted = [], 0
        for waiting, one, other in zip(readable, known, found, strict=True):
            if other is None:
                self._count(left, Outcome.FAILED)
                continue
            predicted += 1
            self._metrics.compare(left.model, left.alias, left.shadow.version, agreement(one, other))
            if left.shadow.log:
                lines.append(_lines(waiting, one, other))
        if lines:
            self._append(left, lines)
        # Last, so that who sees a request counted finds its rows compared and logged.
        self._count(left, Outcome.PREDICTED, predicted)

    def _append(self, left: Shadowed, lines: Sequence[bytes]) -> None:
        """Append lines to the alias's log, if it still has this shadow."""
        try:
            with self._database.of(left.caller).read() as connection:
                model = versions.require_model(connection, left.version.model)
                traffic = versions.traffic(connection, left.version.model, left.alias)
            if traffic is None or traffic.shadow != left.shadow:
                return
            if self._files.shadows.append(model, left.alias, b"".join(lines), self._most):
                return
            reason = f"they take more than TRAINYARD_SHADOW_BYTES={self._most}"
        except (TrainyardError, OSError, sa.exc.OperationalError) as error:
            reason = error.detail if isinstance(error, NoRoomError) else str(error)
        _log.warning("rows of the shadow of %s/%s are not logged: %s", left.model, left.alias, reason)
        self._count(left, Outcome.UNLOGGED, len(lines))

    def _count(self, left: Shadowed, outcome: str, requests: int = 1) -> None:
        self._metrics.count(left.model, left.alias, left.shadow.version, outcome, requests)


def _key(left: Shadowed) -> tuple[object, ...]:
    return left.caller.owner, left.version.model, left.alias, left.shadow


def _known(waiting: _Waiting) -> Prediction:
    """What the version that answered has predicted; it predicts once more if its probabilities are not known."""
    version, probabilities = waiting.left.version, waiting.kept.probabilities
    if probabilities is None:
        return infer(version, waiting.kept.rows)
    return Prediction(version.model, version.number, version.network.classes, probabilities, version.checkpoint)


def _lines(waiting: _Waiting, one: Prediction, other: Prediction) -> bytes:
    """A line for each row of a request, with what both versions have predicted."""
    left = waiting.left
    at = datetime.fromtimestamp(waiting.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    of_request = {
        "at": at,
        "request_id": waiting.request_id,
        "sticky": left.sticky,
        "model": left.version.model,
        "alias": left.alias,
        "version": one.version,
        "shadow_version": other.version,
    }
    rows: Any = waiting.kept.exchange.given()
    if rows is None and left.version.network.plan is None:
        rows = waiting.kept.rows
    labels = zip(one.labels(), other.labels(), strict=True)
    return b"".join(
        orjson.dumps(
            {
                **of_request,
                "index": index,
                "row": None if rows is None else rows[index],
                "prediction": label,
                "probabilities": one.probabilities[index],
                "shadow_prediction": shadow_label,
                "shadow_probabilities": other.probabilities[index],
            },
            option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE,
        )
        for index, (label, shadow_label) in enumerate(labels)
    )
