"""What schemathesis loads beside the OpenAPI document: files to send, known ids, and checks that go beyond its own.

``security.fuzz`` starts schemathesis with ``SCHEMATHESIS_HOOKS`` naming this module, and with what exists in ``KNOWN``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zlib import crc32

import schemathesis
from hypothesis import strategies as st

from reliability.mutations import mutated
from security.answers import fault_of, is_documented
from security.tables import bases

__all__ = ["CHECKPOINT", "KNOWN"]

#: Environment variable with the ids of what exists, by the parameter that names it, as JSON.
KNOWN = "FUZZ_KNOWN"
#: Environment variable with the path of a checkpoint file.
CHECKPOINT = "FUZZ_CHECKPOINT"
#: Epochs that a job may train: its result does not depend on how long it takes.
_EPOCHS = 3

_known: dict[str, list[str]] = json.loads(os.environ.get(KNOWN, "{}"))


def _fields(response: Any) -> dict[str, str]:
    return {name.lower(): ",".join(values) for name, values in response.headers.items()}


@schemathesis.check
def problem_documents(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Every error is a whole problem document with a documented code, and no route answers what it does not list."""
    if case.method in ("HEAD", "OPTIONS"):  # One has no body, and the other none that a document describes.
        return
    fault = fault_of(response.status_code, _fields(response), response.content)
    assert fault is None, fault
    listed = {str(status) for status in case.operation.definition.raw.get("responses", {})}
    documented = is_documented(response.status_code, response.content, listed)
    assert documented, f"the route must list {response.status_code}. Received: {response.content[:300]!r}"
    assert "x-request-id" in _fields(response), "every answer must have X-Request-Id"


@schemathesis.deserializer("application/x-ndjson")
def first_line(_ctx: Any, response: schemathesis.Response) -> Any:
    """The first of a stream's lines, which are all of one shape; the document describes a line."""
    lines = [json.loads(line) for line in response.content.splitlines()]
    assert len({tuple(line) for line in lines}) <= 1, "all lines must have the same members"
    return lines[0] if lines else {"epoch": 1, "loss": None}


schemathesis.serializer.alias("application/x-hdf5", "application/octet-stream")


def _files(*kinds: str) -> st.SearchStrategy[bytes]:
    """Good files of some kinds, and mutated ones."""
    files = [content for kind in kinds for content in bases()[kind]]
    mutations = st.builds(
        lambda content, number: mutated([content], number), st.sampled_from(files), st.integers(0, 999)
    )
    return st.sampled_from(files) | mutations | st.binary(max_size=200)


def _checkpoints() -> st.SearchStrategy[bytes]:
    place = os.environ.get(CHECKPOINT)
    if place is None:
        return st.binary(max_size=200)
    content = Path(place).read_bytes()
    return st.just(content) | st.builds(lambda number: mutated([content], number), st.integers(0, 999))


schemathesis.openapi.media_type("text/csv", _files("csv"))
schemathesis.openapi.media_type("application/octet-stream", _files("csv", "ndjson", "parquet"))
schemathesis.openapi.media_type("application/x-hdf5", _checkpoints())


def _chosen(name: str, value: object) -> str | None:
    """A known id in place of every other value; None if the value stays. The same value is treated the same."""
    names, number = _known.get(name), crc32(repr(value).encode())
    return names[number // 2 % len(names)] if names and number % 2 else None


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Name what exists, so that requests reach more than 404; requests that follow links do already."""
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("epochs"), int):
        body["epochs"] = min(body["epochs"], _EPOCHS)
    meta = case.meta
    if meta is not None and meta.phase.name.value == "stateful" and case.headers:
        # The answer that is stored under a key is of what may have been deleted since.
        case.headers.pop("Idempotency-Key", None)
    if meta is None or not meta.generation.mode.is_positive or meta.phase.name.value == "stateful":
        return
    if case.method != "DELETE" and isinstance(case.path_parameters, dict):
        for name, value in case.path_parameters.items():
            case.path_parameters[name] = _chosen(name, value) or value
    if isinstance(body, dict):
        for name in ("model", "data"):
            if isinstance(body.get(name), (str, dict)):
                body[name] = _chosen(name, body[name]) or body[name]
