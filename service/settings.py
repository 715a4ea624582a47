"""Settings, read from environment variables; ``python -m service settings`` prints them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from models.identifiers import NAME_PATTERN
from service.mounts import network_mount_of

__all__ = ["PREFIX", "SETTINGS", "Setting", "Settings", "SettingsError", "database_problem"]

PREFIX = "TRAINYARD_"
#: Variables of the client and the command, which may stand in the same shell.
_CLIENT = ("TRAINYARD_URL", "TRAINYARD_KEY")


class Setting(NamedTuple):
    """One setting: name in lower case, default, limits and one line of help. A value has the default's type."""

    name: str
    default: str | int | float
    help: str
    minimum: float = 0
    maximum: float = 2**63
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.name.upper()


SETTINGS = (
    Setting("data", "./var", "Data directory, which holds the database, checkpoints and datasets."),
    Setting(
        "database_url",
        "",
        "Database, as in postgresql://USER:PASSWORD@HOST/NAME; if empty, SQLite in the data directory.",
    ),
    Setting(
        "storage",
        "",
        "Where checkpoints and datasets are: s3://BUCKET/PREFIX, gs://… or az://…, or file:///FOLDER, which several "
        "machines may share; if empty, in the data directory.",
    ),
    Setting("cache_bytes", 10 * 2**30, "Size of the copies, in the data directory, of files in object storage.", 2**20),
    Setting("bind", "127.0.0.1:8000", "Address that the service listens on: HOST:PORT or unix:PATH."),
    Setting(
        "keys",
        "auto",
        "auto: as soon as there is a key, every client needs one, and without any the service answers this machine "
        "alone; off: everybody who reaches the service may use it.",
        choices=("auto", "off"),
    ),
    Setting("hosts", "", "Names by which clients reach the service, as in trainyard.example.org, with commas."),
    Setting(
        "rate_store",
        "memory://",
        "Where requests a second are counted: memory://, for which each web worker counts for itself, or redis://HOST.",
    ),
    Setting("origins", "", "Origins whose pages may use the service, as in https://app.example.org, with commas."),
    Setting("default_model", "", "Model that POST /invocations asks if a request names none."),
    Setting("workers", 2, "Number of web worker processes.", 1, 64),
    Setting(
        "threads",
        16,
        "Threads per web worker, for requests that take time; at most half of them for kinds that take 0.1 s or more.",
        2,
        256,
    ),
    Setting("trainer", "auto", "auto: the web service starts and restarts a trainer; external: you run the trainer.",
            choices=("auto", "external")),
    Setting("parallel_jobs", 1, "Number of jobs that a trainer runs at the same time.", 1, 64),
    Setting(
        "blas_threads",
        0,
        "Threads per job for matrix products, and processes per job for members; 0: all cores but one, for members all "
        "cores, divided by parallel jobs.",
        0,
        256,
    ),
    Setting(
        "kernels",
        "auto",
        "How new jobs run the calls of a training step: llvm, compiled, which needs the extra fast; numpy; or auto, "
        "which is llvm if that is installed.",
        choices=("auto", "numpy", "llvm"),
    ),
    Setting("lease_seconds", 10.0, "Seconds without a heartbeat after which another trainer takes over the job.",
            1, 3600),
    Setting("retry_seconds", 1.0, "Delay before retrying a job after its second crash; doubles each time.", 0, 3600),
    Setting("report_seconds", 0.2, "Seconds between two progress reports of a running job.", 0.01, 60),
    Setting("job_retention_days", 30.0,
            "Days for which an ended job and its events are kept; 0: forever. Its versions and checkpoints stay.",
            0, 36_500),
    Setting("audit_retention_days", 365.0, "Days for which the audit trail is kept; 0: forever.", 0, 36_500),
    Setting("max_body_bytes", 256 * 2**20, "Maximum size of a request body.", 1024),
    Setting("max_import_bytes", 2 * 2**30, "Maximum size of an imported checkpoint file.", 1024),
    Setting("max_dataset_bytes", 4 * 2**30, "Maximum size of an uploaded table, also when it is unpacked.", 1024),
    Setting("max_dataset_rows", 100_000_000, "Maximum number of rows of a dataset, and of rows in a request.", 1),
    Setting("max_dataset_columns", 100_000,
            "Maximum number of columns of a dataset; never more than 20,000 with names.", 1),
    Setting("max_layers", 256, "Maximum number of layers of a network.", 1, 256),
    Setting("max_units", 65_536, "Maximum number of units of a layer.", 1, 65_536),
    Setting("max_parameters", 100_000_000, "Maximum number of parameters of a model.", 1),
    Setting("max_training_bytes", 16 * 2**30,
            "Maximum memory of a job as predicted: parameters, gradients, moments, a batch, rows and history.", 2**20),
    Setting("max_epoch_rows", 10**12, "Maximum number of rows that a job trains on in all epochs together.", 1),
    Setting("max_queued_jobs", 1_000, "Maximum number of jobs that are queued or paused.", 1),
    Setting("max_running_jobs", 1_000, "Maximum number of jobs that run at the same time; others wait.", 1),
    Setting("max_datasets", 10_000, "Maximum number of datasets with a name.", 1),
    Setting("max_models", 10_000, "Maximum number of models.", 1),
    Setting("max_stored_bytes", 2**40, "Maximum size of all checkpoints and datasets together.", 2**20),
    Setting("max_requests_per_second", 0, "Maximum number of requests a second; 0: any number.", 0, 10**6),
    Setting("max_batch_bytes", 4 * 2**30, "Maximum memory for one training batch or one evaluation.", 2**20),
    Setting("min_free_bytes", 256 * 2**20,
            "Disk space kept for what running jobs save: bodies and new jobs that would take it are refused.", 0),
    Setting("shadow_bytes", 256 * 2**20, "Maximum size of the logs of all shadows together; 0: nothing is logged.", 0),
    Setting("idempotency_seconds", 24 * 3600, "Seconds for which a response is stored under its Idempotency-Key.", 1),
    Setting("served_bytes", 512 * 2**20, "Size of each web worker's cache of loaded models.", 0),
    Setting(
        "memory_bytes",
        800 * 2**20,
        "Memory that all web workers together use for bodies, rows, datasets and answers in hand; one request alone "
        "may use twice its worker's share.",
        2**20,
    ),
    Setting(
        "batching",
        "on",
        "on: requests for predictions of one version that come at the same time share a pass through the network; off: "
        "each is computed alone, and equal requests have equal answers to the last bit.",
        choices=("on", "off"),
    ),
    Setting("access_log", "on", "on: each answered request is a line of the log; off: none is.", choices=("on", "off")),
    Setting(
        "log_format",
        "auto",
        "Lines of the log: json, text, or auto, which is text if standard error is a terminal.",
        choices=("auto", "json", "text"),
    ),
)  # fmt: skip


