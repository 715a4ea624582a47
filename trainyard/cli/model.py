"""The commands about models."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard.cli import text
from trainyard.cli.command import Group, command
from trainyard.cli.output import Column
from trainyard.cli.session import Session
from trainyard.cli.types import NAME_OF_MODEL, WEIGHTED

if TYPE_CHECKING:
    from trainyard.requests import Request

__all__ = ["model"]

#: The formats of files that a version is exported as.
HDF5, ONNX = "hdf5", "onnx"


@click.group(name="model", cls=Group, example="trainyard model list\ntrainyard model promote iris 3")
def model() -> None:
    """List, show, promote, export and delete models."""


@command(model, "list", example="trainyard model list --prefix class-")
@click.option("--prefix", metavar="TEXT", help="Show only those whose name begins so.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many at most.")
@click.option("--after", metavar="NAME", help="Show those that are older than this one.")
def list_models(session: Session, prefix: str | None, limit: int, after: str | None) -> None:
    """List models, the newest first."""
    page = session.pages("/models", {"prefix": prefix, "after": after}, limit, _place)
    columns = (
        Column("NAME", lambda each: each["name"]),
        Column("VERSION", lambda each: each["default"], right=True),
        Column("HELD OUT RIGHT", _held_out, lambda share: f"{share:.3f}", right=True),
        Column("LABEL", lambda each: each.get("label")),
        Column("CLASSES", lambda each: len(each["classes"]), right=True),
        Column("NETWORK", _network),
        Column("CREATED", lambda each: each["created_at"], text.ago),
    )
    empty = "There are no models. Train one: trainyard train FILE --label COLUMN"
    session.result(page, lambda: session.output.table(columns, page["data"], empty))


def _place(document: Mapping[str, Any]) -> str:
    """What a page goes on behind; an admin sees models of several owners."""
    return f"{document['owner']}~{document['name']}" if "owner" in document else str(document["name"])


def _held_out(document: Mapping[str, Any]) -> Any:
    """The share that the default version has right of rows that were held out."""
    metrics = document.get("metrics") or {}
    return metrics.get("validation_accuracy")


def _network(document: Mapping[str, Any]) -> str:
    from trainyard.cli.descriptions import hidden_units

    network = document.get("network")
    if network:
        return f"{len(network['kinds'])} kinds × {network.get('used_folds') or network['folds']} folds"
    return ", ".join(str(units) for units in hidden_units(document)) or "no hidden layer"


@command(model, "show", example="trainyard model show iris")
@click.argument("name", metavar="MODEL", type=NAME_OF_MODEL)
def show(session: Session, name: str) -> None:
    """Show a model."""
    from trainyard.requests import path_of

    document = session.ask("GET", path_of("models", name))
    session.result(document, lambda: session.output.pairs(_values(session, document)))


def _values(session: Session, document: Mapping[str, Any]) -> dict[str, Any]:
    from trainyard.cli.descriptions import describe_network
    from trainyard.cli.ending import console_address

    used = [each["column"] for each in document.get("features") or [] if each["type"] != "ignore"]
    return {
        "name": document["name"],
        "version": document["default"],
        "label": document.get("label"),
        "classes": ", ".join(str(name) for name in document["classes"]),
        "columns": ", ".join(used) or None,
        "network": describe_network(document),
        "parameters": document.get("parameters"),
        **(document.get("metrics") or {}),
        "created_at": document["created_at"],
        "page": console_address(session, "models", document["name"]),
    }


@command(model, "versions", example="trainyard model versions iris")
@click.argument("name", metavar="MODEL", type=NAME_OF_MODEL)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many at most.")
@click.option("--after", type=click.IntRange(min=0), metavar="VERSION", help="Show those that are older than this one.")
def versions(session: Session, name: str, limit: int, after: int | None) -> None:
    """List a model's versions, the newest first."""
    from trainyard.requests import path_of

    page = session.pages(path_of("models", name, "versions"), {"after": after}, limit, itemgetter("version"))
    if session.output.as_json:
        session.output.document(page)
        return
    aliases: dict[int, list[str]] = {}
    for alias in session.pages(path_of("models", name, "aliases"), {}, 10_000, itemgetter("alias"))["data"]:
        shares = alias.get("versions") or [{"version": alias["version"], "weight": 1}]
        total = sum(share["weight"] for share in shares)
        for share in shares:
            part = "" if len(shares) == 1 else f" {share['weight'] / total:.0%}"
            aliases.setdefault(share["version"], []).append(f"{alias['alias']}{part}")
    columns = (
        Column("VERSION", lambda each: each["version"], right=True),
        Column("ALIASES", lambda each: ", ".join(aliases.get(each["version"], [])) or None),
        Column("HELD OUT RIGHT", _held_out, lambda share: f"{share:.3f}", right=True),
        Column("LOSS", lambda each: (each.get("metrics") or {}).get("loss"), right=True),
        Column("CREATED", lambda each: each["created_at"], text.ago),
        Column("JOB", lambda each: each.get("job")),
        Column("CHECKPOINT", lambda each: each["checkpoint"]),
    )
    session.output.table(columns, page["data"], f"{name} has no version yet.")


