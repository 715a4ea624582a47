"""The table of transitions between a job's states, which ``lifecycle``, OpenAPI and the documentation read."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from service.jobs.record import State, Wish

__all__ = ["TRANSITIONS", "Situation", "Trigger", "accepting"]


class Trigger(StrEnum):
    """What happens to a job."""

    #: A client asks.
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    #: A client deletes the job's model.
    ABANDON = "abandon"
    #: A trainer becomes the job's owner.
    CLAIM = "claim"
    #: The owner's runner ends: after the last epoch, because it cannot go on, or because it was to stop.
    FINISH = "finish"
    FAIL = "fail"
    STOP = "stop"
    #: The owner or its runner dies; it was the last attempt.
    LOSE = "lose"
    GIVE_UP = "give up"


class Situation(NamedTuple):
    """What decides how a job goes on: its state, and if it is running, what a client wishes."""

    state: State
    wish: Wish | None = None


QUEUED, RUNNING, PAUSED = Situation(State.QUEUED), Situation(State.RUNNING), Situation(State.PAUSED)
PAUSING, CANCELLING = Situation(State.RUNNING, Wish.PAUSE), Situation(State.RUNNING, Wish.CANCEL)
SUCCEEDED, FAILED, CANCELLED = Situation(State.SUCCEEDED), Situation(State.FAILED), Situation(State.CANCELLED)

#: By situation and trigger, the next situation. Other combinations are refused.
TRANSITIONS: dict[Situation, dict[Trigger, Situation]] = {
    QUEUED: {
        Trigger.CANCEL: CANCELLED,
        Trigger.PAUSE: PAUSED,
        Trigger.ABANDON: CANCELLED,
        Trigger.CLAIM: RUNNING,
    },
    RUNNING: {
        Trigger.CANCEL: CANCELLING,
        Trigger.PAUSE: PAUSING,
        Trigger.ABANDON: CANCELLED,
        Trigger.FINISH: SUCCEEDED,
        Trigger.FAIL: FAILED,
        Trigger.STOP: QUEUED,
        Trigger.LOSE: QUEUED,
        Trigger.GIVE_UP: FAILED,
    },
    PAUSING: {
        Trigger.CANCEL: CANCELLING,
        Trigger.PAUSE: PAUSING,
        Trigger.RESUME: RUNNING,
        Trigger.ABANDON: CANCELLED,
        Trigger.FINISH: SUCCEEDED,
        Trigger.FAIL: FAILED,
        Trigger.STOP: PAUSED,
        Trigger.LOSE: PAUSED,
        Trigger.GIVE_UP: FAILED,
    },
    CANCELLING: {
        Trigger.CANCEL: CANCELLING,
        Trigger.ABANDON: CANCELLED,
        Trigger.FINISH: SUCCEEDED,
        Trigger.FAIL: FAILED,
        Trigger.STOP: CANCELLED,
        Trigger.LOSE: CANCELLED,
        Trigger.GIVE_UP: CANCELLED,
    },
    PAUSED: {
        Trigger.CANCEL: CANCELLED,
        Trigger.RESUME: QUEUED,
        Trigger.ABANDON: CANCELLED,
    },
    SUCCEEDED: {},
    FAILED: {},
    CANCELLED: {},
}


def accepting(trigger: Trigger) -> list[State]:
    """The states, in the order of ``State``, in which a job accepts a trigger, whatever a client wished before."""
    found = {situation.state for situation, following in TRANSITIONS.items() if trigger in following}
    return [state for state in State if state in found]
