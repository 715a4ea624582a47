"""The project as others install it: what a wheel holds, the client alone, and the service from an empty directory."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import nncore
from benchmarks.servers import free_port
from testing.harness import Client, eventually, processes_of
from testing.trial import train_and_predict, wait_until_ready

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
#: The packages that a wheel has below trainyard/house: other distributions have packages of these names.
GENERIC = ("nncore", "models", "service", "wsgi")


def build(project: Path, folder: Path, *options: str) -> None:
    """Build distributions of a project with what is installed here."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", folder, *options]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def test_a_wheel_has_one_name_at_its_top_level(wheel: Path) -> None:
    """And below it all that the folders hold, no more and no less."""
    information = f"trainyard_server-{nncore.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.startswith(information)}
    expected = {Path("trainyard/house/wsgi.py"), Path("trainyard/house/gunicorn.conf.py")}
    for package in ("trainyard", "nncore", "models", "service"):
        place = Path() if package == "trainyard" else Path("trainyard/house")
        files = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        expected |= {place / path.relative_to(ROOT) for path in files}
    assert names == {path.as_posix() for path in expected}
    assert any(name.endswith("static/index.html") for name in names)


def test_the_base_install_needs_click_alone(wheel: Path) -> None:
    """What is needed without an extra, by the wheel's metadata; and the README is its description."""
    with zipfile.ZipFile(wheel) as file:
        text = file.read(f"trainyard_server-{nncore.__version__}.dist-info/METADATA").decode()
    metadata = HeaderParser().parsestr(text)
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    assert [each.name for each in requirements if each.marker is None] == ["click"]
    assert {"server", "postgresql", "redis", "storage", "otel", "onnx", "fast"} <= set(
        metadata.get_all("Provides-Extra", [])
    )
    assert metadata["Version"] == nncore.__version__
    assert metadata.get_payload() == (ROOT / "README.md").read_text()


def test_the_source_distribution_builds_the_same_wheel(dist: Path, wheel: Path, tmp_path: Path) -> None:
    """Bit for bit, so nothing is missing in it, and nothing depends on the day."""
    (source,) = dist.glob("*.tar.gz")
    with tarfile.open(source) as file:
        file.extractall(tmp_path, filter="data")
    build(tmp_path / source.name.removesuffix(".tar.gz"), tmp_path / "again", "--target", "wheel")
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


class Installed:
    """The project, installed from a wheel in an empty environment and used from a directory of its own."""

    def __init__(self, folder: Path, what: str) -> None:
        self.venv, self.elsewhere = folder / "venv", folder / "elsewhere"
        self.elsewhere.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        pip = [sys.executable, "-m", "pip", "--python", self.venv / "bin/python", "install", "--quiet"]
        subprocess.run([*pip, what], check=True)

    @property
    def distributions(self) -> set[str]:
        """The names of what is installed."""
        (packages,) = self.venv.glob("lib/python*/site-packages")
        return {Distribution.at(path).metadata["Name"] for path in packages.glob("*.dist-info")}

    def environment(self, port: int) -> dict[str, str]:
        """No settings but the address: the data lie in the working directory, as by default."""
        address = f"127.0.0.1:{port}"
        return {
            "PATH": f"{self.venv / 'bin'}:/usr/bin:/bin",
            "TRAINYARD_BIND": address,
            "TRAINYARD_URL": f"http://{address}",
        }

    def run(self, *command: str, port: int = 0, status: int = 0) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself, with this status."""
        done = subprocess.run(
            [self.venv / "bin" / command[0], *command[1:]],
            cwd=self.elsewhere,
            env=self.environment(port),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done

    def importable(self) -> list[str]:
        """Which of the generic names an interpreter finds."""
        code = f"from importlib.util import find_spec; print([name for name in {GENERIC} if find_spec(name)])"
        return [name for name in GENERIC if f"'{name}'" in self.run("python", "-I", "-c", code).stdout]


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel without an extra."""
    return Installed(tmp_path_factory.mktemp("base"), str(wheel))


