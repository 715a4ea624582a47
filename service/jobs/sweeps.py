"""Sweeps: all trials of a request are checked, and stored as one queued job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from models.data.profile import TableWarning
from models.data.schemas import as_written
from models.errors import InvalidError, Problem, escaped
from models.training.dry_run import DryRun
from models.training.run import Monitor
from models.training.rungs import expected_epochs
from models.training.search import Choices, Halving, Range, Search, Trial, checked, of_each, trials_of, written
from models.training.sweep import search_field
from service.access.limits import Limits
from service.jobs.needs import Needs, needs_of
from service.jobs.record import Job
from service.jobs.submission import Checked, Record, check_rows, document_of, sources_of, store
from service.jobs.sweep_plans import add_plan
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.store.request_rows import Source

__all__ = ["CheckedSweep", "check_sweep", "submit_sweep"]

#: What is held out of the rows if a request does not say it.
VALIDATION = {"fraction": 0.2}
MONITOR: Monitor = "validation_log_loss"
#: Maximum number of trials whose steps a dry run measures.
MEASURED = 8
_WHOLE = "is for the sweep as a whole"
#: The members of a request that no trial can change, with the reason; what lies within them is included.
_FIXED = {
    "/data": "must be the same for all trials, which are compared on the same rows",
    "/validation": "must be the same for all trials, which are compared on the same rows",
    "/early_stopping/monitor": "must be the same for all trials, which are compared by it",
    "/early_stopping/restore_best": "is always true, because the best epoch of the best trial is published",
    "/max_seconds": _WHOLE,
    "/checkpoint": _WHOLE,
    "/publish": _WHOLE,
    "/metadata": _WHOLE,
    "/dry_run": "is for the sweep as a whole, beside train",
}
_SPLITS = "decides which rows are held out; give validation rows apart to try several seeds"
#: The members that the request of a sweep cannot have.
_REFUSED = {
    "folds": "must be left out: the trials of a sweep are judged by the validation rows",
    "effort": 'is for a network that is "auto"; trials have a network each, given by hidden or layers',
    "start_from": "must be left out: the trials of a sweep start anew",
    "reinitialize": "must be left out: the trials of a sweep start anew",
    "dry_run": "belongs beside train",
}


@dataclass(frozen=True)
class CheckedSweep:
    """A sweep that a run can carry out: its trials in order, each with its check."""

    search: Search
    over: Mapping[str, Choices | Range]
    monitor: Monitor
    trials: Sequence[Trial]
    checks: Sequence[Checked]

    @property
    def first(self) -> Checked:
        """The check of the first trial, whose definition the model gets."""
        return self.checks[0]

    def document(self) -> dict[str, Any]:
        """The request as the job keeps and shows it, with the training request of the first trial."""
        return {
            "train": document_of(self.first),
            "search": search_field().serialize("search", {"search": self.search}),
            "over": written(self.over),
            "monitor": self.monitor,
        }

    def plan(self) -> dict[str, Any]:
        """What each trial trains, as JSON: what differs from the first one."""
        base, definition = document_of(self.first), self.first.definition.canonical()
        trials = []
        for trial, each in zip(self.trials, self.checks, strict=True):
            document, own = document_of(each), each.definition.canonical()
            request = {name: value for name, value in document.items() if base[name] != value}
            different = None if own == definition else own
            trials.append({"values": dict(trial.values), "request": request, "definition": different})
        return {"definition": definition, "trials": trials}

    def needs(self, settings: Settings) -> Needs:
        """What the sweep takes at most. A halving search keeps the states of all trials, others those that run."""
        parts = [part for each in self.checks for part in each.parts]
        places = settings.job_processes
        held = None if isinstance(self.search, Halving) else places + 1
        return needs_of(replace(self.first.request, publish="best"), parts, places, held)

    def measure(self, places: int) -> dict[str, Any]:
        """What the sweep would take, with members on so many places: steps of a few trials are measured."""
        count = len(self.checks)
        chosen = sorted({round(place * (count - 1) / (MEASURED - 1)) for place in range(MEASURED)})
        found = [self.checks[place].measure() for place in chosen]
        largest = max(found, key=lambda each: each.parameters)
        epochs = [each.epochs for each in self.checks]
        share = expected_epochs(self.search, epochs) / max(1, sum(epochs))
        times = [_seconds(each) for each in found]
        known = [each for each in times if each is not None]
        seconds = sum(known) / len(known) * count * share / min(places, count) if len(known) == len(times) else None
        warnings: dict[TableWarning, None] = {warning: None for each in found for warning in each.warnings}
        return {
            **largest.document(),
            "members": count,
            "estimate": {"seconds_per_step": None, "seconds_per_epoch": None, "seconds": seconds},
            "warnings": [warning.document() for warning in warnings],
        }


def _seconds(run: DryRun) -> float | None:
    step = run.seconds_per_step
    return None if step is None else step * run.batches_per_epoch * run.epochs


def check_sweep(
    database: Database, files: FileStore, settings: Settings, body: dict[str, Any], limits: Limits | None = None
) -> CheckedSweep:
    """Check what ``SweepSchema`` has loaded against what is stored; nothing is written.

    Raises InvalidError with the problems of all trials, or if the sweep is beyond the limits, those of the settings if
    left out; and MissingError for an unknown model.
    """
    limits = limits or Limits.of(settings)
    search, over, train = body["search"], body["over"], dict(body["train"])
    if train.get("validation") is None:
        train["validation"] = VALIDATION
    _require_fixed(over, train)
    trials = trials_of(search, over)
    bodies = checked(trials, train)
    monitor = _monitor(body["monitor"], bodies[0])
    data, validation = _sources(database, files, bodies[0], limits)
    found: list[Checked] = []
    by_trial = dict(zip([trial.number for trial in trials], bodies, strict=True))

    def check(trial: Trial) -> None:
        own = by_trial[trial.number]
        _require_comparable(own, monitor)
        try:
            like = found[0] if found else None
            result = check_rows(database, files, settings, own, data, validation, like, limits=limits)
            _require_single(result)
        except InvalidError as error:
            raise as_written(error, own, "data", "validation") from None
        found.append(result)

    of_each(trials, check)
    if isinstance(search, Halving):
        _require_room(found, limits.parameters)
    sweep = CheckedSweep(search, over, monitor, trials, found)
    needs = sweep.needs(settings)
    limits.require_training(needs.memory, needs.work, "/train/model", "/search")
    return sweep


def _sources(
    database: Database, files: FileStore, body: dict[str, Any], limits: Limits
) -> tuple[Source, Source | None]:
    """The rows of all trials; problems lie within ``train``."""
    try:
        return sources_of(database, files, body, limits)
    except InvalidError as error:
        raise as_written(error, body, "data", "validation").moved("", "/train") from None


def _monitor(given: Monitor | None, body: dict[str, Any]) -> Monitor:
    """The metric of a sweep: as it says, or else that of early stopping."""
    stopping = body["early_stopping"] or {}
    found: Monitor = given or stopping.get("monitor") or MONITOR
    return found


def _require_fixed(over: Mapping[str, Any], train: Mapping[str, Any]) -> None:
    """Raise InvalidError for each parameter in which trials cannot differ."""
    validation = train["validation"]
    apart = isinstance(validation, str) or (isinstance(validation, dict) and "fraction" not in validation)
    fixed = _FIXED if apart else {**_FIXED, "/seed": _SPLITS}
    problems = [
        Problem(f"/over/{escaped(pointer)}", reason)
        for pointer in over
        for place, reason in fixed.items()
        if f"{pointer}/".startswith(f"{place}/")
    ]
    if problems:
        raise InvalidError.of(problems)


def _require_comparable(body: dict[str, Any], monitor: Monitor) -> None:
    """Raise InvalidError for what the request of a trial cannot have, with all that is wrong."""
    problems = [Problem(f"/{name}", why) for name, why in _REFUSED.items() if body[name]]
    if body["publish"] == "last":
        problems.append(Problem("/publish", 'must be true, "best" or false: the best epoch is published'))
    stopping = body["early_stopping"] or {}
    if stopping.get("monitor") not in (None, monitor):
        problems.append(Problem("/early_stopping/monitor", f"must be the sweep's monitor, {monitor}"))
    if problems:
        raise InvalidError.of(problems)


def _require_single(result: Checked) -> None:
    if result.definition.ensemble is not None:
        detail = 'must have a single network; write for example "model": {"name": "iris", "hidden": [64]}'
        raise InvalidError.at("/model", detail)


def _require_room(checks: Sequence[Checked], limit: int) -> None:
    """Raise InvalidError if a halving search would keep too much: the networks and the order of the rows of each."""
    count = sum(each.network.parameter_count + each.training_rows for each in checks)
    if count > limit:
        detail = f"must be fewer: a halving search keeps all trials, whose parameters and rows may be {limit} in all"
        raise InvalidError.at("/search/trials", f"{detail}. Received: {count}")


def submit_sweep(
    database: Database,
    files: FileStore,
    settings: Settings,
    body: dict[str, Any],
    record: Record | None = None,
    limits: Limits | None = None,
) -> Job:
    """Check what ``SweepSchema`` has loaded, and store it as one queued job, in one transaction with ``record``."""
    limits = limits or Limits.of(settings)
    sweep = check_sweep(database, files, settings, body, limits)
    plan = sweep.plan()

    def record_plan(connection: sa.Connection, job: Job) -> None:
        add_plan(connection, job.id, plan)
        if record is not None:
            record(connection, job)

    epochs = sum(each.epochs for each in sweep.checks)
    needs = sweep.needs(settings)
    return store(database, files, sweep.first, needs, limits, sweep.document(), epochs, record_plan)
