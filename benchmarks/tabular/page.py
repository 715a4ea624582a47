"""The tables of docs/recipe.md: what the results say, for each half of the data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.tabular.contestants import CONTESTANTS
from benchmarks.tabular.data import Half, tables_of
from benchmarks.tabular.results import Score, newest

__all__ = ["report", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"
#: The tables stand between these lines of the page.
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
OURS = "trainyard"
TITLES: Mapping[Half, str] = {
    "design": "Design half",
    "large": "More than 10,000 rows, design",
    "untouched": "Untouched half",
}
#: Differences below these count as ties.
TIES = {"log_loss": 1e-4, "accuracy": 1e-9, "auc": 1e-5}
#: Scores by table and contestant.
Scores = Mapping[str, Mapping[str, Score]]


def write_page() -> None:
    """Replace the tables of docs/recipe.md."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE} must have the lines {BEGIN} and {END}. Received: a page without them")
    PAGE.write_text(f"{before}{BEGIN}\n\n{report()}\n\n{END}{after}")
    print(f"written to {PAGE}")


def report() -> str:
    """The tables of all halves, as Markdown."""
    parts = []
    for half, title in TITLES.items():
        scores = _scores([table.name for table in tables_of(half)])
        if scores:
            parts += [f"### {title}", "\n".join(_summary(scores)), "\n".join(_details(scores))]
    versions = ", ".join(
        f"{contestant.title} {contestant.version}" for contestant in CONTESTANTS.values() if contestant.version
    )
    return "\n\n".join([*parts, f"Versions: {versions}."])


def _scores(tables: Sequence[str]) -> Scores:
    """The mean scores over the splits of each table; a contestant needs as many splits as the one with the most."""
    means: dict[str, dict[str, Score]] = {}
    for table in tables:
        found: dict[str, list[Score]] = {}
        for contestant, _, score in newest(table):
            found.setdefault(contestant, []).append(score)
        most = max(map(len, found.values()), default=0)
        means[table] = {
            name: Score(*(fmean(values) for values in zip(*(vars(each).values() for each in scores), strict=True)))
            for name, scores in found.items()
            if len(scores) == most
        }
    return {table: scores for table, scores in means.items() if scores}


def _summary(scores: Scores) -> Iterator[str]:
    """A row a contestant: ranks among those that have every table, and how ours compares on the common tables."""
    everywhere = [name for name in CONTESTANTS if all(name in each for each in scores.values())]
    ranks = {metric: _ranks(scores, everywhere, metric) for metric in TIES}
    yield (
        f"| {len(scores)} tables | mean rank, log loss / accuracy / AUC | wins/ties/losses of Trainyard, log loss "
        "| accuracy | AUC | mean Δ log loss | Δ accuracy, points | Wilcoxon p | s, mean / median / max |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, contestant in CONTESTANTS.items():
        common = [table for table in scores if name in scores[table] and OURS in scores[table]]
        present = [scores[table][name] for table in scores if name in scores[table]]
        if not present:
            continue
        rank = " / ".join(f"{ranks[metric][name]:.2f}" for metric in TIES) if name in everywhere else "–"
        cells = ["", "", "", "", "", ""]
        if name != OURS and common:
            cells = _compared([(scores[table][OURS], scores[table][name]) for table in common])
        seconds = [score.cpu_seconds for score in present]
        title = contestant.title + ("" if len(present) == len(scores) else f" ({len(present)} tables)")
        times = f"{fmean(seconds):.1f} / {median(seconds):.1f} / {max(seconds):.1f}"
        yield f"| {title} | {rank} | " + " | ".join(cells) + f" | {times} |"


def _ranks(scores: Scores, names: Sequence[str], metric: str) -> dict[str, float]:
    """The mean rank of each contestant; equal ones share the mean of their ranks."""
    from scipy.stats import rankdata

    sign = 1.0 if metric == "log_loss" else -1.0
    values = np.array([[sign * getattr(each[name], metric) for name in names] for each in scores.values()])
    return dict(zip(names, rankdata(values, axis=1).mean(axis=0).tolist(), strict=True)) if names else {}


def _compared(pairs: Sequence[tuple[Score, Score]]) -> list[str]:
    """Wins, ties and losses by each metric, differences, and the p-values of Wilcoxon's test."""
    counts, chances = [], []
    for metric, tie in TIES.items():
        sign = -1.0 if metric == "log_loss" else 1.0
        better = np.array([sign * (getattr(ours, metric) - getattr(theirs, metric)) for ours, theirs in pairs])
        counts.append(f"{(better > tie).sum()}/{(abs(better) <= tie).sum()}/{(better < -tie).sum()}")
        chances.append(_wilcoxon(better))
    loss = fmean(theirs.log_loss / ours.log_loss - 1.0 for ours, theirs in pairs)
    accuracy = fmean(ours.accuracy - theirs.accuracy for ours, theirs in pairs)
    return [*counts, f"{loss:+.1%}", f"{100 * accuracy:+.2f}", " / ".join(chances)]


def _wilcoxon(differences: Any) -> str:
    from scipy.stats import wilcoxon

    return f"{wilcoxon(differences).pvalue:.3f}" if np.any(differences) else "1"


def _details(scores: Scores) -> Iterator[str]:
    """Log loss and accuracy of each table; the best log loss is bold."""
    names = [name for name in CONTESTANTS if any(name in each for each in scores.values())]
    yield "| log loss (accuracy) | " + " | ".join(CONTESTANTS[name].title for name in names) + " |"
    yield "|---|" + "---:|" * len(names)
    for table, each in scores.items():
        best = min(score.log_loss for score in each.values())
        cells = []
        for name in names:
            cell = f"{each[name].log_loss:.4f} ({each[name].accuracy:.3f})" if name in each else "–"
            cells.append(f"**{cell}**" if name in each and each[name].log_loss == best else cell)
        yield f"| {table} | " + " | ".join(cells) + " |"