@command(
    model,
    "promote",
    example="trainyard model promote iris 3\ntrainyard model promote iris 3=0.9 4=0.1 --alias canary --shadow 5",
    places={"/version": "VERSION", "/versions": "VERSION", "/shadow": "--shadow", "/alias": "--alias"},
)
@click.argument("name", metavar="MODEL", type=NAME_OF_MODEL)
@click.argument("targets", metavar="VERSION[=WEIGHT]...", type=WEIGHTED, nargs=-1, required=True)
@click.option("--alias", default="default", show_default=True, help="The alias that is to name the version.")
@click.option("--shadow", type=click.IntRange(min=1), help="A version that predicts the same rows after the answer.")
@click.option("--log", is_flag=True, help="Keep these rows with what both have predicted.")
def promote(
    session: Session, name: str, targets: Sequence[tuple[int, float]], alias: str, shadow: int | None, log: bool
) -> None:
    """Let an alias name a version: requests without a version are answered by "default".

    Several versions share its requests by their weights.
    """
    from trainyard.requests import path_of

    if log and shadow is None:
        raise click.UsageError("--log goes with --shadow")
    body: dict[str, Any] = {"version": targets[0][0]}
    if len(targets) > 1:
        body = {"versions": [{"version": number, "weight": weight} for number, weight in targets]}
    if shadow is not None:
        body["shadow"] = {"version": shadow, "log": log}
    document = session.ask("PUT", path_of("models", name, "aliases", alias), body)
    lines = [f"{name}@{number}{f'={weight:g}' if len(targets) > 1 else ''}" for number, weight in targets]
    session.result(document, lambda: session.output.line(" ".join(lines)))


@command(
    model,
    "export",
    example="trainyard model export iris -o iris.h5\ntrainyard model export iris --version 3 -o iris-3.onnx",
    places={"/format": "--format"},
)
@click.argument("name", metavar="MODEL", type=NAME_OF_MODEL)
@click.option("--version", default="default", show_default=True, help="A version's number or an alias.")
@click.option(
    "--format",
    "kind",
    type=click.Choice([HDF5, ONNX]),
    help="A checkpoint (hdf5), which can be imported again, or a file for ONNX Runtime and others; "
    "without it the ending of --output decides, and else it is hdf5.",
)
@click.option("-o", "--output", "place", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
def export(session: Session, name: str, version: str, kind: str | None, place: Path | None) -> None:
    """Write a version to a file: HDF5, which "model import" reads, or ONNX."""
    from trainyard.requests import path_of

    as_onnx = kind == ONNX or (kind is None and place is not None and place.suffix.lower() == ".onnx")
    asked = session.request("GET", path_of("models", name, "versions", version))
    if session.choices.curl:
        line = session.curl(_onnx(session, name, version)) + _to(place) if as_onnx else _nested(session, asked, place)
        session.show(line)
    found = session.send(asked).json()
    if place is None and session.output.at_terminal:
        raise click.UsageError("a terminal cannot show a file: name one with --output")
    if as_onnx:
        request = _onnx(session, name, found["version"])
    else:
        request = session.request("GET", path_of("checkpoints", found["checkpoint"], "file"), accept="*/*")
    with session.streamed(request) as response:
        if place is None:
            out = sys.stdout.buffer
            for block in response:
                out.write(block)
            return
        response.save(place)
    session.result(found, lambda: session.output.line(str(place)))


def _onnx(session: Session, name: str, version: int | str) -> Request:
    from trainyard.requests import path_of

    return session.request(
        "GET", path_of("models", name, "versions", version, "export"), query={"format": ONNX}, accept="*/*"
    )


def _to(place: Path | None) -> str:
    """The end of a line of curl that writes to a file."""
    return "" if place is None else f" -o {shlex.quote(str(place))}"


def _nested(session: Session, asked: Any, place: Path | None) -> str:
    """One line that asks for the checkpoint's id, then for its file."""
    inner = f"{session.curl(asked)} -s | grep -o 'ckpt_[0-9a-z]*' | head -n 1"
    outer = session.curl(session.request("GET", "/checkpoints/CHECKPOINT/file"))
    target = f"{session.address.url}/checkpoints/CHECKPOINT/file"
    found = f'"{session.address.url}/checkpoints/$({inner})/file"'
    return outer.replace(target, found) + _to(place)


@command(
    model,
    "import",
    example="trainyard model import iris iris.h5\ntrainyard model import spam spam.onnx --classes no,yes",
    places={"/classes": "--classes"},
)
@click.argument("name", metavar="MODEL", type=NAME_OF_MODEL)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--classes", help="The labels of the network's outputs in their order, as in no,yes, in place of those of the file."
)
def import_file(session: Session, name: str, file: Path, classes: str | None) -> None:
    """Make an HDF5, ONNX or skops file a model's next version.

    The first is a checkpoint. The others hold a network of another program, and define the model if it does not exist.
    """
    from trainyard.bodies import FileBody
    from trainyard.requests import path_of

    body, path = FileBody(file, "application/octet-stream"), path_of("models", name, "checkpoints")
    document = session.ask("POST", path, body, query={"classes": classes})
    session.result(document, lambda: session.output.line(f"{name}@{document['version']}"))


@command(model, "rm", example="trainyard model rm iris")
@click.argument("names", nargs=-1, required=True, metavar="MODEL...", type=NAME_OF_MODEL)
@click.option("--force", is_flag=True, help="Cancel jobs of the model that have not ended.")
def remove(session: Session, names: tuple[str, ...], force: bool) -> None:
    """Delete models with their versions and checkpoints."""
    from trainyard.cli.removing import remove_all

    remove_all(session, "models", names, {"force": True} if force else None)