class SettingsError(Exception):
    """Raised for an invalid setting; the message names the variable, the value received and a valid value."""


@dataclass(frozen=True)
class Settings:
    """The value of every setting, as attributes with the settings' names."""

    data: Path
    database_url: str
    storage: str
    cache_bytes: int
    bind: str
    keys: str
    hosts: str
    rate_store: str
    origins: str
    default_model: str
    workers: int
    threads: int
    trainer: str
    parallel_jobs: int
    blas_threads: int
    kernels: str
    lease_seconds: float
    retry_seconds: float
    report_seconds: float
    job_retention_days: float
    audit_retention_days: float
    max_body_bytes: int
    max_import_bytes: int
    max_dataset_bytes: int
    max_dataset_rows: int
    max_dataset_columns: int
    max_layers: int
    max_units: int
    max_parameters: int
    max_training_bytes: int
    max_epoch_rows: int
    max_queued_jobs: int
    max_running_jobs: int
    max_datasets: int
    max_models: int
    max_stored_bytes: int
    max_requests_per_second: int
    max_batch_bytes: int
    min_free_bytes: int
    shadow_bytes: int
    idempotency_seconds: int
    served_bytes: int
    memory_bytes: int
    batching: str
    access_log: str
    log_format: str

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings. Raises SettingsError for the first invalid value or unknown ``TRAINYARD_*`` variable."""
        source = os.environ if environment is None else environment
        known = {*_CLIENT, *(setting.variable for setting in SETTINGS)}
        for variable in sorted(source):
            if variable.startswith(PREFIX) and variable not in known:
                raise SettingsError(f"{variable} is not a setting; `trainyard settings` lists them")
        values = {setting.name: _value(setting, source.get(setting.variable)) for setting in SETTINGS}
        for name, check in _CHECKS.items():
            wanted = check(values[name])
            if wanted:
                received = re.sub(r"(://[^/@]*:)[^/@]*@", r"\1***@", values[name])  # A password is not shown.
                raise SettingsError(f"{PREFIX}{name.upper()} must be {wanted}. Received: {received!r}")
        data = Path(values["data"]).expanduser().absolute()
        url = values["database_url"] or f"sqlite:///{data / 'trainyard.db'}"
        return cls(**{**values, "data": data, "database_url": url})

    def prepare(self) -> None:
        """Create the data directory, which others may then not read.

        Raises SettingsError if that fails, if nothing can be written there, or if the database cannot be stored there.
        """
        self._require_local_database()
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"TRAINYARD_DATA must be a directory that exists or can be created: {error}") from None
        if not os.access(self.data, os.W_OK | os.X_OK):
            raise SettingsError(
                "TRAINYARD_DATA must be a directory that the service may write to; it may belong to another user, or "
                f"its filesystem may be read-only. Received: {str(self.data)!r}"
            )

    def _require_local_database(self) -> None:
        """SQLite coordinates its processes by locks on its file; only local filesystems guarantee such locks."""
        found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+).*", self.database_url)
        mount = network_mount_of(Path(found[1])) if found else None
        if mount is not None:
            raise SettingsError(
                f"TRAINYARD_DATA must be on a local disk for SQLite, because the locks of a network filesystem do not "
                f"protect a database; or set TRAINYARD_DATABASE_URL to a PostgreSQL database. "
                f"Received: {found[1] if found else ''}; {mount.place} is mounted as {mount.type}"
            )

    def environment(self) -> dict[str, str]:
        """Environment variables that pass these settings to a child process."""
        return {setting.variable: str(getattr(self, setting.name)) for setting in SETTINGS}

    @property
    def worker_memory(self) -> int:
        """One web worker's share of ``memory_bytes``."""
        return self.memory_bytes // self.workers

    @property
    def kernel_kind(self) -> Literal["numpy", "llvm"]:
        """The kind of kernels that a new job gets."""
        return "llvm" if self.kernels == "llvm" or (self.kernels == "auto" and _can_compile()) else "numpy"

    @property
    def job_threads(self) -> int:
        """Number of threads for the matrix products of one job."""
        return self.blas_threads or max(1, ((os.cpu_count() or 1) - 1) // self.parallel_jobs)

    @property
    def job_processes(self) -> int:
        """Number of processes in which a job trains its members.

        They have a lower priority than the web service, so that no core need be left to it.
        """
        return self.blas_threads or max(1, (os.cpu_count() or 1) // self.parallel_jobs)


def _data_problem(text: str) -> str | None:
    return None if text.strip() else "the path of a directory"


def database_problem(text: str) -> str | None:
    """What a valid URL of a database is, if this is none."""
    if not text or re.match(r"sqlite(\+pysqlite)?://", text):
        return None
    if not re.match(r"postgresql(\+psycopg)?://", text):
        return "empty, sqlite:////PATH, or postgresql://USER:PASSWORD@HOST/NAME"
    return None if find_spec("psycopg") else "a URL of SQLite unless psycopg 3 is installed, by the extra postgresql"


def _storage_problem(text: str) -> str | None:
    if not text or re.fullmatch(r"file:///[^?#]+", text):
        return None
    if not re.fullmatch(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(/[^?#]*)?", text):
        return "empty, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or file:///FOLDER"
    return None if find_spec("obstore") else "empty or file:///FOLDER unless obstore is installed, by the extra storage"


def _bind_problem(text: str) -> str | None:
    host, _, port = text.rpartition(":")
    good = text.startswith("unix:") or (host and port.isdecimal() and int(port) < 65_536)
    return None if good else "HOST:PORT with a port from 0 (any free port) to 65535, or unix:PATH"


def _hosts_problem(text: str) -> str | None:
    good = all(re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", word.strip()) for word in text.split(",") if text)
    return None if good else "names or addresses without ports, separated by commas"


def _model_problem(text: str) -> str | None:
    return None if not text or re.fullmatch(NAME_PATTERN, text) else "empty or a model's name, as in flowers"


def _origins_problem(text: str) -> str | None:
    good = all(re.fullmatch(r"https?://[^/\s,*]+", word.strip()) for word in text.split(",") if text)
    return None if good else "origins without a path, as in https://app.example.org, separated by commas"


def _can_compile() -> bool:
    """Whether llvmlite 0.45 or newer is installed. It is not imported, as that takes memory in every process."""
    if find_spec("llvmlite") is None:
        return False
    try:
        major, minor, *_ = version("llvmlite").split(".")
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (0, 45)


def _kernels_problem(text: str) -> str | None:
    missing = text == "llvm" and not _can_compile()
    return "auto or numpy unless llvmlite 0.45 or newer is installed, by the extra fast" if missing else None


#: For each setting with text to check: a function that describes a valid text if the given one is not valid.
_CHECKS: dict[str, Callable[[str], str | None]] = {
    "data": _data_problem,
    "database_url": database_problem,
    "storage": _storage_problem,
    "bind": _bind_problem,
    "hosts": _hosts_problem,
    "origins": _origins_problem,
    "default_model": _model_problem,
    "kernels": _kernels_problem,
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
