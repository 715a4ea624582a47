"""The ways to run the project: the demo, and the very commands of image and compose file in a clean environment."""

from __future__ import annotations

import json
import os
import pty
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import free_port
from testing.harness import Client, eventually
from testing.trial import train_and_predict, wait_until_ready

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: Megabytes that the runtime requirements may take together.
MAXIMUM_INSTALL = 190


def demo(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The demo, or a part of it, in a process of its own without a terminal."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options
    )


def test_the_demo_reaches_its_goals_and_draws_its_picture() -> None:
    """Exit status 0, accuracies and progress on the screen, a well-formed picture, HDF5 files at the printed paths."""
    done = demo("examples/demo.py", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"epoch 10,001/10,001  loss 0\.\d+  accuracy 0\.9\d+", done.stdout)
    assert re.search(r"training accuracy 0\.9\d+; version 1", done.stdout)
    found = re.findall(r"ours:    accuracy (0\.\d+), log loss .*\n  to beat: accuracy (0\.\d+), log loss", done.stdout)
    assert len(found) == 2
    assert all(float(ours) > float(other) for ours, other in found)
    assert "rental is not used: counts the rows" in done.stdout
    assert re.search(r"'bike': 'cargo', .*late (0\.\d\d|1\.00) \(missing: started, member\)", done.stdout)
    folder = re.search(r"are in (\S+)", done.stdout)
    assert folder is not None
    # Of the spiral the first and the last state, of the others the last and perhaps some on the way.
    assert len(list(Path(folder[1]).glob("*.h5"))) >= 4
    picture = ET.parse(ROOT / "demo-output" / "spiral.svg").getroot()
    assert len(picture.findall("{http://www.w3.org/2000/svg}circle")) == 300
    # Without a terminal nobody could end it, so it has ended.
    console = re.search(r"The console is at (\S+) while the service runs. It ends now", done.stdout)
    assert console is not None
    with pytest.raises(OSError, match="refused"):
        Client(console[1]).get("")
    shutil.rmtree(Path(folder[1]).parent.parent)


def test_the_demo_fails_where_something_falls_short() -> None:
    """An accuracy that one epoch does not reach gives exit status 1 and a sentence."""
    code = "import sys; sys.path.insert(0, 'examples'); import demo; demo.SPIRAL_EPOCHS = 1; sys.exit(demo.main())"
    done = demo("-c", code, timeout=300)
    assert done.returncode == 1
    assert re.search(r"The demo failed: training accuracy is 0\.[0-8]\d*, below 0\.93", done.stderr)


#: The end of the demo alone: a service, and what is done when everything has been shown.
ENDING = """
import sys
from pathlib import Path
sys.path.insert(0, "examples")
import demo
with demo.service(Path(sys.argv[1])) as client:
    demo.stay(client)
print("it has ended")
"""


@pytest.mark.parametrize("display", [True, False])
def test_at_a_terminal_the_demo_ends_on_a_running_service(tmp_path: Path, display: bool) -> None:
    """The console's address is printed, and opened if there is a display; Ctrl-C ends the service."""
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    shown = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    shown |= {"BROWSER": f"{browser} %s", **({"DISPLAY": ":0"} if display else {})}
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", ENDING, tmp_path / "data"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=shown, stdin=inside, stdout=inside, stderr=inside, start_new_session=True
    )
    os.close(inside)
    try:
        text = until(terminal, "Ctrl-C ends the service.")
        console = re.search(r"The console:  (\S+)", text)
        assert console is not None
        asked = re.search(r"curl \S+/predict -d '(.*)'", text)
        assert asked is not None
        assert f"    curl localhost:8000/predict -d '{asked[1]}'\n" in (ROOT / "README.md").read_text()
        page = Client(console[1]).get("")
        assert (page.status, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
        if display:
            assert eventually(lambda: opened.exists() and opened.read_text(), what="a browser").strip() == console[1]
        process.send_signal(signal.SIGINT)  # as the terminal does for Ctrl-C
        until(terminal, "it has ended")
        assert process.wait(30) == 0
        assert opened.exists() is display
        with pytest.raises(OSError, match="refused"):
            Client(console[1]).get("")
    finally:
        os.close(terminal)
        if process.poll() is None:
            process.kill()
        process.wait(30)


def until(terminal: int, words: str) -> str:
    """What a terminal shows up to these words; fails at its end."""
    text = ""
    while words not in text:
        text += os.read(terminal, 4096).decode()
    return text


# The image and the compose file. No container engine is needed: the image is laid out by hand, as the Dockerfile says.


def instruction(name: str) -> str:
    """The last instruction of a kind in the Dockerfile, its continued lines joined."""
    found: list[str] = re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    return found[-1]


def image_environment() -> dict[str, str]:
    """All ENV instructions."""
    text = DOCKERFILE.replace("\\\n", " ")
    return dict(
        pair.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE) for pair in shlex.split(line)
    )


