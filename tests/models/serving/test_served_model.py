"""Loaded versions: their predictions, the limit on their memory, and many threads at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest

from models.formats.checkpoint_file import CheckpointError
from models.serving import cache as cache_module
from models.serving.cache import CheckpointFile, ServedModels
from models.serving.served_model import ServedModel
from testing.runs import a_definition, a_run
from testing.saving import save_checkpoint

#: Bytes of the parameters of one model below.
SIZE = 4 * (2 * 5 + 5 + 5 * 3 + 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six versions, c0 to c5, each of other weights."""
    for seed in range(6):
        save_checkpoint(tmp_path / f"c{seed}.h5", a_run(seed=seed).checkpoint())
    return tmp_path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files in the order in which they were loaded."""
    seen: list[str] = []

    class Watched(ServedModel):
        def __init__(self, path: Path) -> None:
            seen.append(path.stem)
            super().__init__(path)

    monkeypatch.setattr(cache_module, "ServedModel", Watched)
    return seen


def cache(folder: Path, limit: int) -> ServedModels:
    return ServedModels(limit, lambda key: folder / f"{key.checkpoint}.h5")


def key(name: str, mtime_ns: int = 1) -> CheckpointFile:
    return CheckpointFile(name, mtime_ns)


def test_it_answers_as_the_network_did(folder: Path) -> None:
    served = cache(folder, SIZE).get(key("c3"))
    network = a_definition().network(3)
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    assert np.array_equal(served.predict_proba(x), network.predict_proba(x))
    assert (served.classes, served.inputs, served.dtype, served.nbytes) == (("a", "b", "c"), 2, "float32", SIZE)


def test_a_version_is_loaded_once(folder: Path, loads: list[str]) -> None:
    served = cache(folder, 2 * SIZE)
    assert served.get(key("c0")) is served.get(key("c0"))
    assert loads == ["c0"]


def test_a_version_that_was_dropped_is_loaded_again(folder: Path, loads: list[str]) -> None:
    served = cache(folder, 3 * SIZE)
    first, other = served.get(key("c0")), served.get(key("c1"))
    served.drop({"c0", "none"})
    assert served.loaded(key("c0")) is None
    assert served.get(key("c1")) is other
    assert served.get(key("c0")) is not first
    assert loads == ["c0", "c1", "c0"]


def test_a_file_that_was_changed_is_loaded_again(folder: Path, loads: list[str]) -> None:
    served = cache(folder, 2 * SIZE)
    assert served.get(key("c0", 1)) is not served.get(key("c0", 2))
    assert loads == ["c0", "c0"]


def test_what_was_asked_for_longest_ago_goes_first(folder: Path, loads: list[str]) -> None:
    served = cache(folder, 2 * SIZE)
    for name in ("c0", "c1", "c0", "c2", "c0", "c1"):
        served.get(key(name))
    assert loads == ["c0", "c1", "c2", "c1"]


@pytest.mark.parametrize(("limit", "kept"), [(0, 1), (SIZE - 1, 1), (SIZE, 1), (2 * SIZE, 2), (4 * SIZE - 1, 3)])
def test_the_bound_is_kept_but_one_always_fits(folder: Path, loads: list[str], limit: int, kept: int) -> None:
    served = cache(folder, limit)
    names = [f"c{number}" for number in range(6)]
    for name in names:
        served.get(key(name))
    del loads[:]
    for name in reversed(names[-kept:]):
        served.get(key(name))
    assert loads == []
    served.get(key(names[-kept - 1]))
    assert loads == [names[-kept - 1]]


def test_a_missing_file_is_reported_and_not_remembered(folder: Path) -> None:
    served = cache(folder, SIZE)
    with pytest.raises(CheckpointError):
        served.get(key("c9"))
    (folder / "c0.h5").rename(folder / "c9.h5")
    assert served.get(key("c9")).inputs == 2


class TestLoading:
    """Many threads request versions, some of which are not loaded yet."""

    @pytest.fixture
    def held(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, Event, list[str]]]:
        """Loading ``c0`` signals its start and waits for a signal. Yields the names of loaded files in order."""
        begun, let_go, seen = Event(), Event(), []

        class Held(ServedModel):
            def __init__(self, path: Path) -> None:
                seen.append(path.stem)
                if path.stem == "c0":
                    begun.set()
                    assert let_go.wait(20)
                super().__init__(path)

        monkeypatch.setattr(cache_module, "ServedModel", Held)
        yield begun, let_go, seen
        let_go.set()

    def test_one_loads_and_the_others_wait_for_it(self, folder: Path, held: tuple[Event, Event, list[str]]) -> None:
        begun, let_go, seen = held
        served = cache(folder, 4 * SIZE)
        asked = Barrier(9)

        def ask() -> ServedModel:
            asked.wait(20)
            return served.get(key("c0"))

        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(ask) for _ in range(8)]
            asked.wait(20)
            assert begun.wait(20)
            assert not any(each.done() for each in waiting)
            let_go.set()
            assert len({id(each.result(20)) for each in waiting}) == 1
        assert seen == ["c0"]

    def test_other_versions_are_served_meanwhile(self, folder: Path, held: tuple[Event, Event, list[str]]) -> None:
        begun, let_go, seen = held
        served = cache(folder, 4 * SIZE)
        ready = served.get(key("c1"))
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(served.get, key("c0"))
            assert begun.wait(20)
            assert served.get(key("c1")) is ready
            assert served.get(key("c2")).inputs == 2
            assert not slow.done()
            let_go.set()
            assert slow.result(20) is served.get(key("c0"))
        assert seen == ["c1", "c0", "c2"]

    def test_each_that_waited_for_an_unreadable_file_is_reported(self, folder: Path) -> None:
        served = cache(folder, 4 * SIZE)
        (folder / "c0.h5").write_bytes(b"no checkpoint")
        together = Barrier(8)

        def ask() -> None:
            together.wait(20)
            with pytest.raises(CheckpointError, match=r"c0\.h5"):
                served.get(key("c0"))

        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(ask) for _ in range(8)]:
                each.result(20)


def test_many_threads_share_one_cache(folder: Path) -> None:
    served = cache(folder, 2 * SIZE)
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    expected = [a_definition().network(seed).predict_proba(x) for seed in range(6)]
    together = Barrier(8)

    def ask(thread: int) -> bool:
        together.wait()
        order = np.random.default_rng(thread).integers(0, 6, 200).tolist()
        return all(np.array_equal(served.get(key(f"c{number}")).predict_proba(x), expected[number]) for number in order)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [True] * 8
    held = served._loaded
    assert sum(model.nbytes for model in held.values()) <= 2 * SIZE
