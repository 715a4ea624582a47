"""The demo: starts the service, trains three classifiers through REST, shows the results, and leaves it running.

The data are three arms of a spiral, with a picture of the decision regions; a table of words, times and blanks; and the
1,797 handwritten digits of ``digits.csv``. The demo uses only the REST API, with the HTTP client of the standard
library. At a terminal the service runs until Ctrl-C, with the console at the address that is printed; else it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

from demo_rentals import rentals
from demo_service import ROOT, Client, DemoError, service
from demo_spiral import COLORS, draw, spiral_points

OUTPUT = ROOT / "demo-output"
#: Minimum accuracies, which every seed that was tried has reached.
SPIRAL_ACCURACY, RENTALS_ACCURACY, DIGITS_ACCURACY = 0.93, 0.84, 0.97
SPIRAL_EPOCHS = 10_001

#: What the demo asks the model of the table, and what README shows.
ASKED = {"model": "rentals", "rows": [{"district": "airport", "bike": "cargo", "distance_km": 9.5}]}


def train_spiral(client: Client, picture: Path) -> None:
    """Define a model, train it, predict and draw the decision regions."""
    points, labels = spiral_points(seed=0)
    network = "2 -> dense 64 -> relu -> dense 3 -> softmax"
    print(f"\nSpiral: 300 points, {network}, Adam, {SPIRAL_EPOCHS:,} full-batch epochs")
    definition = {
        "name": "spiral",
        "inputs": 2,
        "classes": list(COLORS),
        "layers": [
            {"type": "dense", "units": 64},
            {"type": "relu"},
            {"type": "dense", "units": 3},
            {"type": "softmax"},
        ],
        "optimizer": {"type": "adam", "learning_rate": 0.01},
    }
    client.call("POST", "/models", definition)
    request = {
        "model": "spiral",
        "data": {"inputs": points, "labels": labels},
        "epochs": SPIRAL_EPOCHS,
        "batch_size": "full",
        "seed": 0,
    }
    job = client.follow(client.call("POST", "/train", request))
    answer = client.call("POST", "/predict", {"model": "spiral", "inputs": points})
    accuracy = sum(map(str.__eq__, answer["predictions"], labels)) / len(labels)
    draw(client, points, labels, picture)
    report(client, "training accuracy", accuracy, SPIRAL_ACCURACY, job)
    print(f"  picture of the decision regions: {picture}")


def train_rentals(client: Client, file: Path) -> None:
    """Upload a table as it is, and predict a row by the names of its columns, of which some are left out."""
    file.write_text(rentals(rows=400, seed=0))
    print(f"\nRentals: a table with words, times and blanks, {file}; nothing but the label is named")
    dataset = client.call("POST", "/datasets?name=rentals&label=returned", file.read_bytes(), "text/csv")
    kinds = [f"{column['name']} ({column['type']})" for column in dataset["columns"] if column.get("use") is not False]
    print(f"  dataset {dataset['id']}: {dataset['rows']} rows, {', '.join(kinds)}")
    for warning in dataset["warnings"]:
        print(f"  {warning.get('column', 'the file')} {warning['detail']}")
    job = client.follow(client.call("POST", "/train", {"data": "rentals"}))
    accuracy = compare(job)
    report(client, "accuracy", accuracy, RENTALS_ACCURACY, job)
    answer = client.call("POST", "/predict", {**ASKED, "report": True})
    shares = zip(answer["classes"], answer["probabilities"][0], strict=True)
    told = ", ".join(f"{label} {share:.2f}" for label, share in shares)
    print(f"  prediction for {ASKED['rows'][0]}: {told} (missing: {', '.join(answer['report'][0]['missing'])})")


def train_digits(client: Client) -> None:
    """Upload a CSV file and name the label: the service chooses the networks. Then predict one row."""
    print("\nDigits: 1,797 images of 8x8 from examples/digits.csv; nothing but the label is named")
    content = (ROOT / "examples" / "digits.csv").read_bytes()
    dataset = client.call("POST", "/datasets?name=digits&label=digit", content, "text/csv")
    print(f"  dataset {dataset['id']}: {dataset['rows']} rows, classes {', '.join(dataset['classes'])}")
    job = client.follow(client.call("POST", "/train", {"data": "digits"}))
    report(client, "accuracy", compare(job), DIGITS_ACCURACY, job)
    row = content.decode().splitlines()[1].split(",")
    answer = client.call("POST", "/predict", {"model": "digits", "inputs": [float(x) for x in row[:-1]], "top_k": 2})
    guesses = ", ".join(f"{guess['class']} {guess['probability']:.3f}" for guess in answer["top"][0])
    print(f"  prediction for the first row, a {row[-1]}: {guesses}")


def compare(job: dict[str, Any]) -> float:
    """Print how good a job's networks are beside what there is to beat; return their accuracy."""
    found = job["held_out"]
    best = max(found["to_beat"].items(), key=lambda item: item[1]["accuracy"])
    print(f"  ours:    {measured(found)}, on rows that the networks did not train on")
    print(f"  to beat: {measured(best[1])} ({best[0]}); {measured(found['to_beat']['majority'])} (majority)")
    return float(found["accuracy"])


def measured(measures: dict[str, Any]) -> str:
    """Format accuracy and log loss."""
    return f"accuracy {measures['accuracy']:.3f}, log loss {measures['log_loss']:.3f}"


def report(client: Client, name: str, value: float, floor: float, job: dict[str, Any]) -> None:
    """Print a result and its checkpoint. Raises DemoError if ``value`` is below ``floor``."""
    checkpoint = client.call("GET", f"/checkpoints/{job['checkpoint']}")
    print(
        f"  {name} {value:.3f}; version {job['version']}, checkpoint {checkpoint['id']} ({checkpoint['bytes']:,} bytes)"
    )
    if value < floor:
        raise DemoError(f"{name} is {value:.3f}, below {floor}")


def stay(client: Client) -> None:
    """Print the console's address; at a terminal, open it if there is a display, and wait for Ctrl-C."""
    console = f"{client.address}/console/"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"The console is at {console} while the service runs. It ends now: this is no terminal.")
        return
    # Ctrl-C ends the service as soon as it is offered, also while the browser is being started.
    with suppress(KeyboardInterrupt):
        print(f"\nAsk a model:  curl {client.address}/predict -d '{json.dumps(ASKED)}'")
        print(f"The console:  {console}  (the API: {client.address}/docs)\nCtrl-C ends the service.", flush=True)
        if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(console)
        signal.pause()
    print()


def main() -> int:
    """Run the demo; return 0, or 1 if it failed."""
    begin = time.monotonic()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    data = Path(tempfile.mkdtemp(prefix="trainyard-demo-")) / "data"
    try:
        with service(data) as client:
            train_spiral(client, OUTPUT / "spiral.svg")
            train_rentals(client, OUTPUT / "rentals.csv")
            train_digits(client)
            files = sorted((data / "checkpoints").glob("*.h5"))
            print(f"\nThe {len(files)} HDF5 files, which any HDF5 tool can read, are in {data / 'checkpoints'}")
            print(f"Done in {time.monotonic() - begin:.1f} s.")
            stay(client)
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted.", file=sys.stderr)
        return 130
    print(f"To go on with these models: TRAINYARD_DATA={data} make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
