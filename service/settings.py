"""The settings: one table, read from the environment, printed by ``python -m service settings``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from service.mounts import network_mount_of

__all__ = ["PREFIX", "SETTINGS", "Setting", "Settings", "SettingsError"]

PREFIX = "TRAINYARD_"


class Setting(NamedTuple):
    """One setting: its name in lower case, its default (whose type it has), its limits, one line of help."""

    name: str
    default: str | int | float
    help: str
    minimum: float = 0
    maximum: float = 2**63
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable it is read from."""
        return PREFIX + self.name.upper()


SETTINGS = (
    Setting("data", "./var", "Directory for everything on disk: database, checkpoints, datasets."),
    Setting("database_url", "", "SQLAlchemy URL of the database; empty: SQLite in the data directory."),
    Setting("bind", "127.0.0.1:8000", "Address and port, or unix:PATH, that gunicorn listens on."),
    Setting("workers", 2, "Web worker processes.", 1, 64),
    Setting("threads", 16, "Threads of each web worker; half of them may wait for jobs or stream events.", 2, 256),
    Setting("trainer", "auto", "auto: the web service keeps a trainer running; external: one is run elsewhere.",
            choices=("auto", "external")),
    Setting("parallel_jobs", 1, "Jobs that the trainer runs at the same time.", 1, 64),
    Setting("blas_threads", 0, "Threads of a job's matrix products; 0: the cores but one, shared by the parallel jobs.",
            0, 256),
    Setting("lease_seconds", 10.0, "A job whose trainer gave no sign for so long is taken over.", 1, 3600),
    Setting("retry_seconds", 1.0, "Pause before a job that lost a second worker is tried again; then doubled.",
            0, 3600),
    Setting("report_seconds", 0.2, "Pause between two reports of a running job to the database.", 0.01, 60),
    Setting("max_body_bytes", 256 * 2**20, "Largest request body.", 1024),
    Setting("max_import_bytes", 2 * 2**30, "Largest checkpoint file that can be imported.", 1024),
    Setting("max_parameters", 100_000_000, "Most parameters a model may have.", 1),
    Setting("max_batch_bytes", 4 * 2**30, "Most memory that one training batch or one evaluation may take.", 2**20),
    Setting("idempotency_seconds", 24 * 3600, "How long an answer is kept under its Idempotency-Key.", 1),
    Setting("served_bytes", 512 * 2**20, "Parameters that a web worker keeps loaded for predictions.", 0),
)  # fmt: skip


class SettingsError(Exception):
    """A setting that cannot be used: names the variable, what was received and what would do."""


@dataclass(frozen=True)
class Settings:
    """All settings with their values, as attributes named like the settings."""

    data: Path
    database_url: str
    bind: str
    workers: int
    threads: int
    trainer: str
    parallel_jobs: int
    blas_threads: int
    lease_seconds: float
    retry_seconds: float
    report_seconds: float
    max_body_bytes: int
    max_import_bytes: int
    max_parameters: int
    max_batch_bytes: int
    idempotency_seconds: int
    served_bytes: int

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; raises SettingsError for the first wrong value or unknown ``TRAINYARD_*`` variable."""
        source = os.environ if environment is None else environment
        known = {setting.variable for setting in SETTINGS}
        for variable in sorted(source):
            if variable.startswith(PREFIX) and variable not in known:
                raise SettingsError(f"{variable} is not a setting; `python -m service settings` lists them")
        values = {setting.name: _value(setting, source.get(setting.variable)) for setting in SETTINGS}
        for name, check in _CHECKS.items():
            wanted = check(values[name])
            if wanted:
                raise SettingsError(f"{PREFIX}{name.upper()} must be {wanted}. Received: {values[name]!r}")
        data = Path(values["data"]).expanduser().absolute()
        url = values["database_url"] or f"sqlite:///{data / 'trainyard.db'}"
        return cls(**{**values, "data": data, "database_url": url})

    def prepare(self) -> None:
        """Make the data directory; raises SettingsError where that or the database cannot be there."""
        self._require_local_database()
        try:
            self.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"TRAINYARD_DATA must be a directory that can be made: {error}") from None

    def _require_local_database(self) -> None:
        """SQLite keeps several processes apart by locks on its file, which only a local filesystem promises to heed."""
        found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+).*", self.database_url)
        mount = network_mount_of(Path(found[1])) if found else None
        if mount is not None:
            raise SettingsError(
                f"TRAINYARD_DATA must be on a local disk for SQLite, as the locks of a network filesystem do not "
                f"protect a database; or TRAINYARD_DATABASE_URL must name a PostgreSQL database. "
                f"Received: {found[1] if found else ''}, where {mount.place} is mounted as {mount.type}"
            )

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these same settings."""
        return {setting.variable: str(getattr(self, setting.name)) for setting in SETTINGS}

    @property
    def job_threads(self) -> int:
        """Threads for the matrix products of one job."""
        return self.blas_threads or max(1, ((os.cpu_count() or 1) - 1) // self.parallel_jobs)


def _data_problem(text: str) -> str | None:
    return None if text.strip() else "the path of a directory"


def _database_problem(text: str) -> str | None:
    known = not text or re.match(r"[a-z0-9]+(\+[a-z0-9_]+)?://", text)
    return None if known else "empty or an SQLAlchemy URL, as in postgresql+psycopg://user@host/name"


def _bind_problem(text: str) -> str | None:
    host, _, port = text.rpartition(":")
    good = text.startswith("unix:") or (host and port.isdecimal() and int(port) < 65_536)
    return None if good else "HOST:PORT with a port up to 65535 (0: any free one), or unix:PATH"


#: What a text would have to be where it cannot be meant, by setting.
_CHECKS: dict[str, Callable[[str], str | None]] = {
    "data": _data_problem,
    "database_url": _database_problem,
    "bind": _bind_problem,
}


def _value(setting: Setting, text: str | None) -> Any:
    if text is None:
        return setting.default
    kind = type(setting.default)
    try:
        value = kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{setting.variable} must be {wanted}. Received: {text!r}") from None
    if setting.choices and value not in setting.choices:
        raise SettingsError(f"{setting.variable} must be one of {', '.join(setting.choices)}. Received: {text!r}")
    if isinstance(value, (int, float)) and not setting.minimum <= value <= setting.maximum:
        limits = f"{setting.minimum:g} to {setting.maximum:g}"
        raise SettingsError(f"{setting.variable} must be from {limits}. Received: {text!r}")
    return value


def table() -> str:
    """The settings as a Markdown table."""
    rows = [f"| `{s.variable}` | `{s.default if s.default != '' else ' '}` | {s.help} |" for s in SETTINGS]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows])
