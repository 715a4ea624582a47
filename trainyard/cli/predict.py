"""The command that predicts: values on the command line, or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from trainyard.cli.command import command
from trainyard.cli.output import Column
from trainyard.cli.session import Session
from trainyard.cli.training_request import read_value
from trainyard.cli.types import NAME_OF_MODEL
from trainyard.cli.versions import VERSION, version_member

__all__ = ["predict"]

EXAMPLE = """\
trainyard predict iris petal_length=4.9 petal_width=1.7
trainyard predict iris flowers.csv > predicted.csv
tail -n 100 flowers.csv | trainyard predict iris - --version 2"""
PLACES = {"/model": "MODEL", "/version": "--version", "/rows/0": "*"}
#: Places of a bar for a probability of 1.
BAR = 20


@command(name="predict", example=EXAMPLE, places=PLACES)
@click.argument("model", type=NAME_OF_MODEL)
@click.argument("rows", metavar="FILE|-|COLUMN=VALUE...", nargs=-1, required=True)
@click.option("--version", metavar="VERSION", help=VERSION)
@click.option("--top-k", type=click.IntRange(min=1), metavar="K", help="Show the K likeliest classes.")
@click.option("-o", "--output", "place", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
def predict(
    session: Session, model: str, rows: tuple[str, ...], version: str | None, top_k: int | None, place: Path | None
) -> None:
    """Predict the class of one row, or of each row of a file.

    Of a row, a value that is a number, true, false or null in JSON is sent as that, all else as text; "" around a value
    makes a number a text. Columns that are left out are missing.

    A file may be CSV, TSV, Parquet, NDJSON or JSON, plain or compressed; "-" is standard input. The answer is CSV: the
    columns that came, then prediction and probability; with --top-k prediction_2, probability_2 and so on. With --json
    it is NDJSON.
    """
    if all("=" in row for row in rows) and not (len(rows) == 1 and Path(rows[0]).is_file()):
        _predict_row(session, model, rows, version, top_k)
    elif len(rows) == 1:
        _predict_file(session, model, rows[0], version, top_k, place)
    else:
        raise click.UsageError("give one file, or values as in petal_length=4.9 petal_width=1.7")


def _predict_row(session: Session, model: str, written: Iterable[str], version: str | None, top_k: int | None) -> None:
    row = {name: _value(value) for name, _, value in (each.partition("=") for each in written)}
    body: dict[str, Any] = {"model": model, "rows": [row], **version_member(version)}
    answer = session.ask("POST", "/predict", body)
    probabilities = answer["probabilities"][0]
    order = sorted(range(len(probabilities)), key=lambda place: -probabilities[place])
    found = [{"class": answer["classes"][place], "probability": probabilities[place]} for place in order]
    columns = (Column("CLASS", lambda entry: entry["class"]), Column("PROBABILITY", _probability, _bar))
    kept = top_k or (len(found) if session.output.at_terminal else 1)
    session.result(answer, lambda: session.output.table(columns, found[:kept]))


def _probability(entry: Mapping[str, Any]) -> Any:
    return entry["probability"]


def _bar(share: float) -> str:
    return f"{share:6.3f}  {'█' * round(share * BAR)}"


def _value(written: str) -> Any:
    """A number, a truth value or null as in JSON; all else is text, as is what stands in double quotes."""
    value = read_value(written)
    return written if isinstance(value, list | dict) else value


def _predict_file(
    session: Session, model: str, written: str, version: str | None, top_k: int | None, place: Path | None
) -> None:
    from trainyard.cli.upload import local_file

    if version is not None and version.startswith("job_"):
        raise click.UsageError("--version: a file is answered by a version or a checkpoint, not by a job")
    as_json = session.output.as_json
    query = {"model": model, "version": version, "probabilities": True if top_k and not as_json else None}
    accept = "application/x-ndjson" if as_json else "text/csv"
    with local_file(written, kept_back=session.choices.curl) as file:
        if file is None:
            raise click.UsageError(f"{written} is neither a file nor a value, as in petal_length=4.9")
        request = session.request("POST", "/predict", file, query=query, accept=accept)
        with session.streamed(request) as response:
            blocks: Iterable[bytes] = response
            if top_k and not as_json:
                blocks = _likeliest(response.lines(), top_k)
            _write(session, blocks, place)


def _write(session: Session, blocks: Iterable[bytes], place: Path | None) -> None:
    """Write to a file, which is there as a whole or not at all, or to standard output."""
    if place is not None:
        beside = place.with_name(f".{place.name}.part")
        try:
            with beside.open("wb") as file:
                file.writelines(blocks)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
        session.output.say(f"written: {place}")
        return
    session.output.stream(blocks)


def _likeliest(lines: Iterator[str], top_k: int) -> Iterator[bytes]:
    """Rows of CSV with the likeliest classes in place of the probabilities of all classes."""
    import csv
    import io

    reader = csv.reader(f"{line}\n" for line in lines)
    head = next(reader)
    first = len(head) - 1 - head[::-1].index(_column(head, "probability"))
    classes = [name.removeprefix("probability_") for name in head[first + 1 :]]
    kept = min(top_k, len(classes))
    more = [f"{name}_{number}" for number in range(2, kept + 1) for name in ("prediction", "probability")]
    yield _csv_line(io.StringIO(newline=""), [*head[: first + 1], *more])
    for row in reader:
        shares = row[first + 1 :]
        order = sorted(range(len(shares)), key=lambda place: -float(shares[place]))[:kept]
        values = [value for place in order[1:] for value in (classes[place], shares[place])]
        yield _csv_line(io.StringIO(newline=""), [*row[: first + 1], *values])


def _column(head: list[str], name: str) -> str:
    """The name of a column that the service adds; it has underscores if the file has one of that name."""
    return next(each for each in reversed(head) if each.rstrip("_") == name)


def _csv_line(buffer: Any, row: list[str]) -> bytes:
    import csv

    csv.writer(buffer, lineterminator="\n").writerow(row)
    written: str = buffer.getvalue()
    return written.encode()
