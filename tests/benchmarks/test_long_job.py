"""The job beside predictions: its pace, and that figures of an ended job are refused."""

from __future__ import annotations

import io
import time
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import pytest

from benchmarks import long_job
from benchmarks.long_job import LongJob


class _Service:
    """Answers in place of a server: documents of a job, one after the other, or exceptions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        monkeypatch.setattr(long_job, "call", self.call)

    def call(self, _port: int, method: str, path: str, _body: Any = None) -> Any:
        self.asked.append((method, path))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _job(epoch: int, step: int = 0, state: str = "running") -> dict[str, Any]:
    return {"id": "job_1", "state": state, "progress": {"epoch": epoch, "step": step}}


def _refusal(status: int) -> HTTPError:
    return HTTPError("http://127.0.0.1/jobs/job_1", status, "", Message(), io.BytesIO())


def test_the_pace_is_what_was_done_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    _Service(monkeypatch, _job(10, 1000), _job(14, 1300))
    begin = time.perf_counter()
    result, pace = LongJob(1, "job_1").during(lambda: time.sleep(0.1) or "done")
    whole = time.perf_counter() - begin
    assert result == "done"
    assert 4 / whole <= pace.epochs <= 4 / 0.1
    assert pace.steps == pytest.approx(pace.epochs * 300 / 4)


def test_the_pace_of_an_ended_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _Service(monkeypatch, _job(10), _job(14, state="succeeded"))
    with pytest.raises(RuntimeError, match="more rows make it longer"):
        LongJob(1, "job_1").alone(0.0)


def test_an_overloaded_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    service = _Service(monkeypatch, _refusal(503), _job(3))
    assert LongJob(1, "job_1").document() == _job(3)
    assert service.asked == [("GET", "/jobs/job_1")] * 2


def test_another_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _Service(monkeypatch, _refusal(404), _job(3))
    with pytest.raises(HTTPError, match="404"):
        LongJob(1, "job_1").document()


def test_the_job_begins_with_epochs_and_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_job, "cores", lambda: 2)
    answers = [_job(0, state="queued"), _job(3), _job(4), _job(9), _job(9, state="cancelled")]
    service = _Service(monkeypatch, _job(0, state="queued"), *answers)
    with long_job.training(1, 0) as job:
        assert service.asked[-1] == ("GET", "/jobs/job_1")
        assert len(service.asked) == 4
        assert isinstance(job, LongJob)
    assert service.asked[-2:] == [("POST", "/jobs/job_1/cancel"), ("GET", "/jobs/job_1?wait=60")]


def test_a_job_that_fails_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _Service(monkeypatch, _job(0, state="queued"), _job(0, state="failed"))
    with pytest.raises(RuntimeError, match="the members must train within 90 s"), long_job.training(1, 0):
        pass
