"""The limits: one table, their values for a caller, and the refusal of what is beyond them.

Every limit is a setting. A caller may have other values for some of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from models.data.limits import TableSize
from models.errors import InvalidError, Problem, QuotaError, describe, unknown_field
from service.access.usage import Usage
from service.settings import SETTINGS, Setting, Settings

__all__ = ["LIMITS", "Limit", "Limits", "table"]


class Limit(NamedTuple):
    """One limit: its name, the code and status of a refusal, and what it counts, as in "at most 10 …"."""

    name: str
    code: str
    status: Literal[413, 422, 429]
    what: str

    @property
    def setting(self) -> Setting:
        """The setting with its default."""
        return _SETTINGS[f"max_{self.name}"]

    @property
    def rule(self) -> str:
        """What it counts, and the setting, for an error."""
        return f"{self.what} ({self.setting.variable})"


_SETTINGS = {setting.name: setting for setting in SETTINGS}

LIMITS = (
    Limit("body_bytes", "too_large", 413, "bytes of a request's body"),
    Limit("dataset_rows", "too_many_rows", 422, "rows of a dataset"),
    Limit("dataset_columns", "too_many_columns", 422, "columns of a dataset"),
    Limit("layers", "too_many_layers", 422, "layers of a network"),
    Limit("units", "too_many_units", 422, "units of a layer"),
    Limit("parameters", "too_many_parameters", 422, "parameters in all"),
    Limit("training_bytes", "training_too_large", 422, "bytes of memory for training"),
    Limit("epoch_rows", "too_much_work", 422, "rows in all epochs together"),
    Limit("queued_jobs", "too_many_jobs", 429, "jobs that are queued or paused"),
    Limit("running_jobs", "too_many_jobs", 429, "jobs that run at the same time"),
    Limit("datasets", "too_many_datasets", 429, "datasets"),
    Limit("models", "too_many_models", 429, "models"),
    Limit("stored_bytes", "storage_quota", 429, "bytes of checkpoints and datasets"),
    Limit("requests_per_second", "too_many_requests", 429, "requests a second"),
)
_BY_NAME = {limit.name: limit for limit in LIMITS}


@dataclass(frozen=True)
class Limits:
    """The value of every limit for a caller, as attributes with the limits' names."""

    body_bytes: int
    dataset_rows: int
    dataset_columns: int
    layers: int
    units: int
    parameters: int
    training_bytes: int
    epoch_rows: int
    queued_jobs: int
    running_jobs: int
    datasets: int
    models: int
    stored_bytes: int
    requests_per_second: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of a caller without limits of its own."""
        return cls(**{limit.name: getattr(settings, limit.setting.name) for limit in LIMITS})

    def with_overrides(self, given: Mapping[str, Any]) -> Limits:
        """These limits with other values for some. Raises InvalidError for each unknown name and wrong number."""
        problems = []
        for name, value in given.items():
            if name not in _BY_NAME:
                problems.append(Problem(f"/{name}", unknown_field(name, _BY_NAME)))
                continue
            setting = _BY_NAME[name].setting
            if type(value) is not int or not setting.minimum <= value <= setting.maximum:
                wanted = f"must be a whole number from {setting.minimum:g} to {setting.maximum:g}"
                problems.append(Problem(f"/{name}", f"{wanted}. Received: {describe(value)}"))
        if problems:
            raise InvalidError.of(problems)
        return replace(self, **given)

    def document(self) -> dict[str, int]:
        """All limits by name."""
        return asdict(self)

    # Sizes.

    @property
    def dataset_size(self) -> TableSize:
        """The most rows and columns of a dataset."""
        return TableSize(self.dataset_rows, self.dataset_columns)

    def require_network(self, found: Mapping[str, int], pointer: str) -> None:
        """Raise InvalidError if a network has more ``layers``, ``units`` in one of them, or ``parameters`` than may be.

        ``found`` has the number of each.
        """
        self._require({name: (found[name], pointer) for name in ("layers", "units", "parameters")})

    def require_training(self, training_bytes: int, epoch_rows: int, model: str, epochs: str) -> None:
        """Raise InvalidError if a job takes more than may be; ``model`` and ``epochs`` point to what decides that."""
        self._require({"training_bytes": (training_bytes, model), "epoch_rows": (epoch_rows, epochs)})

    def _require(self, found: Mapping[str, tuple[int, str]]) -> None:
        """Raise InvalidError, with the code of the first limit that is exceeded and the problems of all."""
        beyond = [_BY_NAME[name] for name, (received, _) in found.items() if received > getattr(self, name)]
        problems = [
            Problem(
                found[limit.name][1],
                f"must have at most {getattr(self, limit.name):,} {limit.rule}. Received: {found[limit.name][0]:,}",
            )
            for limit in beyond
        ]
        if problems:
            raise InvalidError.of(problems, code=beyond[0].code)

    # Quotas.

    def require_job(self, usage: Usage, stored: int) -> None:
        """Raise QuotaError if there may be no further job, or none that keeps ``stored`` bytes of checkpoints."""
        self._require_more("queued_jobs", usage.queued_jobs, 1)
        self.require_stored(usage, stored)

    def require_dataset(self, usage: Usage, size: int) -> None:
        """Raise QuotaError if there may be no further dataset, or none of ``size`` bytes."""
        self._require_more("datasets", usage.datasets, 1)
        self.require_stored(usage, size)

    def require_stored(self, usage: Usage, size: int) -> None:
        """Raise QuotaError if ``size`` further bytes may not be stored."""
        self._require_more("stored_bytes", usage.stored_bytes, size)

    def require_model(self, usage: Usage) -> None:
        """Raise QuotaError if there may be no further model."""
        self._require_more("models", usage.models, 1)

    def _require_more(self, name: str, present: int, more: int) -> None:
        limit, most = _BY_NAME[name], getattr(self, name)
        if present + more > most:
            detail = f"there may be at most {most:,} {limit.rule}; there are {present:,}, and this needs {more:,} more"
            raise QuotaError(limit.code, f"{detail}. Delete some, or wait until they are fewer")


def table() -> str:
    """The limits as a Markdown table."""
    rows = [
        f"| `{limit.name}` | `{limit.setting.variable}` | {limit.setting.default:,} | {limit.setting.help} "
        f"| {limit.status} `{limit.code}` |"
        for limit in LIMITS
    ]
    return "\n".join(["| Limit | Setting | Default | Meaning | Refusal |", "|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
