"""Predictions as JSON: a whole document, or in blocks of rows if it would be a large one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from models.data.labels import Label
from models.data.rows import Array
from models.errors import InvalidError, TooLargeError
from models.features.report import RowReport
from models.serving.asked import NOTHING, Asked
from service.serving.inference import (
    Explanations,
    Prediction,
    RowOverflowError,
    infer,
    require_asked,
    require_explained,
    require_top_k,
)
from service.serving.resolution import ServedVersion
from service.web.json_bodies import json_bytes, json_line
from service.web.memory import SMALL, Held

__all__ = ["PredictionAnswer", "plain_document"]

#: Bytes that one block of rows takes, of what the network computes, of Python objects and of JSON together.
BLOCK = 8 * 2**20
#: Bytes of the JSON of one of the likeliest classes beside its label and probability, and of a row beside its values.
_TOP_BYTES, _ROW_BYTES = 30, 200
#: What a row's label in a list, and what is unusual about the row, take beside their texts.
_LABEL_BYTES, _REPORT_BYTES = 16, 800
#: Times its JSON that an answer takes while it is made: if it holds arrays alone, or Python objects too.
_OF_ARRAYS, _OF_OBJECTS = 2, 12


class PredictionAnswer:
    """The answer about some rows.

    ``rows`` (n_rows, n_inputs) are what the network reads, ``report`` what is unusual about each of them.
    """

    def __init__(
        self,
        version: ServedVersion,
        rows: Array,
        top_k: int | None = None,
        asked: Asked = NOTHING,
        report: list[RowReport] | None = None,
    ) -> None:
        self._version, self._rows, self._top_k, self._asked, self._report = version, rows, top_k, asked, report
        self._plain = top_k is None and asked is NOTHING

    def content(self, held: Callable[[], Held], place: str) -> bytes | Iterator[bytes]:
        """The JSON: whole, or in blocks that are computed as they are sent.

        What it takes is held. All rows are predicted before, so that every fault is found first.

        Raises RowOverflowError for the first row that overflows, InvalidError for what the version cannot answer and,
        at ``place``, for more rows than an answer may have, and TooLargeError and BusyError as ``Held.reserve``.
        """
        network, count = self._version.network, len(self._rows)
        length = network.label_bytes + count * (network.row_bytes if self._plain else self._row_length())
        computed = network.computing_bytes(count)
        made = _OF_ARRAYS if self._plain else _OF_OBJECTS
        if made * length + computed > SMALL:
            memory = held()
            if length > memory.memory.limit:
                raise self._too_long(memory.memory.limit, place)
            block = min(BLOCK, memory.memory.size // 4)
            if made * length + computed > block:
                return self._blocks(memory, made, block)
            memory.add(made * length + computed)
        return json_line(self._document())

    def _row_length(self) -> int:
        """Bytes of the JSON about one row at most."""
        network, asked, top_k = self._version.network, self._asked, self._top_k or 0
        length = network.row_bytes + _ROW_BYTES
        length += min(top_k, len(network.classes)) * (network.label_length + network.number_length + _TOP_BYTES)
        if asked.coverage is not None:
            length += network.label_bytes
        if asked.explain:
            length += network.name_bytes + network.inputs * network.number_length
        if self._report is not None:
            length += network.name_bytes
        return length

    def _too_long(self, limit: int, place: str) -> InvalidError | TooLargeError:
        network, each = self._version.network, self._row_length()
        most = (limit - network.label_bytes) // each
        detail = f"the answer takes up to {each} bytes a row, and an answer may have {limit}"
        if most < 1:
            return TooLargeError("too_large", f"{detail}: set TRAINYARD_MEMORY_BYTES higher")
        return InvalidError.at(place, f"must have at most {most} rows: {detail}. Received: {len(self._rows)}")

    def _document(self) -> dict[str, object]:
        prediction = infer(self._version, self._rows, self._asked)
        document = plain_document(prediction)
        if self._top_k is not None:
            document["top"] = _top(prediction, self._top_k)
        if prediction.sets is not None:
            document["sets"] = prediction.set_lists()
        return document | self._end(prediction) if not self._plain else document

    def _end(self, prediction: Prediction) -> dict[str, object]:
        """What an answer has after the values of each class."""
        document: dict[str, object] = {}
        if prediction.uncertainty is not None:
            document["uncertainty"] = prediction.uncertainty
        if prediction.explanations is not None:
            document |= _explained(prediction.explanations, prediction)
        if self._report is not None:
            document["report"] = _with_distance(self._report, prediction)
        return document

    def _blocks(self, memory: Held, made: int, block: int) -> Iterator[bytes]:
        network, asked, count = self._version.network, self._asked, len(self._rows)
        require_asked(asked, network)
        if self._top_k is not None:
            require_top_k(self._top_k, network.classes)
        if asked.explain:
            require_explained(count)
        each = made * self._row_length() + network.activation_bytes
        step = min(count, max(1, block // each))
        summary = network.label_length + _LABEL_BYTES + (0 if self._report is None else _REPORT_BYTES)
        memory.add(step * each + made * network.label_bytes + count * summary)
        labels, prediction = self._summary(step)
        return self._pieces(labels, prediction, step)

    def _predicted(self, step: int, asked: Asked) -> Iterator[Prediction]:
        """The predictions of all rows, in blocks of ``step`` rows."""
        for start in range(0, len(self._rows), step):
            try:
                yield infer(self._version, self._rows[start : start + step], asked)
            except RowOverflowError as error:
                raise RowOverflowError(start + error.row, str(self._version.network.dtype)) from None

    def _summary(self, step: int) -> tuple[list[Label], Prediction]:
        """The label of each row, and a prediction with all that has one value a row."""
        labels: list[Label] = []
        found: list[Prediction] = []
        for each in self._predicted(step, self._asked._replace(coverage=None, by_class=False)):
            labels += each.labels()
            found.append(each._replace(probabilities=np.empty((0, len(each.classes)))))
        first = found[0]
        explanations = first.explanations
        if explanations is not None:
            rows = [row for each in found if each.explanations is not None for row in each.explanations.rows]
            explanations = explanations._replace(rows=rows)
        uncertainty, distance = (
            None if getattr(first, name) is None else np.concatenate([getattr(each, name) for each in found])
            for name in ("uncertainty", "distance")
        )
        return labels, first._replace(uncertainty=uncertainty, distance=distance, explanations=explanations)

    def _pieces(self, labels: list[Label], prediction: Prediction, step: int) -> Iterator[bytes]:
        """The JSON document, in which what each class of each row has is computed again in blocks."""
        yield json_bytes(_beginning(prediction, labels))[:-1]
        members: dict[str, tuple[Asked, Callable[[Prediction], Any]]] = {
            "probabilities": (NOTHING, lambda found: np.ascontiguousarray(found.probabilities))
        }
        top_k, asked = self._top_k, self._asked
        if top_k is not None:
            members["top"] = NOTHING, lambda found: _top(found, top_k)
        if asked.coverage is not None:
            members["sets"] = Asked(asked.coverage, asked.by_class), lambda found: found.set_lists()
        for name, (wanted, values) in members.items():
            before = b',"%s":[' % name.encode()
            for found in self._predicted(step, wanted):
                yield before + json_bytes(values(found))[1:-1]
                before = b","
            yield b"]"
        end = json_bytes(self._end(prediction))
        yield b"," + end[1:] + b"\n" if len(end) > 2 else b"}\n"


def plain_document(prediction: Prediction) -> dict[str, object]:
    """The answer if nothing is asked for beside probabilities."""
    return {**_beginning(prediction, prediction.labels()), "probabilities": prediction.probabilities}


def _beginning(prediction: Prediction, labels: list[Label]) -> dict[str, object]:
    """What an answer begins with: what answered, the classes, and the likeliest one of each row."""
    return {**prediction.source, "classes": prediction.classes, "predictions": labels}


def _explained(explanations: Explanations, prediction: Prediction) -> dict[str, object]:
    """The baseline, and what each column of each row has added."""
    baseline, names = explanations.baseline, explanations.columns
    return {
        "baseline": {"kind": baseline.kind, "values": baseline.values},
        "explanations": [
            {
                "class": prediction.classes[row.code],
                "log_probability": row.log_probability,
                "at_baseline": row.at_baseline,
                "contributions": _by_name(row.contributions.tolist(), names),
                "corrected": row.corrected,
            }
            for row in explanations.rows
        ],
    }


def _by_name(numbers: list[float], names: Sequence[str] | None) -> dict[str, float] | list[float]:
    return numbers if names is None else dict(zip(names, numbers, strict=True))


def _with_distance(report: list[RowReport], prediction: Prediction) -> list[dict[str, object]]:
    """What is unusual about each row, its distance included if the version can say it."""
    if prediction.distance is None:
        return [row._asdict() for row in report]
    return [
        {"unseen": row[0], "missing": row[1], "out_of_range": row[2], "distance": distance, "unusual": unusual}
        for row, distance, unusual in zip(report, prediction.distance, prediction.unusual(), strict=True)
    ]


def _top(prediction: Prediction, top_k: int) -> list[list[dict[str, object]]]:
    """The most probable classes of each row; raises InvalidError if there are fewer classes than ``top_k``."""
    require_top_k(top_k, prediction.classes)
    places, probabilities = prediction.top(top_k)
    return [
        [
            {"class": prediction.classes[place], "probability": probability}
            for place, probability in zip(row.tolist(), values, strict=True)
        ]
        for row, values in zip(places, probabilities, strict=True)
    ]
