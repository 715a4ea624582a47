"""What is seen of a job while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.cli.output import Output
from trainyard.cli.progress import LINE, Progress, Run


def a_job(**members: Any) -> dict[str, Any]:
    """A running job of 200 epochs that holds rows out."""
    progress = {"epoch": 0, "epochs": 200, "step": 0, "fraction": 0.0, "eta_seconds": 5.0}
    return {
        "state": "running",
        "progress": progress,
        "members": [],
        "request": {"validation": {"fraction": 0.2}},
        **members,
    }


def an_epoch(number: int, loss: float, **members: Any) -> dict[str, Any]:
    return {
        "epoch": number,
        "loss": loss,
        "accuracy": 0.9,
        "validation_loss": loss / 2,
        "validation_log_loss": loss / 2,
        "validation_accuracy": 0.97,
        **members,
    }


def test_a_network_in_words() -> None:
    run = Run(a_job())
    run.report(an_epoch(100, 0.093))
    assert run.words() == ["epoch 100/200", "loss 0.093", "held out 0.046", "0.97 right", "5 s left"]
    assert run.share == 0.5


def test_the_time_left_is_told_when_it_is_no_guess() -> None:
    run = Run(a_job())
    run.report(an_epoch(1, 0.9))
    assert "left" not in " ".join(run.words())


def test_the_curve_has_epochs_that_were_validated() -> None:
    run = Run(a_job())
    run.report(an_epoch(1, 4.0))
    run.report(an_epoch(2, 3.0, validation_loss=None, validation_log_loss=None))
    run.report(an_epoch(3, 2.0))
    assert run.curve(12) == [2.0, 1.0]


def test_without_rows_held_out_the_curve_is_the_loss() -> None:
    run = Run(a_job(request={}))
    run.report(an_epoch(1, 4.0, validation_loss=None, validation_log_loss=None, validation_accuracy=None))
    assert run.curve(12) == [4.0]
    assert run.words()[:2] == ["epoch 1/200", "loss 4.00"]


def test_several_networks() -> None:
    """The curve is the mean of what each has reached, so it falls though they train one after the other."""
    members = [{"state": "ended"}, {"state": "running"}, {"state": "waiting"}]
    run = Run(a_job(members=members))
    for number, loss in ((1, 4.0), (2, 2.0), (3, 8.0)):
        run.report(an_epoch(number, loss, member=1))
    for number, loss in ((1, 8.0), (2, 4.0), (4, 2.0)):
        run.report(an_epoch(number, loss, member=2))
    assert run.words() == ["networks 1/3", "epoch 0", "held out 1.00"]
    assert run.reached == 1.0
    assert run.curve(4) == [3.0, 1.5, 1.5, 1.0]
    assert run.curve(12) == run.curve(4)


@pytest.mark.parametrize(("state", "told"), [("queued", "waits in the queue"), ("paused", "paused")])
def test_a_job_that_waits_says_so(state: str, told: str) -> None:
    assert Run(a_job(state=state)).words() == [told]


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_has_a_line_every_tenth_and_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock, run = Clock(), Run(a_job())
    progress = Progress(Output(at_terminal=False, watched=False), run, a_job, clock)
    for number in range(1, 101):
        clock.now += 0.2
        run.report(an_epoch(number, 1.0))
        progress.step()
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in told] == ["10", "20", "30", "40", "50"]
    assert told[0] == "10 %  epoch 20/200  loss 1.00  held out 0.50  0.97 right  5 s left"
    clock.now += LINE + 1.0
    progress.step()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clock, run = Clock(), Run(a_job())
    progress = Progress(Output(quiet=True, at_terminal=False, watched=True), run, a_job, clock)
    run.report(an_epoch(150, 1.0))
    clock.now += LINE
    progress.step()
    progress.close()
    assert capsys.readouterr().err == ""
