"""Resume is exact: a run that was killed ends in the bits of the one that was not."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from models.definitions import ModelDefinition
from models.training_run import CheckpointKind, Epoch, TrainingRun
from nncore import Dense, Softmax
from nncore.stopping import EarlyStopping
from reliability.figure import Figure
from reliability.runners import Store
from tests.models.runs import a_request, some_rows
from tests.models.test_training_run import assert_same_bits
from tests.nncore import cases

__all__ = ["run"]

PAIRS, SERVICE_PAIRS, CONTROLS = 200, 10, 10
EPOCHS, BATCHES = 4, 6
MILD = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]
#: A run with all that draws random numbers or keeps statistics, long enough to be killed by the clock.
NOISY: dict[str, Any] = {
    "layers": [
        {"type": "dropout", "rate": 0.2},
        {"type": "dense", "units": 16},
        {"type": "batch_norm"},
        {"type": "relu"},
        {"type": "gaussian_noise", "stddev": 0.1},
        {"type": "dense", "units": 3},
        {"type": "softmax"},
    ]
}


def run(scale: float) -> Figure:
    """Random runs killed at random batches, then jobs of real runners killed at random moments; and a control."""
    figure = Figure(goals={"pairs": PAIRS, "jobs": SERVICE_PAIRS, "controls that differ": CONTROLS})
    draw = random.Random(3)
    with tempfile.TemporaryDirectory(prefix="trainyard-resume-") as name:
        folder = Path(name)
        for number in range(max(1, round(PAIRS * scale))):
            _pair(folder / f"pair-{number}", draw, figure)
        for number in range(max(1, round(CONTROLS * scale))):
            _control(folder / f"control-{number}", number, figure)
        _jobs(folder, max(1, round(SERVICE_PAIRS * scale)), draw, figure)
    return figure


class Disk:
    """A journal that writes every checkpoint to a file, and ends its process by SIGKILL before a batch."""

    def __init__(self, folder: Path, deadly: int | None = None) -> None:
        self.folder, self._deadly, self._asked = folder, deadly, 0
        folder.mkdir(exist_ok=True)

    def stopping(self) -> bool:
        if self._asked == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        self._asked += 1
        return False

    def epoch(self, record: Epoch) -> None:
        """Nothing is shown to anybody."""

    def checkpoint(self, checkpoint: Checkpoint, kind: CheckpointKind) -> None:
        if kind != "best":
            save_checkpoint(self.folder / f"{len(list(self.folder.glob('*.h5'))):05}.h5", checkpoint)

    def newest(self) -> Checkpoint | None:
        """The last checkpoint."""
        files = sorted(self.folder.glob("*.h5"))
        return load_checkpoint(files[-1]) if files else None


def _random_run(draw: random.Random) -> dict[str, Any]:
    rule = draw.choice(cases.every(cases.OPTIMIZERS))
    members = {name: getattr(rule, name) for name in type(rule).__dataclass_fields__}
    optimizer = type(rule)(
        **{
            **members,
            "learning_rate": min(rule.learning_rate, 0.01),
            "schedule": draw.choice(cases.every(cases.SCHEDULES)),
            "clip_norm": draw.choice([None, 1.0]),
            "average": draw.choice([None, 0.9]),
            "accumulate": draw.choice([1, 2]),
        }
    )
    return {
        "definition": ModelDefinition(
            name="random",
            inputs=2,
            classes=("a", "b", "c"),
            layers=(*draw.choices(MILD, k=draw.randint(1, 5)), Dense(3), Softmax()),
            loss=draw.choice(cases.every(cases.LOSSES)),
            dtype=draw.choice(["float32", "float64"]),
        ),
        "request": a_request(
            epochs=EPOCHS,
            optimizer=optimizer,
            seed=draw.randint(0, 100),
            validation_fraction=draw.choice([None, 0.25]),
            class_weights=draw.choice([None, "balanced"]),
            early_stopping=draw.choice([None, EarlyStopping(patience=1)]),
            every_seconds=float(draw.randint(4, 2 * BATCHES)),
        ),
    }


def _in_a_process(work: Callable[[], object]) -> int:
    """Do it in a fork of this process; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _train(arguments: dict[str, Any], journal: Disk) -> None:
    """From the newest checkpoint to the end. A clock that ticks with each batch saves in the middle of epochs."""
    ticks = count()
    TrainingRun(**arguments, data=some_rows(), resume=journal.newest()).run(journal, lambda: float(next(ticks)))


