"""What a prediction's body may ask for beside probabilities, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import InvalidError
from models.schemas import load
from models.serving.asked import NOTHING, Asked
from service.web.predicted_files import FILE_PARAMETERS, FileQuerySchema, _asked
from service.web.protocols.native import _arguments

BODY = {"model": "m", "inputs": [[1.0]]}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, NOTHING),
        ({"coverage": None, "by_class": False, "uncertainty": False, "report": False, "explain": False}, NOTHING),
        ({"coverage": 0.9}, Asked(0.9)),
        ({"coverage": 0.5, "by_class": True}, Asked(0.5, by_class=True)),
        ({"uncertainty": True, "report": True}, Asked(uncertainty=True, distance=True)),
        ({"explain": True}, Asked(explain=True)),
        ({"explain": {}}, Asked(explain=True)),
        ({"explain": {"class": None}}, Asked(explain=True)),
        ({"explain": {"class": "yes"}}, Asked(explain=True, explained="yes")),
        ({"explain": {"class": False}}, Asked(explain=True, explained=False)),
        ({"explain": {"class": 2.0}}, Asked(explain=True, explained=2.0)),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_what_is_asked_for(members: dict[str, Any], expected: Asked) -> None:
    found = _arguments({**BODY, **members})[3]
    assert found == expected
    # Requests for probabilities alone take the short way.
    assert (found is NOTHING) == (expected is NOTHING)


@pytest.mark.parametrize(
    ("members", "pointers"),
    [
        ({"coverage": 0}, ["/coverage"]),
        ({"coverage": 1}, ["/coverage"]),
        ({"coverage": 90}, ["/coverage"]),
        ({"coverage": True}, ["/coverage"]),
        ({"coverage": "0.9"}, ["/coverage"]),
        ({"coverage": [0.9]}, ["/coverage"]),
        ({"by_class": True}, ["/by_class"]),
        ({"by_class": 1, "coverage": 0.9}, ["/by_class"]),
        ({"uncertainty": 1}, ["/uncertainty"]),
        ({"uncertainty": None}, ["/uncertainty"]),
        ({"report": "yes"}, ["/report"]),
        ({"explain": "yes"}, ["/explain"]),
        ({"explain": None}, ["/explain"]),
        ({"explain": {"clas": "yes"}}, ["/explain/clas"]),
        ({"explain": {"class": ["yes"]}}, ["/explain/class"]),
        ({"explain": {"class": 0.5}}, ["/explain/class"]),
        ({"coverage": 2, "uncertainty": 0, "explain": 1}, ["/uncertainty", "/coverage", "/explain"]),
        ({"uncertanty": True}, ["/uncertanty"]),
    ],
    ids=str,
)
def test_all_faults_are_refused_together(members: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(InvalidError) as refusal:
        _arguments({**BODY, **members})
    assert [problem.pointer for problem in refusal.value.problems] == pointers


class TestFiles:
    def test_what_a_query_asks_for(self) -> None:
        query = load(FileQuerySchema(), {"model": "m", "coverage": "0.9", "by_class": "true", "uncertainty": "true"})
        assert _asked(query) == Asked(0.9, by_class=True, uncertainty=True)
        assert _asked(load(FileQuerySchema(), {"model": "m"})) == NOTHING

    @pytest.mark.parametrize("coverage", ["", "1", "0", "-0.5", "nan", "inf", "90%", "0,9"])
    def test_a_coverage_is_a_number_between_0_and_1(self, coverage: str) -> None:
        with pytest.raises(InvalidError, match=r"greater than 0 and less than 1") as refusal:
            load(FileQuerySchema(), {"model": "m", "coverage": coverage})
        assert refusal.value.problems[0].pointer == "/coverage"

    def test_it_is_described_as_a_number(self) -> None:
        (coverage,) = [each for each in FILE_PARAMETERS if each["name"] == "coverage"]
        assert coverage["schema"] == {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
