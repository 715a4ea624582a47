"""Resume is exact: a run that was killed ends with the same bits as a run that was not.

Every second run is of a table, whose features are part of these bits. Some runs are of several members. All kinds of
kernels that can run here have their turn.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from multiprocessing import connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.data.records import from_records
from models.definition.definition import ModelDefinition
from models.definition.given_table import GivenTable, Place
from models.features.scales import SCALES
from models.formats.checkpoint_file import AnyCheckpoint, load_checkpoint
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from models.training.ensemble_run import EnsembleRun, MemberFailedError
from models.training.kernels import make_ready
from models.training.prepared import Prepared
from models.training.prepared_table import PreparedTable
from models.training.request import TrainingRequest
from models.training.run import TrainingRun
from nncore import Dense, Layer, Softmax
from nncore.kernels.kinds import Kind, available_kinds
from nncore.losses import Loss
from nncore.network import Dtype
from nncore.stopping import EarlyStopping
from nncore.training import DivergedError, Epoch
from reliability.drawn_members import BatchPool, drawn_members
from reliability.figure import Figure
from reliability.resumed_jobs import JOBS, try_jobs
from reliability.samples import TABLE_FEATURES, table_rows
from service.store.compiled_code import CompiledCode
from testing import cases
from testing.runs import a_request, prepare, some_rows
from testing.saving import save_checkpoint

__all__ = ["bits_of", "differences", "run"]

PAIRS, MEMBERS, CONTROLS = 200, 20, 20
EPOCHS, STEPS = 6, 6
#: The batch before which a control is killed: in the second epoch or a later one, but before the end.
IN_A_LATER_EPOCH = 20
DIVERGED = 3
#: Values that differ between any two runs, also below /members/N.
OF_ONE_RUN = {"/created_at", "/training/seconds", "/history/seconds", "/job"}
#: A server process that has imported this module and forks a process for each piece of a run.
_processes = multiprocessing.get_context("forkserver")
#: To start a process, multiprocessing also reads the exit status of every process that has ended. Another thread that
#: reads the same status then gets 255.
_one_at_a_time = threading.Lock()


def bits_of(path: Path) -> dict[str, bytes]:
    """Return the content of a checkpoint file by place, without values that differ between any two runs."""
    found: dict[str, bytes] = {}

    def note(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[f"{place} {item.dtype} {item.shape}"] = item[()].tobytes()
        for name, value in item.attrs.items():
            found[f"{place}/{name}"] = np.asarray(value).tobytes() if not isinstance(value, str) else value.encode()

    with h5py.File(path, "r") as file:
        note("", file)
        file.visititems(lambda place, item: note(f"/{place}", item))
    return {place: value for place, value in found.items() if _of_member(place.partition(" ")[0]) not in OF_ONE_RUN}


def _of_member(place: str) -> str:
    """The place below that of its member, if it has one."""
    return re.sub(r"^/members/\d+", "", place)


def differences(one: Path, other: Path) -> list[str]:
    """Return the places at which two checkpoint files differ."""
    bits, others = bits_of(one), bits_of(other)
    return sorted(place for place in bits.keys() | others.keys() if bits.get(place) != others.get(place))


# The runs: every member of the case tables in turn, everything else at random. Odd numbers are runs of a table.

_SCALES = tuple(SCALES)
_PLACE = Place("/data", stored=False)
_table = from_records(table_rows(3), "/data/rows")


def model_drawn(number: int, layers: Sequence[Layer], loss: Loss, dtype: Dtype) -> ModelDefinition:
    """The definition of a run with these layers before the last two."""
    if number % 2 == 0:
        last = (*layers, Dense(3), Softmax())
        return ModelDefinition("drawn", 2, ("a", "b", "c"), last, loss=loss, dtype=dtype)
    first = {**TABLE_FEATURES[0], "scale": _SCALES[number // 2 % len(_SCALES)]}
    document = {"name": "drawn", "classes": ["no", "yes"], "features": [first, *TABLE_FEATURES[1:]], "hidden": [1]}
    definition = ModelDefinition.load(document).for_table(_table.columns, "label", None, _table.rows)
    return replace(definition, layers=(*layers, Dense(2), Softmax()), loss=loss, dtype=dtype)


def prepared_for(definition: ModelDefinition, request: TrainingRequest, begin: AnyCheckpoint | None) -> Prepared:
    """The rows of a run as a runner prepares them, which takes features from the checkpoint that it resumes."""
    if definition.features is None:
        return prepare(definition, request, some_rows())
    given = GivenTable(_table, "label", _PLACE)
    return PreparedTable.of(definition, request, given, None, None if begin is None else begin.features)


def drawn(number: int) -> tuple[ModelDefinition, TrainingRequest]:
    """Return a run with six batches of 8 rows per epoch, or a table's seven, that saves its state every few batches."""
    rng = random.Random(number)
    layers: list[Layer] = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]
    noisy = [layer for name in cases.DIFFERENT_IN_TRAINING for layer in cases.LAYERS[name]]
    stack = [layers[number % len(layers)], noisy[number % len(noisy)], *rng.choices(layers, k=rng.randrange(3))]
    optimizers, schedules = cases.every(cases.OPTIMIZERS), cases.every(cases.SCHEDULES)
    optimizer = optimizers[number % len(optimizers)]
    optimizer = replace(
        optimizer,
        learning_rate=min(optimizer.learning_rate, 0.01),
        schedule=schedules[number % len(schedules)],
        clip_norm=rng.choice([None, 1.0]),
        average=rng.choice([None, 0.9]),
        accumulate=rng.choice([1, 1, 2, 4]),
    )
    definition = model_drawn(
        number,
        rng.sample(stack, len(stack)),
        rng.choice(cases.every(cases.LOSSES)),
        rng.choice(["float32", "float64"]),
    )
    request = a_request(
        epochs=EPOCHS,
        optimizer=optimizer,
        shuffle=rng.random() < 0.8,
        seed=number,
        validation_fraction=rng.choice([None, 0.25]),
        every_epochs=rng.choice([None, 1]),
        every_seconds=rng.randint(1, 5) + 0.5,  # the clock counts batches
        class_weights=rng.choice([None, "balanced"]),
        early_stopping=rng.choice([None, EarlyStopping(patience=1)]),
        publish=rng.choice(["last", "best"]),
        validate_every=rng.choice([1, 1, 2]),
    )
    return definition, request


