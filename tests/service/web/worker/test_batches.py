"""Batches without a loop around them: what shares one, what waits, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.web.worker.batches import BATCH_BYTES, LOOP_COST, WAITING_SECONDS, Batches
from service.web.worker.front import Batchable, Front, QuickAnswer

#: Costs of a request that the loop computes, and of one for a thread.
QUICK, HEAVY = 0.5, 2 * LOOP_COST


class Client:
    """A connection that notes the answers to its request."""

    def __init__(self) -> None:
        self.answers: list[QuickAnswer | None] = []

    def batched(self, quick: QuickAnswer | None) -> None:
        self.answers.append(quick)


class Place(Front):
    """A front that answers each request with itself; and threads that run when a test says so."""

    def __init__(self, cores: int = 1) -> None:
        self.batches = Batches(self, self.away, cores)
        self.computed: list[list[Any]] = []
        self.tasks: list[tuple[Callable[[], object], Callable[[object], None]]] = []
        self.fails = False

    def away(
        self, connection: None, kind: str, run: Callable[[], object], done: Callable[[object], None], *, must: bool
    ) -> None:
        assert must  # A batch that was taken is not refused.
        self.tasks.append((run, done))

    def batch(self, requests: Sequence[Any]) -> list[QuickAnswer | None]:
        self.computed.append(list(requests))
        if self.fails:
            raise ArithmeticError
        return [QuickAnswer("200 OK", [], str(request).encode()) for request in requests]

    def add(self, request: Any, key: Hashable = "a", cost: float = QUICK, memory: int = 1_000) -> Client:
        client = Client()
        assert self.batches.add(client, Batchable(key, cost, memory, request))  # type: ignore[arg-type]
        return client

    def run(self) -> None:
        """Have threads do what waits for one now."""
        tasks, self.tasks = self.tasks, []
        for run, done in tasks:
            done(run())


@pytest.fixture
def place() -> Place:
    return Place()


def bodies(clients: Sequence[Client]) -> list[bytes]:
    """The answers, one for each client."""
    found = []
    for client in clients:
        (answer,) = client.answers
        assert answer is not None
        found.append(answer.body)
    return found


def test_what_comes_in_one_round_shares_a_batch(place: Place) -> None:
    clients = [place.add(number) for number in range(5)]
    assert not place.computed
    place.batches.compute()
    assert place.computed == [[0, 1, 2, 3, 4]]
    assert bodies(clients) == [b"0", b"1", b"2", b"3", b"4"]
    assert not place.tasks


def test_one_alone_is_computed_at_once_by_a_thread_if_it_takes_long(place: Place) -> None:
    first = place.add("first", cost=HEAVY)
    place.batches.compute()
    meanwhile = [place.add(number, cost=HEAVY) for number in range(3)]
    place.batches.compute()
    assert len(place.tasks) == 1
    place.run()
    assert bodies([first]) == [b"first"]
    assert place.computed == [["first"]]
    place.batches.compute()
    place.run()
    assert place.computed == [["first"], [0, 1, 2]]
    assert bodies(meanwhile) == [b"0", b"1", b"2"]


def test_each_core_has_a_batch() -> None:
    place = Place(cores=2)
    clients = []
    for number in range(2):
        clients.append(place.add(number, cost=HEAVY))
        place.batches.compute()
    clients += [place.add(number, cost=HEAVY) for number in range(2, 5)]
    place.batches.compute()
    assert len(place.tasks) == 2
    (first, *place.tasks) = place.tasks
    first[1](first[0]())
    place.batches.compute()
    assert len(place.tasks) == 2
    place.run()
    place.batches.compute()
    assert place.computed == [[0], [1], [2, 3, 4]]
    assert bodies(clients) == [b"0", b"1", b"2", b"3", b"4"]
    assert not place.batches._queues


def test_many_quick_ones_are_computed_by_a_thread(place: Place) -> None:
    clients = [place.add(number, cost=1.0) for number in range(int(LOOP_COST) + 1)]
    place.batches.compute()
    assert not place.computed
    place.run()
    assert len(place.computed) == 1
    assert len(bodies(clients)) == len(clients)


def test_no_key_waits_for_another_one(place: Place) -> None:
    slow = place.add("slow", key="a", cost=HEAVY)
    quick = place.add("quick", key="b")
    place.batches.compute()
    assert bodies([quick]) == [b"quick"]
    assert not slow.answers
    place.add("other", key="c", cost=HEAVY)
    place.batches.compute()
    assert len(place.tasks) == 2


def test_quick_ones_wait_for_a_thread_that_has_their_key(place: Place) -> None:
    """Else the loop would compute beside it, and answers would not keep their order."""
    place.add("slow", cost=HEAVY)
    place.batches.compute()
    quick = place.add("quick")
    place.batches.compute()
    assert not quick.answers
    place.run()
    place.batches.compute()
    assert bodies([quick]) == [b"quick"]


def test_a_batch_has_as_much_memory_as_it_may(place: Place) -> None:
    sizes = [BATCH_BYTES // 2, BATCH_BYTES // 2, 1, 2 * BATCH_BYTES, BATCH_BYTES]
    clients = [place.add(number, cost=0.0, memory=size) for number, size in enumerate(sizes)]
    place.batches.compute()
    assert place.computed == [[0, 1], [2], [3], [4]]
    assert bodies(clients) == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("cost", [QUICK, HEAVY])
def test_the_application_answers_what_a_batch_fails_at(
    place: Place, cost: float, caplog: pytest.LogCaptureFixture
) -> None:
    place.fails = True
    clients = [place.add(number, cost=cost) for number in range(3)]
    place.batches.compute()
    place.run()
    assert [client.answers for client in clients] == [[None]] * 3
    assert "a batch could not be computed" in caplog.text
    place.fails = False
    after = place.add("after", cost=cost)
    place.batches.compute()
    place.run()
    assert bodies([after]) == [b"after"]


def test_what_would_wait_for_long_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.6 * WAITING_SECONDS])
    monkeypatch.setattr("service.web.worker.batches.perf_counter", lambda: next(clock))
    place.add("first", cost=HEAVY)
    place.batches.compute()
    waits = place.add("waits", cost=HEAVY, memory=BATCH_BYTES - 1_000)
    place.run()
    monkeypatch.undo()
    place.add("joins", cost=HEAVY)  # It fits into the batch that is next.
    assert not place.batches.add(Client(), Batchable("a", HEAVY, 1, "late"))  # type: ignore[arg-type]
    assert place.batches.add(Client(), Batchable("b", HEAVY, 1, "another"))  # type: ignore[arg-type]
    place.batches.compute()
    place.run()
    assert bodies([waits]) == [b"waits"]


ROUNDS = st.lists(
    st.tuples(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([QUICK, HEAVY]))), st.booleans()), max_size=12
)


@given(ROUNDS, st.integers(1, 3))
def test_each_is_answered_once_and_in_its_order(rounds: list[tuple[list[tuple[str, float]], bool]], cores: int) -> None:
    place, clients, number = Place(cores), [], 0
    for requests, runs in rounds:
        for key, cost in requests:
            clients.append((place.add(number, key, cost), number, key))
            number += 1
        place.batches.compute()
        if runs:
            place.run()
            place.batches.compute()
    while place.tasks:
        place.run()
        place.batches.compute()
    assert bodies([client for client, _, _ in clients]) == [str(number).encode() for _, number, _ in clients]
    for wanted in "abc":
        of_key = {number for _, number, key in clients if key == wanted}
        order = [request for batch in place.computed for request in batch if request in of_key]
        assert order == sorted(order)
    assert not place.batches._queues