def _pair(folder: Path, draw: random.Random, figure: Figure) -> None:
    folder.mkdir()
    arguments = _random_run(draw)
    whole, cut = Disk(folder / "whole"), folder / "cut"
    if _in_a_process(lambda: _train(arguments, whole)) != 0:
        figure.broken.append(f"{folder.name}: the uncut run failed: {arguments}")
        return
    deaths = 0
    for _ in range(draw.randint(1, 3)):
        deadly = draw.randint(0, BATCHES * EPOCHS // 2)
        deaths += _in_a_process(lambda deadly=deadly: _train(arguments, Disk(cut, deadly))) == -signal.SIGKILL  # type: ignore[misc]
    if not deaths:  # It was at its end by then.
        _in_a_process(lambda: _train(arguments, Disk(cut)))
    elif _in_a_process(lambda: _train(arguments, Disk(cut))) != 0:
        figure.broken.append(f"{folder.name}: the run that was taken up failed: {arguments}")
        return
    figure.count("kills", deaths)
    figure.count("pairs", int(deaths > 0))
    _compare(Disk(cut).newest(), whole.newest(), f"{folder.name}: {arguments}", figure)


def _compare(ours: Checkpoint | None, theirs: Checkpoint | None, what: str, figure: Figure) -> None:
    assert ours is not None
    assert theirs is not None
    try:
        assert_same_bits(ours, theirs)
    except AssertionError as error:
        figure.broken.append(f"{what}: {error}")


def _control(folder: Path, number: int, figure: Figure) -> None:
    """With one of the random streams left out, the bits must differ, or the comparison would see nothing."""
    folder.mkdir()
    stream = ("noise", "order")[number % 2]
    definition = ModelDefinition.load({"name": "noisy", "inputs": 2, "classes": ["a", "b", "c"], **NOISY})
    arguments = {"definition": definition, "request": a_request(epochs=EPOCHS, seed=number, every_seconds=5.0)}
    whole, cut = Disk(folder / "whole"), Disk(folder / "cut")
    _train(arguments, whole)
    _in_a_process(lambda: _train(arguments, Disk(folder / "cut", BATCHES + 3)))
    half = cut.newest()
    assert half is not None
    half.state.streams[stream] = TrainingRun(**arguments, data=some_rows()).training.state().streams[stream]
    TrainingRun(**arguments, data=some_rows(), resume=half).run(cut)
    expected, found = whole.newest(), cut.newest()
    assert expected is not None
    assert found is not None
    name = "1_dense/weights"
    differs = found.parameters[name].tobytes() != expected.parameters[name].tobytes()
    figure.count("controls that differ", int(differs))
    if not differs:
        figure.broken.append(f"without the state of {stream} the run ends in the same bits")


def _jobs(folder: Path, pairs: int, draw: random.Random, figure: Figure) -> None:
    """Jobs of real runners with a real database, killed at random moments until they reach their end."""
    fresh = Store.make(folder / "fresh", NOISY, epochs=150, batch_size=4, checkpoint={"every_epochs": 5, "keep": 2})
    whole = fresh.copy(folder / "whole-job")
    assert whole.start().outcome()["outcome"] == "finished"
    expected = whole.newest()
    for number in range(pairs):
        store, kills = fresh.copy(folder / f"job-{number}"), 0
        while kills < 3:
            one = store.start()
            time.sleep(draw.uniform(0.05, 0.3))
            if one.kill() == -signal.SIGKILL:
                kills += 1
            if store.told()["progress"]["fraction"] == 1.0:
                break
        assert store.start().outcome()["outcome"] == "finished"
        figure.count("kills", kills)
        figure.count("jobs")
        _compare(store.newest(), expected, f"job {number}", figure)
