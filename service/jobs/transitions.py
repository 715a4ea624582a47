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


def accepting(trigger: Trigger) -> list[str]:
    """The states in which a job accepts a trigger, in the order of ``State``; with a condition if a wish matters."""
    accepted = {situation for situation, following in TRANSITIONS.items() if trigger in following}
    named = []
    for state in State:
        wishes = [situation.wish for situation in TRANSITIONS if situation.state is state]
        found = [wish for wish in wishes if Situation(state, wish) in accepted]
        if len(found) == len(wishes):
            named.append(str(state))
        elif None in found:
            named.append(f"{state} (unless a {_any_of(set(wishes) - set(found))} is pending)")
        elif found:
            named.append(f"{state} (while a {_any_of(set(found))} is pending)")
    return named


def _any_of(wishes: set[Wish | None]) -> str:
    return " or ".join(wish for wish in Wish if wish in wishes)
