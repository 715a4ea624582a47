"""The judgement about what the service is made of, on reports as the programs write them."""

from __future__ import annotations

import pytest

from security.supply import LOCK, audited, bill_faults, pins
from tests import test_requirements


def test_what_was_not_checked_is_no_good_news() -> None:
    """pip-audit says "No known vulnerabilities found" of packages that it has skipped."""
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3", "4"]}]},
            {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1)"},
            {"name": "d", "version": "5", "vulns": [{"id": "CVE-2", "fix_versions": []}]},
        ]
    }
    known = ["b 2: CVE-1; corrected in 3, 4", "d 5: CVE-2; corrected in no version"]
    assert audited(report) == (3, known, ["c"])


def test_every_pin_is_read() -> None:
    """As another reader of the lock finds them."""
    assert pins(LOCK.read_text()) == {(pin.name, pin.version) for pin in test_requirements.pins()}


def test_a_bill_of_materials_lists_every_pin_with_its_digests() -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-bom is of requirements-security.txt")
    place = {"type": "distribution", "url": "a", "hashes": [{"alg": "SHA-256", "content": "0" * 64}]}
    component = {"type": "library", "name": "a", "version": "1", "externalReferences": [place]}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [component]}
    assert bill_faults(bill, {("a", "1")}) == []
    assert bill_faults(bill, {("a", "2")}) == ["the bill of materials lacks a 2"]
    assert bill_faults({**bill, "components": [{**component, "externalReferences": []}]}, set())
    assert "schema" in bill_faults({**bill, "version": "one"}, set())[0]
