"""What is seen of a job while it runs: one moving line on a terminal, a line now and then in a log."""

from __future__ import annotations

import shutil
import sys
import time
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


class Run:
    """What is known of a job: its last state, and the losses that were reported."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job
        self.losses: list[float] = []
        self.last: Mapping[str, Any] = {}
        self._best: dict[int, float] = {}

    def report(self, epoch: Mapping[str, Any]) -> None:
        """Take in an epoch: of several networks, the curve is the mean of what each has reached so far."""
        held_out = epoch.get("validation_loss")
        value = held_out if held_out is not None else epoch.get("loss")
        member = epoch.get("member")
        if member is None:
            self.last = epoch
            if value is not None and (held_out is not None or not _has_held_out(self.job)):
                self.losses.append(value)
            return
        log_loss = epoch.get("validation_log_loss")
        value = value if log_loss is None else log_loss
        if value is not None and (log_loss is not None or held_out is not None):
            self._best[member] = min(value, self._best.get(member, value))
            self.losses.append(sum(self._best.values()) / len(self._best))

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
        if left is not None and self.share < 1:
            parts.append(f"{text.duration(left)} left")
        return parts

    def _network(self) -> list[str]:
        last = self.last
        parts = [f"epoch {text.number(last['epoch'])}/{text.number(self.job['progress']['epochs'])}"]
        if last.get("loss") is not None:
            parts.append(f"loss {last['loss']:.2g}")
        if last.get("validation_loss") is not None:
            parts.append(f"held out {last['validation_loss']:.2g}")
        if last.get("validation_accuracy") is not None:
            parts.append(f"{last['validation_accuracy']:.2f} right")
        return parts

    def _networks(self) -> list[str]:
        members = self.job.get("members") or []
        if not members:
            return ["starts"]
        ended = sum(member["state"] == "ended" for member in members)
        parts = [f"networks {ended}/{len(members)}", f"epoch {text.number(self.job['progress']['epoch'])}"]
        if self.losses:
            parts.append(f"held out {self.losses[-1]:.2g}")
        return parts


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
        curve = text.spark(self._run.losses, CURVE)
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
