"""What is seen of a job while it runs: one moving line on a terminal, a line now and then in a log."""

from __future__ import annotations

import shutil
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.output import Output

__all__ = ["Progress", "Run"]

#: Seconds from one picture on a terminal to the next, from one question for the job to the next, and between lines.
FRAME, ASK, LINE = 0.1, 1.0, 30.0
#: Places of the curve.
CURVE = 12
#: The share of the work after which the time that is left is no guess.
SURE = 0.03


class Run:
    """What is known of a job: its last state, and the losses that were reported."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job
        self._losses: list[float] = []
        self.last: Mapping[str, Any] = {}
        self._members: dict[int, list[tuple[int, float]]] = {}

    def report(self, epoch: Mapping[str, Any]) -> None:
        """Take in an epoch; of a job that holds rows out, only epochs that were validated are in the curve."""
        held_out, member = epoch.get("validation_log_loss"), epoch.get("member")
        if held_out is None:
            held_out = epoch.get("validation_loss")
        if member is not None:
            self._reach(member, epoch["epoch"], held_out)
            return
        self.last = epoch
        value = held_out if held_out is not None or _has_held_out(self.job) else epoch.get("loss")
        if value is not None:
            self._losses.append(value)

    def _reach(self, member: int, epoch: int, held_out: float | None) -> None:
        """Keep an epoch of one of several networks if it is its best one so far."""
        reached = self._members.setdefault(member, [])
        if held_out is not None and (not reached or held_out < reached[-1][1]):
            reached.append((epoch, held_out))

    @property
    def reached(self) -> float | None:
        """What several networks have reached: the mean of the best losses on rows that they do not train on."""
        best = [reached[-1][1] for reached in self._members.values() if reached]
        return sum(best) / len(best) if best else None

    def curve(self, places: int) -> list[float]:
        """The losses; of several networks, the mean of what each had reached by an epoch."""
        known = [reached for reached in self._members.values() if reached]
        if not known:
            return self._losses
        last = max(reached[-1][0] for reached in known)
        means = []
        for epoch in dict.fromkeys(max(1, last * place // places) for place in range(1, places + 1)):
            best = [reached[_behind(reached, epoch) - 1][1] for reached in known if _behind(reached, epoch)]
            if best:
                means.append(sum(best) / len(best))
        return means

    @property
    def share(self) -> float:
        """How much of the work is done, 0 to 1."""
        if self.last and self.last["epoch"]:
            return float(self.last["epoch"] / max(1, self.job["progress"]["epochs"]))
        return float(self.job["progress"]["fraction"] or 0.0)

    def words(self) -> list[str]:
        """The parts of a line, the most important first."""
        state = self.job["state"]
        if state != "running":
            return [{"queued": "waits in the queue", "paused": "paused"}.get(state, state)]
        parts = self._network() if self.last else self._networks()
        left = self.job["progress"].get("eta_seconds")
        if left is not None and SURE < self.share < 1:
            parts.append(f"{text.duration(left)} left")
        return parts

    def _network(self) -> list[str]:
        last = self.last
        parts = [f"epoch {text.number(last['epoch'])}/{text.number(self.job['progress']['epochs'])}"]
        if last.get("loss") is not None:
            parts.append(f"loss {_loss(last['loss'])}")
        if last.get("validation_loss") is not None:
            parts.append(f"held out {_loss(last['validation_loss'])}")
        if last.get("validation_accuracy") is not None:
            parts.append(f"{last['validation_accuracy']:.2f} right")
        return parts

    def _networks(self) -> list[str]:
        members = self.job.get("members") or []
        if not members:
            return ["starts"]
        ended = sum(member["state"] == "ended" for member in members)
        parts = [f"networks {ended}/{len(members)}", f"epoch {text.number(self.job['progress']['epoch'])}"]
        if self.reached is not None:
            parts.append(f"held out {_loss(self.reached)}")
        return parts


def _behind(reached: list[tuple[int, float]], epoch: int) -> int:
    """Number of entries up to an epoch."""
    return bisect_right(reached, epoch, key=lambda entry: entry[0])


def _loss(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _has_held_out(job: Mapping[str, Any]) -> bool:
    return bool((job.get("request") or {}).get("validation"))


class Progress:
    """Shows a run. ``ask`` is how the job's state is found out, ``clock`` a clock in seconds."""

    def __init__(
        self,
        output: Output,
        run: Run,
        ask: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output, self._run, self._ask, self._clock = output, run, ask, clock
        self._moving = output.watched and not output.quiet
        self._drawn = self._asked = float("-inf")
        self._line_at, self._tenths = clock(), 0
        self._shown = False

    def step(self) -> None:
        """Show what is new, if it is time for it."""
        now = self._clock()
        if self._output.quiet or now - self._drawn < FRAME:
            return
        self._drawn = now
        if now - self._asked >= ASK:
            self._asked, self._run.job = now, self._ask()
        if self._moving:
            self._draw()
        else:
            self._log(now)

    def _draw(self) -> None:
        words = self._run.words()
        curve = text.spark(self._run.curve(CURVE), CURVE)
        encoding = sys.stderr.encoding
        if curve and text.sign(curve, encoding) == curve:
            words.insert(0, f"{curve:<{CURVE}}")
        line = text.cut(text.sign("  " + "  ".join(words), encoding), shutil.get_terminal_size().columns - 1)
        click.echo(f"\r{line}\x1b[K", nl=False, err=True)
        self._shown = True

    def _log(self, now: float) -> None:
        """A line at every tenth of the work, and every half minute."""
        tenths = int(self._run.share * 10)
        if self._run.job["state"] == "running" and (tenths > self._tenths or now - self._line_at >= LINE):
            self._line_at, self._tenths = now, tenths
            self._output.say("  ".join([f"{100 * self._run.share:.0f} %", *self._run.words()]))

    def close(self) -> None:
        """Take the moving line away."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._shown = False
