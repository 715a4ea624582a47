"""docs/client.md: its examples run as they stand, one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris

from testing.harness import ROOT, Server
from trainyard.training import DEFINITION

PAGE = (ROOT / "docs" / "client.md").read_text()


def test_the_examples(
    make_server: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In an empty folder with the file that they name, and a service that has nothing yet."""
    frame = load_iris(as_frame=True)
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in frame.data.columns]
    table = frame.data.set_axis(names, axis=1).assign(species=frame.target_names[frame.target])
    table.to_csv(tmp_path / "iris.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINYARD_URL", make_server().start_ready().base)
    names_there: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 9
    for block in blocks:
        exec(compile(block, "docs/client.md", "exec"), names_there)
    printed = capsys.readouterr().out
    assert "('virginica',)" in printed
    assert "validation_failed ['/epochs']" in printed
    assert (tmp_path / "predicted.csv").read_text().count("\n") == 151
    assert names_there["newest"].model_name == "iris"


def test_members_of_definitions_are_named() -> None:
    """Those that the page shows are known as such."""
    (row,) = re.findall(r"^\| (.*) \| members of a definition \|$", PAGE, re.MULTILINE)
    assert {"hidden", "layers", "features"} == set(re.findall(r"`(\w+)`", row)) & set(DEFINITION)