@pytest.fixture(scope="module")
def whole(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with the extra "server"."""
    installed = Installed(tmp_path_factory.mktemp("whole"), f"{wheel}[server]")
    # Where Python and gunicorn look first: modules of our names, which must not be taken for ours.
    for name in GENERIC:
        (installed.elsewhere / f"{name}.py").write_text("raise RuntimeError('this is not a part of Trainyard')\n")
    return installed


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running(whole: Installed, port: int) -> Iterator[Client]:
    """A client of `trainyard serve`."""
    command = [whole.venv / "bin/trainyard", "serve"]
    server = subprocess.Popen(command, cwd=whole.elsewhere, env=whole.environment(port))
    try:
        client = Client(f"http://127.0.0.1:{port}")
        wait_until_ready(client, "ok")
        yield client
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    eventually(lambda: not processes_of(whole.elsewhere / "var"), 60.0, "no process left")


def test_the_client_comes_without_the_service(base: Installed) -> None:
    """It imports and says its version; to serve, the command names the extra that is missing."""
    assert base.distributions == {"trainyard-server", "click"}
    assert base.importable() == []
    assert base.run("trainyard", "--version").stdout == f"Trainyard {nncore.__version__}\n"
    assert base.run("python", "-I", "-c", "from trainyard import Trainyard; Trainyard()").stderr == ""
    port = free_port()
    refused = base.run("trainyard", "model", "list", port=port, status=3)
    assert refused.stdout == ""
    assert f"no service at http://127.0.0.1:{port}" in refused.stderr
    missing = base.run("trainyard", "serve", status=2)
    assert "trainyard-server[server]" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_no_generic_name_is_importable(whole: Installed) -> None:
    assert whole.importable() == []


def test_an_installed_project_serves(whole: Installed, running: Client, port: int) -> None:
    """`trainyard serve` trains and predicts, and the other commands work beside it."""
    train_and_predict(running)
    assert running.get("/version").json["trainyard"] == nncore.__version__
    again = whole.run("trainyard", "serve", port=port, status=1)
    assert again.stderr == (
        f"Error: another process listens on 127.0.0.1:{port}: stop it, or set TRAINYARD_BIND to another port\n"
    )
    for words, shown in (
        (["healthcheck"], '"status":"ready"'),
        (["settings"], "| `TRAINYARD_DATA` | `./var` |"),
        (["verify"], " checkpoints"),
        (["backup", "copy"], "files of"),
        (["--version"], f"Trainyard {nncore.__version__}"),
    ):
        done = whole.run("trainyard", *words, port=port)
        assert done.stderr == "", words
        assert shown in done.stdout
    assert (whole.elsewhere / "copy/trainyard.db").is_file()
    assert (whole.elsewhere / "var/trainyard.db").is_file()


def test_a_file_that_needs_an_extra_names_it(running: Client) -> None:
    """The installed service lacks the extra "onnx"."""
    refused = running.post("/models/spam/checkpoints", b"\x08\x09", headers={"Content-Type": "application/x-onnx"})
    assert (refused.status, refused.json["code"]) == (501, "extra_missing")
    assert 'pip install "trainyard-server[onnx]"' in refused.json["detail"]
    assert running.get("/models/spam").status == 404


def test_the_command_trains_and_predicts(whole: Installed, running: Client, port: int) -> None:
    """From a file to predictions of the model that it made."""
    rows = [f"{index / 10},{'low' if index < 20 else 'high'}" for index in range(40)]
    (whole.elsewhere / "levels.csv").write_text("\n".join(["x,level", *rows, ""]))
    network = ["--hidden", "8", "--epochs", "1500"]
    trained = whole.run("trainyard", "train", "levels.csv", "--label", "level", *network, port=port)
    assert f"{running.base}/console/models/levels" in trained.stderr + trained.stdout
    predicted = whole.run("trainyard", "predict", "levels", "x=0.1", port=port)
    assert "low" in predicted.stdout
    (whole.elsewhere / "more.csv").write_text("x\n0.2\n3.8\n")
    answered = whole.run("trainyard", "predict", "levels", "more.csv", port=port).stdout
    assert re.findall(r"low|high", answered.partition("\n")[2]) == ["low", "high"]


def test_the_console_is_served_with_its_files(wheel: Path, running: Client) -> None:
    """The page, and each file beside it, as they are in the wheel."""
    page = running.get("/console/", headers={"Accept": "text/html"})
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    static = "trainyard/house/service/web/console/static/"
    with zipfile.ZipFile(wheel) as file:
        files = {name.removeprefix(static): file.read(name) for name in file.namelist() if name.startswith(static)}
    assert len(files) > 5
    for name, content in files.items():
        answer = running.get(f"/console/static/{name}")
        assert (answer.status, answer.body) == (200, content), name
