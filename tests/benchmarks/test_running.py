"""Servers of benchmarks: awaited, ended with all that they left, and what they print if they do not answer."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

import pytest

from benchmarks.running import running
from benchmarks.servers import free_port
from testing.harness import eventually, is_gone

pytestmark = pytest.mark.processes

#: A server that has started a process which would outlive it, and that says which.
LEAVES_ONE = """
import http.server, os, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{left.pid} {os.getcwd()} {os.environ['WORD']}".encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_it_runs_until_the_block_ends(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", LEAVES_ONE, str(port)]
    with running(command, port, "/", tmp_path, {"WORD": "here"}) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            left, *rest = answer.read().decode().split()
        assert rest == [str(tmp_path), "here"]
        assert not is_gone(int(left))
    assert process.returncode is not None
    eventually(lambda: is_gone(int(left)), what="the end of what it started")


def test_one_that_ends_is_reported_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(RuntimeError, match="does not answer: no such model"),
        running(command, free_port(), "/", tmp_path, {}),
    ):
        pass


def test_the_processor_is_not_overridden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    command = [sys.executable, "-c", "import os; raise SystemExit(os.environ.get('OPENBLAS_CORETYPE', 'detected'))"]
    with pytest.raises(RuntimeError, match="detected"), running(command, free_port(), "/", tmp_path, {}):
        pass