def another_user() -> dict[str, Any]:
    """Options to run as nobody: for root, if others may read the interpreter."""
    interpreter = Path(sys.executable).resolve()
    is_open = all(parent.stat().st_mode & 0o005 == 0o005 for parent in (interpreter, *interpreter.parents))
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 and is_open else {}


class Image:
    """What the Dockerfile makes, in separate directories: interpreter, application, data."""

    def __init__(self, folder: Path) -> None:
        self.app, self.venv = folder / "app", folder / "venv"
        self.app.mkdir(parents=True)
        for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
            *sources, target = line.split()
            for source in sources:
                where = self.app / target / ("" if (ROOT / source).is_dir() else source)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, where, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, where)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        for words in self.installs(str(folder / "build")):
            pip = [sys.executable, "-m", "pip", "--python", self.venv / "bin/python", "--quiet"]
            path = {"PYTHONPATH": str(folder / "build")}
            subprocess.run([*pip, *words], cwd=self.app, env={**os.environ, **path}, check=True)
        left_out = re.findall(r"-path '(\S+)'", DOCKERFILE)
        assert left_out
        for place in sorted(self.venv.rglob("*"), reverse=True):
            if any(fnmatch(str(place), pattern) for pattern in left_out):
                shutil.rmtree(place) if place.is_dir() else place.unlink()

    @staticmethod
    def installs(build: str) -> list[list[str]]:
        """The arguments of each call of pip, with another folder for what builds the project."""
        text = DOCKERFILE.replace("\\\n", " ")
        runs: list[str] = re.findall(r"^RUN (.*)$", text, re.MULTILINE)
        commands = [shlex.split(command) for run in runs for command in run.split("&&")]
        return [
            [build if word == "/build" else word for word in words[words.index("pip") + 1 :]]
            for words in commands
            if "pip" in words
        ]

    def environment(self, data: Path, port: int) -> dict[str, str]:
        """The image's environment, with paths and port that are free here."""
        values = image_environment()
        assert values.pop("TRAINYARD_DATA") == "/data"
        assert values.pop("TRAINYARD_BIND") == "0.0.0.0:8000"
        own = {"TRAINYARD_DATA": str(data), "TRAINYARD_BIND": f"127.0.0.1:{port}"}
        return {"PATH": f"{self.venv / 'bin'}:/usr/bin:/bin", "HOME": "/nonexistent", **values, **own}

    @contextmanager
    def run(self, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A command in the image, as another user if possible; ended like a container, by SIGTERM."""
        process = subprocess.Popen(command, cwd=self.app, env=environment, **another_user())
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, made once; readable for the user that runs it."""
    folder = tmp_path_factory.mktemp("image")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and parent.is_relative_to("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return Image(folder)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty volume that the image's user may write to."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.getuid() and parent.is_relative_to("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    return data


def test_the_runtime_requirements_stay_small(image: Image) -> None:
    """Everything that the image installs, bytecode aside, takes less than 190 MB."""
    (packages,) = image.venv.glob("lib/python*/site-packages")
    total = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert total < MAXIMUM_INSTALL * 1e6


def test_the_image_is_the_whole_service(image: Image, volume: Path) -> None:
    """The image's command serves and trains, its health check passes, and fails once the service has ended.

    The command ``trainyard`` is there, in any directory.
    """
    port = free_port()
    environment = image.environment(volume, port)
    check = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    with image.run(json.loads(instruction("CMD")), environment):
        client = Client(f"http://127.0.0.1:{port}")
        wait_until_ready(client, "ok")
        train_and_predict(client)
        healthy = subprocess.run(check, cwd=image.app, env=environment, capture_output=True, check=False)
        assert healthy.returncode == 0, healthy.stderr
        command = ["trainyard", "healthcheck"]
        healthy = subprocess.run(
            command, cwd="/", env=environment, executable=image.venv / "bin/trainyard", capture_output=True, check=False
        )
        assert (healthy.returncode, healthy.stderr) == (0, b"")
    gone = subprocess.run(check, cwd=image.app, env=environment, capture_output=True, check=False)
    assert gone.returncode == 1
    assert gone.stderr.startswith(b"Error: http://127.0.0.1:")
    assert not list(image.app.rglob("*.db"))


def compose() -> dict[str, Any]:
    """The compose file."""
    yaml = pytest.importorskip("ruamel.yaml")
    return dict(yaml.YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text()))


def test_the_compose_file_fits_its_schema() -> None:
    """By the compose specification's own schema, and by the docker client if it has compose."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, ROOT / "docker-compose.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, check=True)


#: An image's name with its digest.
BY_DIGEST = re.compile(r"[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}")


def test_the_image_is_made_of_what_is_named() -> None:
    """The base by digest, packages by hash, and a user by number, who is not root."""
    assert BY_DIGEST.fullmatch(instruction("FROM"))
    service, builder, project = Image.installs("/build")
    assert service[-3:] == ["--require-hashes", "-r", "requirements.lock"]
    assert builder[-5:] == ["--require-hashes", "--target", "/build", "-r", "requirements-build.lock"]
    assert {"--no-deps", "--no-build-isolation"} <= {*project}  # nothing else is fetched
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", instruction("USER"))


def test_the_services_of_the_compose_file_may_do_little() -> None:
    """Nothing but volumes is written, no right of root is left, and what each may take is bounded."""
    services = compose()["services"]
    assert services.keys() == {"api", "trainer", "caddy"}
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert [place.partition(":")[0] for place in service["tmpfs"]] == ["/tmp"]
        assert {"mem_limit", "pids_limit", "cpus"} <= service.keys()
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}
        assert "privileged" not in service
    # Other machines reach the service through Caddy alone, and the trainer reaches none.
    assert all(port.startswith("127.0.0.1:") for port in services["api"]["ports"])
    assert services["trainer"]["network_mode"] == "none"
    caddy = services["caddy"]
    assert caddy["profiles"] == ["https"]
    assert BY_DIGEST.fullmatch(caddy["image"])
    assert caddy["cap_add"] == ["NET_BIND_SERVICE"]
    (mounted,) = [place for place in caddy["volumes"] if place.startswith("./")]
    assert (ROOT / mounted.partition(":")[0]).is_file()


def test_the_services_of_the_compose_file_work_over_one_volume(image: Image, volume: Path) -> None:
    """The API alone queues jobs and says so; with the trainer's command beside it, they are run."""
    services = compose()["services"]
    assert all(services[name]["volumes"] == ["data:/data"] for name in ("api", "trainer"))
    port = free_port()
    environment = image.environment(volume, port)
    # What has no value in the file comes from the shell, if it is set there.
    given = {name: value for name, value in services["api"]["environment"].items() if value is not None}
    with image.run(services["api"]["command"], {**environment, **given}):
        client = Client(f"http://127.0.0.1:{port}")
        wait_until_ready(client, "absent")
        with image.run(services["trainer"]["command"], environment):
            wait_until_ready(client, "ok")
            train_and_predict(client)
        wait_until_ready(client, "absent")
