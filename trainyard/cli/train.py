"""The command that trains a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.command import Failure, command
from trainyard.cli.expectation import Expectation
from trainyard.cli.session import Session
from trainyard.cli.training_request import PLACES, Plan
from trainyard.cli.types import ASSIGNMENT, CONDITION, NAMES, NUMBERS

__all__ = ["train"]

EXAMPLE = """\
trainyard train iris.csv --label species
trainyard train titanic.csv --label Survived --skip Name,Ticket --hidden 64,64 --epochs 200 --patience 10
trainyard train titanic --set optimizer.type=adamw --expect 'validation_accuracy>=0.8'"""


@command(name="train", example=EXAMPLE, places=PLACES)
@click.argument("source", metavar="FILE|DATASET")
@click.option("--label", metavar="COLUMN", help="The column that holds the classes.")
@click.option("--name", help="The model's name; else that of the file or dataset.")
@click.option(
    "--hidden", type=NUMBERS, metavar="UNITS", help="Train one network with these hidden layers, as in 64,64."
)
@click.option("--skip", type=NAMES, default=(), metavar="COLUMNS", help="Columns that the model must not read.")
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="Share of the rows that are held out; 0.2 for a single network.",
)
@click.option("--epochs", type=click.IntRange(min=0), metavar="N", help="Train one network for so many epochs.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train one network until N epochs bring nothing better.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="The same seed makes the same model.")
@click.option("--from", "start_from", metavar="CHECKPOINT", help="Start with the weights of a checkpoint.")
@click.option(
    "--set",
    "changes",
    type=ASSIGNMENT,
    multiple=True,
    metavar="PATH=JSON",
    help="Anything else in the request, as in optimizer.type=adamw or model.class_weights=balanced; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Store a file, say how long the training would take, and train nothing.")
@click.option("--no-wait", is_flag=True, help="Print the job's id, and do not wait for its end.")
@click.option(
    "--expect",
    "expected",
    type=CONDITION,
    multiple=True,
    metavar="CONDITION",
    help="Exit with 1 if the job ends otherwise, as in 'validation_accuracy>=0.9'; may be repeated.",
)
def train(
    session: Session,
    source: str,
    label: str | None,
    name: str | None,
    dry_run: bool,
    no_wait: bool,
    expected: tuple[Expectation, ...],
    skip: tuple[str, ...],
    **options: Any,
) -> None:
    """Train a model on a file or a dataset, and serve it.

    A file becomes a dataset of its name first; it is sent once. "-" is standard input.

    If no option says how a single network is trained, the service chooses: it trains several networks, each of which
    holds out another share of the rows, and answers with all of them together.

    At the end the model answers, and the command prints the address of its page and a curl line. Ctrl-C leaves the job
    running; a second Ctrl-C stops it.
    """
    from trainyard.cli.upload import local_file, name_of
    from trainyard.cli.waiting import leaving

    if expected and (dry_run or no_wait):
        raise click.UsageError(f"--expect waits for the job's end: leave {'--dry-run' if dry_run else '--no-wait'} out")
    with local_file(source, kept_back=session.choices.curl) as file:
        if source == "-" and name is None:
            raise click.UsageError("--name is required for standard input")
        wanted = source if file is None else name if source == "-" and name else name_of(file)
        plan = Plan(wanted, label, name, skip=skip, **options)
        try:
            plan.request()
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--set") from None
        work = _Work(session, file, plan)
        if file is not None and label is None:
            raise click.UsageError(_which_label(source, file))
        if session.choices.curl:
            work.show(dry_run=dry_run)
        work.store()
    if dry_run:
        work.dry_run()
        return
    work.start()
    with leaving(session, work.job["id"]):
        work.describe()
        if no_wait:
            work.print_started()
        else:
            work.wait(expected)


class _Work:
    """The way from a file to a model that answers."""

    def __init__(self, session: Session, file: Path | None, plan: Plan) -> None:
        self.session, self.file, self.plan = session, file, plan
        self.output = session.output
        self.dataset: Mapping[str, Any] = {}
        self.job: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def show(self, *, dry_run: bool) -> None:
        """Print the requests in place of sending them."""
        from trainyard.cli.upload import upload_request

        requests = [self._request(dry_run=dry_run)]
        if self.file is not None:
            requests.insert(0, upload_request(self.session, self.file, self.plan.dataset, self._options))
        self.session.show(*requests)

    @property
    def _options(self) -> dict[str, Any]:
        return {"label": self.plan.label}

    def _request(self, *, dry_run: bool = False) -> Any:
        body = self.plan.request()
        return self.session.request("POST", "/train", {**body, "dry_run": True} if dry_run else body)

    def store(self) -> None:
        """Find the dataset, or make it from the file."""
        from dataclasses import replace

        from trainyard.cli.upload import stored
        from trainyard.requests import path_of

        if self.file is None:
            self.dataset = self.session.ask("GET", path_of("datasets", self.plan.dataset))
        else:
            self.dataset = stored(self.session, self.file, self.plan.dataset, self._options)
            if self.dataset["name"] != self.plan.dataset:
                self.output.say(f"another dataset is called {self.plan.dataset}: this one is {self.dataset['name']}")
                model = self.plan.model
                self.plan = replace(self.plan, dataset=self.dataset["name"], name=model)
        for warning in self.dataset.get("warnings") or []:
            self.output.say(_warning(warning), mark="!", colour="yellow")

    @property
    def _label(self) -> str | None:
        return self.plan.label or self.dataset.get("label")

    def dry_run(self) -> None:
        """Print what would be trained."""
        document = self.session.send(self._request(dry_run=True)).json()
        rows, estimate = document["rows"], document.get("estimate") or {}
        values = {
            "model": document["model"],
            "networks": document.get("members"),
            "parameters": document["parameters"],
            "rows": rows["training"],
            "held_out": rows["validation"],
            "seconds": estimate.get("seconds"),
            "bytes": sum(value for value in document["bytes"].values() if value is not None),
        }
        self.session.result(document, lambda: self.output.pairs(values))
        self._warn(document)

    def start(self) -> None:
        """Send the request."""
        self.job = self.session.send(self._request()).json()

    def describe(self) -> None:
        """Say what is trained."""
        from trainyard.cli.descriptions import counts_of, describe_data, describe_network
        from trainyard.requests import path_of

        if self.output.quiet:
            return
        self._warn(self.job)
        if self.dataset.get("columns"):
            profile = self.session.ask("GET", path_of("datasets", self.dataset["id"], "profile"))
            self.counts = counts_of(profile, self._label)
        definition = self.session.ask("GET", path_of("models", self.job["model"]))
        told = [describe_data(self.dataset, self._label, self.plan.skip, self.counts), describe_network(definition)]
        fraction = (self.job["request"].get("validation") or {}).get("fraction")
        told += [f"{100 * fraction:.3g} % held out"] if fraction else []
        self.output.say("; ".join(told), mark="✓", colour="green")

    def _warn(self, document: Mapping[str, Any]) -> None:
        known = [_warning(each) for each in self.dataset.get("warnings") or []]
        for warning in document.get("warnings") or []:
            if _warning(warning) not in known:
                self.output.say(_warning(warning), mark="!", colour="yellow")

    def print_started(self) -> None:
        """Print the job's id, for other commands."""
        job_id = self.job["id"]
        self.session.result(self.job, lambda: self.output.line(job_id))
        self.output.say(f"watch it: trainyard job watch {job_id}")

    def wait(self, expected: Sequence[Expectation]) -> None:
        """Wait for the end; print where the model answers."""
        from trainyard.cli.ending import end
        from trainyard.cli.expectation import metrics_of
        from trainyard.cli.waiting import wait_for

        self.job = wait_for(self.session, self.job)
        version = end(self.session, self.job, self.counts, self.dataset)
        known = metrics_of(self.job, version)
        missed = [sentence for each in expected if (sentence := each.missed(known)) is not None]
        if missed:
            raise Failure("\n".join(missed))


def _warning(warning: Mapping[str, Any]) -> str:
    column = warning.get("column")
    return f"{f'{column}: ' if column else ''}{warning['detail']}"


def _which_label(source: str, file: Path) -> str:
    """A sentence that asks for the label; the beginning of a file of text helps to answer."""
    told = "--label is required: which column holds the classes?"
    if source == "-":
        return told
    with file.open("rb") as opened:
        line = opened.readline(2000)
    try:
        first = text.cut(text.harmless(line.decode().strip()), 300)
    except UnicodeDecodeError:
        return told
    return f"{told} The first line of {source}: {first}"
