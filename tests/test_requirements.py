"""What the project needs: the requirements files, pyproject.toml and the lock say the same."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
#: What installs the project in the image.
BUILD_LOCK = (ROOT / "requirements-build.lock").read_text()


def required(*names: str) -> set[str]:
    """The requirements that files list themselves, in one spelling."""
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    return {str(Requirement(line)) for line in lines if line and not line.startswith(("#", "-r"))}


def spelled(requirements: list[str]) -> set[str]:
    return {str(Requirement(text)) for text in requirements}


def test_pyproject_lists_what_the_requirements_files_list() -> None:
    """Dependencies, extras, and what builds a wheel."""
    extras = PROJECT["project"]["optional-dependencies"]
    assert spelled(extras["server"]) == required("requirements.txt")
    assert spelled(PROJECT["project"]["dependencies"]) < spelled(extras["server"])
    parts = ("test", "otel", "onnx", "fast", "postgresql", "storage", "oracle")
    assert spelled(extras["test"]) == required(*(f"requirements-{part}.txt" for part in parts))
    assert spelled(extras["otel"]) == required("requirements-otel.txt")
    assert spelled(extras["onnx"]) == required("requirements-onnx.txt")
    assert spelled(extras["fast"]) == required("requirements-fast.txt")
    assert spelled(extras["postgresql"]) == required("requirements-postgresql.txt")
    assert spelled(extras["bench"]) == required(
        "requirements-bench.txt", "requirements-fast.txt", "requirements-postgresql.txt"
    )
    assert spelled(extras["storage"]) == required("requirements-storage.txt")
    assert spelled(extras["security"]) == required("requirements-security.txt")
    assert spelled(extras["release"]) == required("requirements-release.txt")
    assert spelled(PROJECT["build-system"]["requires"]) <= spelled(extras["test"])


class Pin:
    """One entry of the lock: a version, the environments it is for, and the digests of its files."""

    def __init__(self, text: str) -> None:
        first, *rest = re.split(r" \\\n +", text)
        self.requirement = Requirement(first)
        self.name = canonicalize_name(self.requirement.name)
        (exact,) = self.requirement.specifier
        assert exact.operator == "=="
        self.version = exact.version
        self.digests = rest

    def applies(self, environment: dict[str, str]) -> bool:
        marker: Marker | None = self.requirement.marker
        return marker is None or marker.evaluate(environment)


def pins(lock: str = LOCK) -> list[Pin]:
    """The entries of a lock, comments aside."""
    text = "\n".join(line for line in lock.splitlines() if not line.lstrip().startswith("#"))
    return [Pin(entry) for entry in re.split(r"\n(?=\S)", text.strip())]


@pytest.mark.parametrize("lock", [LOCK, BUILD_LOCK], ids=["service", "build"])
def test_every_pin_has_digests_and_names_no_place(lock: str) -> None:
    """Where packages come from is for pip's configuration to say."""
    found = pins(lock)
    assert len(found) > len(required("requirements.txt") if lock is LOCK else PROJECT["build-system"]["requires"])
    assert [pin.name for pin in found if not pin.digests] == []
    assert [
        digest for pin in found for digest in pin.digests if not re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", digest)
    ] == []
    assert not re.search(r"://|file:|--(extra-)?index|--find-links", lock)


def test_what_builds_the_project_is_locked() -> None:
    versions = {pin.name: pin.version for pin in pins(BUILD_LOCK)}
    for text in PROJECT["build-system"]["requires"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), f"{text}: run make lock"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_lock_satisfies_the_requirements(python: str, machine: str) -> None:
    """One version of each package applies, and it is in the range that is allowed. The image has the extra onnx."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
        "os_name": "posix",
    }
    versions = defaultdict[str, list[str]](list)
    for pin in pins():
        if pin.applies(environment):
            versions[pin.name].append(pin.version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    for text in required("requirements.txt", "requirements-onnx.txt"):
        requirement = Requirement(text)
        (version,) = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text}: run make lock"
