"""HTTPS: a service whose certificate is trusted, and one whose certificate is not."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainyard import Trainyard, Unreachable

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, for a certificate"),
]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, and its key in the same file."""
    place = tmp_path / "own.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", place, "-out", tmp_path / "certificate.pem"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names, *files]
    subprocess.run(made, check=True, capture_output=True)
    with place.open("a") as file:
        file.write((tmp_path / "certificate.pem").read_text())
    return place


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    """A service that answers each request with its path, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:  # It is closed at the end.
                return
            try:
                with context.wrap_socket(plain, server_side=True) as client:
                    while head := client.recv(65536):
                        path = head.split(b" ")[1]
                        client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"%s"' % (len(path) + 2, path))
            except OSError:  # The client refuses the certificate.
                plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/yard/"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_trusted_service_behind_a_path(url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Trainyard(url, key="ty_x") as ty:
        assert [ty.request("GET", path).json() for path in ("/a", "/b")] == ["/yard/a", "/yard/b"]


def test_a_service_that_is_not_trusted(url: str) -> None:
    with pytest.raises(Unreachable, match="certificate verify failed"):
        Trainyard(url, retries=0).version()
