"""docs/tables.md: the text of the page, with the measured table and the answers of the example."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import processor
from benchmarks.table_contestants import CONTESTANTS
from benchmarks.table_example import OVERRIDE, Step

__all__ = ["page", "write_page"]

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"
TITLES = {
    "trainyard": "Trainyard",
    "pipeline": "pipeline",
    "boosting": "boosting",
    "majority": "majority",
}

#: The text of the page, with $names for what is measured.
_TEXT = Path(__file__).with_suffix(".md")


def write_page(results: Mapping[str, Any], steps: Sequence[Step]) -> None:
    """Write docs/tables.md."""
    PAGE.write_text(page(results, steps))
    print(f"written to {PAGE}")


def page(results: Mapping[str, Any], steps: Sequence[Step]) -> str:
    """The text of docs/tables.md."""
    files, floors = results["files"], results["floors"]
    return Template(_TEXT.read_text()).substitute(
        count=len(files),
        example="\n\n".join(map(_example, steps)),
        override=OVERRIDE,
        seeds="Three",
        table="\n".join(_table(results)),
        mean_floor=f"{-floors['mean']:g}",
        file_floor=f"{-floors['file']:g}",
        met="met" if results["met"] else "not met",
        aside="\n".join(_aside(files)),
        processor=processor.name(),
        sklearn=version("scikit-learn"),
        numpy=version("numpy"),
        python=platform.python_version(),
    )


def _example(step: Step) -> str:
    shown = f"```bash\n{step.command}\n```"
    return f"{shown}\n\n```json\n{step.answer}\n```" if step.answer else shown


def _table(results: Mapping[str, Any]) -> Iterable[str]:
    names = ["trainyard", *CONTESTANTS]
    yield "| File | Package | Rows | Columns | " + " | ".join(TITLES[name] for name in names) + " | Seconds |"
    yield "|---|---|---:|---:|" + "---:|" * (len(names) + 1)
    for name, file in results["files"].items():
        cells = [_cell(file["scores"][each]["accuracy"], file["scores"][each]["log_loss"]) for each in names]
        ours, theirs = (file["scores"][each]["seconds"] for each in ("trainyard", "pipeline"))
        start = f"| {name} ({file['label']}) | {file['package']} | {file['rows']:,} | {len(file['columns'])} | "
        yield start + " | ".join(cells) + f" | {ours:.1f} ({theirs:.1f}) |"
    means = [_cell(results["mean"][each], results["mean_log_loss"][each]) for each in names]
    yield "| **mean** | | | | " + " | ".join(means) + " | |"


def _cell(accuracy: float, log_loss: float) -> str:
    return f"{accuracy:.3f} ({log_loss:.2f})"


def _aside(files: Mapping[str, Any]) -> Iterable[str]:
    for name, file in files.items():
        reasons: dict[str, list[str]] = {}
        for column, reason in file["set_aside"].items():
            reasons.setdefault(reason, []).append(f"`{column}`")
        if reasons:
            yield f"- {name}: " + "; ".join(f"{', '.join(each)}: {reason}" for reason, each in reasons.items())
