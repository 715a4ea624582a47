"""What the service is made of: known vulnerabilities of requirements.lock by pip-audit, and its bill of materials.

The bill of materials (CycloneDX, JSON) is written to ``build/sbom.json`` and validated. If the database of
vulnerabilities cannot be reached, nothing is known, which is a failure unless ``TRAINYARD_OFFLINE=1`` is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from reliability.figure import Figure
from testing.harness import ROOT

__all__ = ["audited", "bill_faults", "pins", "run"]

#: If it is set to 1, that the database of vulnerabilities cannot be reached is no failure.
OFFLINE = "TRAINYARD_OFFLINE"
LOCK, BILL = ROOT / "requirements.lock", ROOT / "build" / "sbom.json"
GOALS = {"components": 1}
#: Seconds for each program.
_PATIENCE = 300


def run(_scale: float) -> Figure:
    """Audit the lock, and write and validate the bill of materials."""
    figure = Figure(goals=dict(GOALS))
    _audit(figure, offline=os.environ.get(OFFLINE) == "1")
    _write_bill(figure)
    return figure


def pins(text: str) -> set[tuple[str, str]]:
    """Name and version of each entry of a lock."""
    entries = [line.partition(" \\")[0] for line in text.splitlines() if line and line[0] not in " #"]
    requirements = [Requirement(entry) for entry in entries]
    return {(canonicalize_name(each.name), next(iter(each.specifier)).version) for each in requirements}


def audited(document: Mapping[str, Any]) -> tuple[int, list[str], list[str]]:
    """From pip-audit's report: how many packages were checked, their vulnerabilities, and what was not checked."""
    known, unknown, checked = [], [], 0
    for each in document["dependencies"]:
        if "skip_reason" in each:
            unknown.append(each["name"])
            continue
        checked += 1
        for found in each["vulns"]:
            better = ", ".join(found["fix_versions"]) or "no version"
            known.append(f"{each['name']} {each['version']}: {found['id']}; corrected in {better}")
    return checked, known, unknown


def bill_faults(document: Mapping[str, Any], locked: set[tuple[str, str]]) -> list[str]:
    """What is wrong with a bill of materials of so many pins; nothing if it fits its schema and lists each of them."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    faults = [] if error is None else [f"the bill of materials does not fit its schema: {error}"]
    listed = {(canonicalize_name(each["name"]), each["version"]) for each in document["components"]}
    faults += [f"the bill of materials lacks {name} {version}" for name, version in sorted(locked - listed)]
    for each in document["components"]:
        if not any(place.get("hashes") for place in each.get("externalReferences", [])):
            faults.append(f"{each['name']} has no digest in the bill of materials")
    return faults


def _program(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name(name), *arguments]
    try:
        return subprocess.run(
            [*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", f"{type(error).__name__}: {error}")


def _audit(figure: Figure, *, offline: bool) -> None:
    done = _program(
        "pip-audit", "--require-hashes", "--disable-pip", "-r", LOCK, "--format", "json", "--progress-spinner", "off"
    )
    try:
        checked, known, unknown = audited(json.loads(done.stdout))
    except ValueError:  # Without its database, it ends with a message alone.
        checked, known, unknown = 0, [], sorted({name for name, _ in pins(LOCK.read_text())})
        print(f"    pip-audit ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    figure.count("packages audited", checked)
    figure.broken += known
    if not unknown:
        return
    shown = f"{len(unknown)} of {checked + len(unknown)} packages"
    print(f"    NOTHING IS KNOWN of vulnerabilities in {shown}: {', '.join(unknown)}", flush=True)
    if offline:
        figure.count("packages not checked", len(unknown))
    else:
        figure.broken.append(
            f"{shown} were not checked: the database of vulnerabilities was not reached, or lacks them. Connect this "
            f"machine to it, or set {OFFLINE}=1 to go on without"
        )


def _write_bill(figure: Figure) -> None:
    BILL.parent.mkdir(exist_ok=True)
    options = ["--output-format", "JSON", "--spec-version", "1.6", "--output-reproducible", "--output-file", BILL]
    done = _program("cyclonedx-py", "requirements", LOCK, *options)
    if done.returncode:
        figure.broken.append(f"no bill of materials: {done.stderr.strip()[-500:]}")
        return
    document = json.loads(BILL.read_text())
    figure.count("components", len(document["components"]))
    figure.broken += bill_faults(document, pins(LOCK.read_text()))
    print(f"    {BILL.relative_to(ROOT)}: {len(document['components'])} components")
