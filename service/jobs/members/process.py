"""The process of a member: waits for a task on the socket that is its standard input, trains, and reports there.

It uses no database, and no files but those of compiled code. The end of its standard input means "save and stop",
because the runner closed it or died, so no such process outlives its runner.
"""

from __future__ import annotations

import logging
import select
import socket
from time import monotonic

from models.training.member_run import MemberRun, failed
from models.training.members import Ended, MemberData, MemberFailure, MemberTask, Stopped
from service.jobs.members.frames import AskState, Share, receive, send
from service.jobs.readiness import make_compiler_ready, make_ready
from service.settings import Settings

__all__ = ["OUT_OF_MEMORY", "main"]

_log = logging.getLogger("trainyard.member")

#: Seconds between two looks for commands, and between two reports.
LOOK_SECONDS, REPORT_SECONDS = 0.05, 0.2
#: The code of a member that failed because memory ran out, which is not its own fault.
OUT_OF_MEMORY = "out_of_memory"


class Process:
    """Carries out tasks, one after the other; holds each shared data once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data: dict[str, MemberData] = {}
        #: Whether the runner has closed the connection.
        self._over = False
        self._next_look = 0.0

    def serve(self) -> None:
        """Carry out tasks until the connection ends."""
        while (task := self._next_task()) is not None:
            try:
                self._carry_out(task)
            except MemoryError:
                send(self._connection, MemberFailure(task.number, OUT_OF_MEMORY, "memory ran out"))
            except OSError:
                raise  # The connection has failed.
            except Exception as error:  # noqa: BLE001 - the runner gets it as a report
                send(self._connection, failed(task.number, error))

    def _next_task(self) -> MemberTask | None:
        while not self._over and (received := receive(self._connection)) is not None:
            command, descriptors = received
            match command:
                case Share():
                    self._data[command.name] = command.data(*descriptors).ready()
                case MemberTask():
                    return command
                case AskState():
                    pass  # It crossed the report that the member has ended.
        return None

    def _carry_out(self, task: MemberTask) -> None:
        run = MemberRun(task, self._data[task.data])
        end: Ended | Stopped | MemberFailure | None = None
        next_report = monotonic() + REPORT_SECONDS
        while end is None:
            self._next_look = monotonic() + LOOK_SECONDS
            end = run.advance(self._is_time_to_look)
            asked = end is None and self._is_asked_for_state()
            if end is None and self._over:
                end = run.stop()
            if end is not None or monotonic() >= next_report:
                send(self._connection, run.looked())
                next_report = monotonic() + REPORT_SECONDS
            if asked and end is None:
                send(self._connection, run.saved())
        send(self._connection, end)

    def _is_time_to_look(self) -> bool:
        return monotonic() >= self._next_look

    def _is_asked_for_state(self) -> bool:
        """Read the commands that have arrived. Sets ``_over`` if the connection has ended."""
        asked = False
        while not self._over and select.select([self._connection], [], [], 0)[0]:
            received = receive(self._connection)
            self._over = received is None
            asked = asked or received is not None
        return asked


def main() -> None:
    """Serve the runner."""
    make_ready(1)
    settings = Settings.read()
    if settings.kernel_kind == "llvm":
        # The runner has compiled what most members need.
        make_compiler_ready(settings, ahead=False)
    with socket.socket(fileno=0) as connection:
        try:
            Process(connection).serve()
        except (BrokenPipeError, ConnectionResetError):
            _log.info("the runner has ended")
