"""The web workers of a server: which processes they are, and requests that reach each of them."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Collection
from contextlib import ExitStack, closing

from testing.harness import Server

__all__ = ["ask_each", "web_workers"]

#: How often connections are opened to reach every worker, at most.
TRIES = 20


def web_workers(server: Server) -> list[int]:
    """The ids of the processes that answer."""
    assert server.process is not None
    return [each.pid for each in server.processes("gunicorn") if each.parent == server.process.pid]


def ask_each(server: Server, bodies: Collection[bytes], reached: Callable[[int], bool]) -> None:
    """Ask every worker for these predictions; ``reached`` says whether a worker has answered them.

    Raises AssertionError if an answer has another status than 200, or if a worker cannot be reached.
    """
    workers = web_workers(server)
    for _ in range(TRIES):
        with ExitStack() as stack:
            for _ in workers:  # New connections go to the workers that have the fewest.
                connection = http.client.HTTPConnection(server.client.base.removeprefix("http://"), timeout=60)
                stack.enter_context(closing(connection))
                for body in bodies:
                    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    assert answer.status == 200, answer.read()
                    answer.read()
        if all(map(reached, workers)):
            return
    raise AssertionError(f"not every worker was reached in {TRIES} tries: {[*map(reached, workers)]}")