def kernels_of(number: int) -> Kind:
    """Return the kernels of a run: each kind for a run of numbers, then for one of a table."""
    kinds = available_kinds()
    return kinds[number // 2 % len(kinds)]


# A piece of a run, in its own process.


class Disk:
    """A journal that saves checkpoints to a folder, kills its process before a batch, and counts batches as a clock."""

    def __init__(self, folder: Path, last_batch: int | None) -> None:
        self.folder, self.left, self.batches = folder, last_batch, 0
        self.number = len(list(folder.glob("*.h5")))

    def stopping(self) -> bool:
        self.batches += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return False

    def epoch(self, record: Epoch, member: int = 0) -> None:
        """Do nothing, because checkpoints contain the history."""

    def checkpoint(self, checkpoint: AnyCheckpoint, kind: CheckpointKind) -> None:
        save_checkpoint(self.folder / f"{self.number:04}-{kind}.h5", checkpoint)
        self.number += 1


def newest(folder: Path, *kinds: CheckpointKind) -> Path | None:
    """Return the newest checkpoint of the given kinds; by default, of those from which a run can resume."""
    wanted = kinds or (CheckpointKind.FIRST, CheckpointKind.BETWEEN, CheckpointKind.LAST)
    return max((path for path in folder.glob("*.h5") if path.stem.partition("-")[2] in wanted), default=None)


Draw = Callable[[int], tuple[ModelDefinition, TrainingRequest]]


def train(draw: Draw, number: int, folder: Path, last_batch: int | None, forget: bool) -> None:
    """Start or resume the run, to its end or to a batch; ``forget`` omits the random state."""
    definition, request = draw(number)
    path = newest(folder)
    resume = None if path is None else load_checkpoint(path)
    prepared = prepared_for(definition, request, resume)
    disk, kernels = Disk(folder, last_batch), kernels_of(number)
    if kernels == "llvm":
        # All pieces share what they compile, also with those that are killed while they write it.
        make_ready(CompiledCode(folder.parents[1]), ahead=False)
    try:
        if definition.ensemble is not None:
            assert resume is None or isinstance(resume, EnsembleCheckpoint)
            pool = BatchPool(places=1 + number % 3)
            run = EnsembleRun(request, prepared, pool, resume=resume, clock=lambda: disk.batches, kernels=kernels)
            run.run(disk)
            return
        assert resume is None or isinstance(resume, Checkpoint)
        if forget:
            assert resume is not None
            resume.state.streams.update(TrainingRun(request, prepared).training.state().streams)
        TrainingRun(request, prepared, resume=resume, kernels=kernels).run(disk, lambda: disk.batches)
    except (DivergedError, MemberFailedError):
        os._exit(DIVERGED)


def piece(
    number: int,
    folder: Path,
    last_batch: int | None = None,
    forget: bool = False,
    alive: float = 60.0,
    draw: Draw = drawn,
) -> int:
    """Run a piece for at most ``alive`` seconds and return its exit status."""
    process = _processes.Process(target=train, args=(draw, number, folder, last_batch, forget))
    with _one_at_a_time:
        process.start()
    connection.wait([process.sentinel], alive)
    with _one_at_a_time:
        process.join(0.0)  # If it has ended, its number may already belong to another process.
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


# Pairs of an uninterrupted run and a killed one.


def try_members(folder: Path, number: int) -> Figure:
    """Compare runs of several members as ``try_pair`` does."""
    return try_pair(folder, number, drawn_members, "pairs of members")


def try_pair(folder: Path, number: int, draw: Draw = drawn, what: str = "pairs") -> Figure:
    """Compare a run without kills to the same run with kills at random batches and moments."""
    figure, rng = Figure(), random.Random(number)
    whole, cut = folder / "whole", folder / "cut"
    whole.mkdir(parents=True)
    cut.mkdir()
    begin = time.monotonic()
    if piece(number, whole, draw=draw) == DIVERGED:
        figure.count("runs left out as they diverge")
        return figure
    took = time.monotonic() - begin
    kills = 0
    for turn in range(rng.randint(1, 3)):
        # Killed by itself before a batch, or from outside at any moment, including during a save.
        at_batch = turn == 0 or rng.random() < 0.5
        last, alive = (rng.randrange(EPOCHS * STEPS), 60.0) if at_batch else (None, rng.uniform(0.2, 1.0) * took)
        if piece(number, cut, last, alive=alive, draw=draw) == -signal.SIGKILL:
            kills += 1
            path = newest(cut)
            figure.count("within an epoch", int(path is not None and is_within_an_epoch(load_checkpoint(path))))
    end = piece(number, cut, draw=draw)
    figure.count("kills -9 of a run", kills)
    figure.count(what, int(kills > 0))
    figure.count("of them with a table", int(kills > 0 and number % 2))
    figure.count("of them with compiled kernels", int(kills > 0 and kernels_of(number) == "llvm"))
    if end:
        figure.broken.append(f"{what}, run {number}: the killed run could not resume, status {end}")
        return figure
    ends = different_ends(whole, cut)
    figure.broken += [f"{what}, run {number}: {kind} differs in {place}" for kind, place in ends]
    return figure


def is_within_an_epoch(checkpoint: AnyCheckpoint) -> bool:
    """Return whether a state lies within an epoch, of a member if it has several."""
    if isinstance(checkpoint, Checkpoint):
        return checkpoint.state.position > 0
    return any(is_within_an_epoch(member.checkpoint) for member in checkpoint.members.values())


def different_ends(whole: Path, cut: Path) -> Iterator[tuple[str, str]]:
    """Yield the kind and place of each difference between the two runs' final checkpoints."""
    for kind in (CheckpointKind.LAST, CheckpointKind.BEST):
        one, other = newest(whole, kind), newest(cut, kind)
        if one is None or other is None:
            if one is not other or kind is CheckpointKind.LAST:
                yield kind, "existence"
        else:
            yield from ((kind, place) for place in differences(one, other))


def try_control(folder: Path, number: int) -> Figure:
    """Verify that a run that is killed after its first epoch and resumes without its random state ends differently."""
    figure = Figure()
    whole, cut = folder / "whole", folder / "cut"
    whole.mkdir(parents=True)
    cut.mkdir()
    _, request = drawn(number)
    if not request.shuffle or request.early_stopping is not None or piece(number, whole) == DIVERGED:
        return figure
    assert piece(number, cut, IN_A_LATER_EPOCH) == -signal.SIGKILL
    path = newest(cut)
    assert path is not None
    if not load_checkpoint(path).epoch:
        return figure  # In the first epoch nothing was drawn since the start; a table's has one batch more.
    assert piece(number, cut, forget=True) == 0
    if not any(place.startswith("/parameters") for _, place in different_ends(whole, cut)):
        figure.broken.append(f"run {number}: ends with the same bits without its random state")
    figure.count("controls that differ")
    return figure


def gather(figure: Figure, tried: Any, folder: Path, what: str, goal: int) -> None:
    """Try one number after the other, two at a time, until the count of ``what`` reaches ``goal``."""
    numbers = count()

    def one(number: int) -> Figure:
        place = folder / f"{what}-{number}"
        try:
            found: Figure = tried(place, number)
            return found
        finally:
            shutil.rmtree(place, ignore_errors=True)

    with ThreadPoolExecutor(2) as pool:
        while figure.counts.get(what, 0) < goal and not figure.broken:
            missing = goal - figure.counts.get(what, 0)
            for found in pool.map(one, [next(numbers) for _ in range(min(4, 2 * missing))]):
                for name, number in found.counts.items():
                    figure.count(name, number)
                figure.broken += found.broken


def run(scale: float) -> Figure:
    """Compare pairs of runs, controls, and pairs of jobs of a service."""
    _processes.set_forkserver_preload([__name__])
    figure = Figure(
        goals={"pairs": PAIRS, "pairs of members": MEMBERS, "controls that differ": CONTROLS, "pairs of jobs": JOBS}
    )
    with tempfile.TemporaryDirectory(prefix="trainyard-resume-") as folder:
        gather(figure, try_pair, Path(folder), "pairs", max(1, round(PAIRS * scale)))
        gather(figure, try_members, Path(folder), "pairs of members", max(1, round(MEMBERS * scale)))
        gather(figure, try_control, Path(folder), "controls that differ", max(1, round(CONTROLS * scale)))
        try_jobs(figure, Path(folder), scale, drawn, differences)
    return figure
