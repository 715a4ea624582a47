"""The commands about datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.command import Group, command
from trainyard.cli.output import Column
from trainyard.cli.session import Session
from trainyard.cli.types import NAME_OF_DATASET

__all__ = ["data"]

#: The options of POST /datasets that say how a file is to be read.
READING = {
    "weight": "The column that holds the rows' weights.",
    "ignore": "Columns that are not used, as in id,comment.",
    "types": "Types of columns, as in zip:category,age:number.",
    "missing": "Further words for a missing value, as in unknown,999.",
    "delimiter": "What separates cells: one sign, or tab, comma, semicolon, pipe, space.",
    "decimal": "The decimal sign: . or ,",
    "thousands": "What separates thousands: . , ' space or none.",
    "encoding": "The encoding of text, as in cp1252.",
    "header": "Whether the first row has the columns' names: true or false.",
    "dates": "How dates are written: a strptime format, as in %d.%m.%Y.",
}
#: Places of a bar.
BAR = 12


@click.group(name="data", cls=Group, example="trainyard data add iris.csv --label species\ntrainyard data profile iris")
def data() -> None:
    """List, show, add and delete datasets."""


@command(data, "list", example="trainyard data list\ntrainyard data list --prefix class- | cut -f 1")
@click.option("--prefix", metavar="TEXT", help="Show only those whose name begins so.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many at most.")
@click.option("--after", metavar="ID", help="Show those that are older than this one.")
def list_datasets(session: Session, prefix: str | None, limit: int, after: str | None) -> None:
    """List datasets, the newest first."""
    page = session.pages("/datasets", {"prefix": prefix, "after": after}, limit)
    columns = (
        Column("NAME", lambda each: each["name"]),
        Column("ROWS", lambda each: each["rows"], right=True),
        Column("COLUMNS", lambda each: len(each.get("columns") or each.get("features") or []), right=True),
        Column("LABEL", lambda each: each.get("label")),
        Column("CLASSES", lambda each: len(each["classes"]) or None, right=True),
        Column("SIZE", lambda each: each["bytes"], text.size, right=True),
        Column("CREATED", lambda each: each["created_at"], text.ago),
        Column("ID", lambda each: each["id"]),
    )
    empty = "There are no datasets. Make one: trainyard data add FILE --label COLUMN"
    session.result(page, lambda: session.output.table(columns, page["data"], empty))


@command(data, "show", example="trainyard data show titanic")
@click.argument("name", type=NAME_OF_DATASET)
def show(session: Session, name: str) -> None:
    """Show a dataset and its columns."""
    from trainyard.requests import path_of

    document = session.ask("GET", path_of("datasets", name))
    session.result(document, lambda: _print(session, document))


def _print(session: Session, document: Mapping[str, Any]) -> None:
    output = session.output
    shown = ("name", "id", "rows", "label", "bytes", "created_at")
    classes = ", ".join(str(name) for name in document["classes"]) or None
    output.pairs({name: document.get(name) for name in shown} | {"classes": classes})
    if not document.get("columns"):
        return
    if output.at_terminal:
        output.line("")
    columns = (
        Column("COLUMN", lambda each: each["name"]),
        Column("TYPE", lambda each: each["type"]),
        Column("MISSING", lambda each: each["missing"], right=True),
        Column("VALUES", _values),
        Column("NOTE", _note),
    )
    output.table(columns, document["columns"])


def _values(column: Mapping[str, Any]) -> str | None:
    """The range of numbers, or the first levels."""
    if column.get("min") is not None:
        return f"{text.number(column['min'])} to {text.number(column['max'])}"
    levels = column.get("levels")
    if not levels:
        return None
    names = [str(level["value"] if isinstance(level, Mapping) else level) for level in levels]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _note(column: Mapping[str, Any]) -> str | None:
    return None if column.get("use", True) else f"left out: {column.get('reason', '')}"


@command(
    data,
    "add",
    example="trainyard data add titanic.csv --label Survived --ignore Name,Ticket",
    places={"/file": "FILE", **{f"/{name}": f"--{name}" for name in ("name", "label", *READING)}},
)
@click.argument("file", metavar="FILE|-")
@click.option("--name", help="The dataset's name; else that of the file.")
@click.option(
    "--label", metavar="COLUMN", help="The column that holds the classes; it may be named at training instead."
)
def add(session: Session, file: str, name: str | None, label: str | None, **reading: str | None) -> None:
    """Make a dataset of a file, and print its name.

    The file may be CSV, TSV, Parquet, NDJSON or a JSON array of objects, plain or compressed by gzip or zstd. "-" is
    standard input.
    """
    from trainyard.cli.upload import local_file, name_of, stored, upload_request

    with local_file(file, kept_back=session.choices.curl) as path:
        if path is None:
            raise click.UsageError(f"there is no file {file}")
        if file == "-" and name is None:
            raise click.UsageError("--name is required for standard input")
        options = {"label": label, **reading}
        wanted = name or name_of(path)
        if session.choices.curl:
            session.show(upload_request(session, path, wanted, options))
        document = stored(session, path, wanted, options, exact=True)
    for warning in document.get("warnings") or []:
        column = warning.get("column")
        session.output.say(f"{f'{column}: ' if column else ''}{warning['detail']}", mark="!", colour="yellow")
    session.output.say(f"{text.plural(document['rows'], 'row')}, {document['id']}", mark="✓", colour="green")
    session.result(document, lambda: session.output.line(document["name"]))


for _name, _help in READING.items():
    add.params.insert(-5, click.Option((f"--{_name}",), help=_help, metavar="TEXT"))


@command(data, "rows", example="trainyard data rows titanic --where Sex=female --limit 5", places={"/where": "--where"})
@click.argument("name", type=NAME_OF_DATASET)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many at most.")
@click.option("--after", type=click.IntRange(min=0), metavar="ROW", help="Show those behind this row.")
@click.option("--where", metavar="COLUMN=VALUE", help="Show only rows with this value.")
def rows(session: Session, name: str, limit: int, after: int | None, where: str | None) -> None:
    """Show some rows of a dataset."""
    from trainyard.requests import path_of

    if where is not None and "=" not in where:
        raise click.BadParameter(f"must be COLUMN=VALUE. Received: {where!r}", param_hint="--where")
    wanted = None if where is None else where.replace("=", ":", 1)
    page = session.pages(path_of("datasets", name, "rows"), {"after": after, "where": wanted}, limit)
    names = list(page["data"][0]["values"]) if page["data"] else []
    columns = [Column("ROW", lambda each: each["row"], right=True), *(_cell(column) for column in names)]
    session.result(page, lambda: session.output.table(columns, page["data"], "There are no such rows."))


def _cell(name: str) -> Column:
    return Column(text.harmless(name), lambda row: row["values"].get(name))


@command(data, "profile", example="trainyard data profile titanic")
@click.argument("name", type=NAME_OF_DATASET)
def profile(session: Session, name: str) -> None:
    """Show what each column holds, and how much it tells about the label."""
    from trainyard.requests import path_of

    document = session.ask("GET", path_of("datasets", name, "profile"))
    columns = (
        Column("COLUMN", lambda each: each["name"]),
        Column("TYPE", lambda each: each["type"]),
        Column("MISSING", lambda each: each["missing"], right=True),
        Column("DISTINCT", lambda each: each.get("distinct"), right=True),
        Column("VALUES", _values),
        *([Column("SHAPE", _shape)] if session.output.at_terminal else []),
        Column("TELLS", lambda each: each.get("relation"), _bar),
        Column("NOTE", lambda each: "the label" if each["name"] == document.get("label") else _note(each)),
    )
    session.result(document, lambda: session.output.table(columns, document["columns"]))


def _shape(column: Mapping[str, Any]) -> str | None:
    """The histogram of numbers, or the shares of levels."""
    counts = (column.get("histogram") or {}).get("counts") or [level["count"] for level in column.get("levels") or []]
    return text.spark([float(count) for count in counts], BAR) or None


def _bar(relation: float) -> str:
    return f"{relation:5.2f} {'█' * round(relation * BAR)}"


@command(data, "rm", example="trainyard data rm iris iris-2")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=NAME_OF_DATASET)
def remove(session: Session, names: tuple[str, ...]) -> None:
    """Delete datasets; models that were trained on them stay."""
    from trainyard.cli.removing import remove_all

    remove_all(session, "datasets", names)
